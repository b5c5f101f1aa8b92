"""How many cold reads of recorded sessions were named before, by whom, and how many files were named in vain.

    PRELOADER_DATASETS=… python -m benchmarks.mention_recall

A read is cold when no earlier call of its session named the path. The data set holds no working trees, so the files of
a repository are taken to be those that any of its sessions read or wrote, and paths in its outputs that lie in the
same directories at the top. A read counts as named if a mention before it resolves to its path, first (@1) or among
the first eight (@8); beside that stands whether the file's name stood there at all, which no resolving can exceed by
much. Not part of ``make bench``: it needs the data set.
"""

from __future__ import annotations

import gzip
import os
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.harness import machine
from preloader.history.toolcalls import call_resources
from preloader.workspace.mentions import Mention, Source
from preloader.workspace.path_table import PathTable
from preloader.workspace.resolve import Resolver
from preloader.workspace.stream import StreamAnalyzer

_SOURCES: dict[str, Source] = {
    "user_text": "user",
    "assistant_text": "assistant",
    "thinking": "thinking",
    "tool_result": "tool_output",
}
_SEARCHES = ("Bash", "Grep", "Glob", "LS", "Task")
_WHOLE_PATHS = ("Read", "Edit", "Write")
_ROUNDS = 1_000


class Item(msgspec.Struct):
    """One item of a session; see the data set's description."""

    type: str
    at: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    arguments: dict[str, Any] | str = {}


class Session(msgspec.Struct):
    """One session of a coding agent."""

    repository: str
    session: str
    items: list[Item]


class Said:
    """What some sources have said in a session so far: the files that it resolves to, and the words."""

    def __init__(self, latest: int | None = None) -> None:
        self._parts: deque[tuple[set[str], str]] = deque(maxlen=latest)

    def add(self, named: set[str], text: str) -> None:
        """Add an item's files and words."""
        self._parts.append((named, text))

    def clear(self) -> None:
        """Forget all."""
        self._parts.clear()

    def files(self) -> set[str]:
        """Return all files that were named."""
        return set().union(*(named for named, _ in self._parts))

    def holds(self, words: str) -> bool:
        """Return whether ``words`` were said as they are."""
        return any(words in text for _, text in self._parts)


class Groups:
    """The sources as they are compared; each has what those before it have."""

    def __init__(self) -> None:
        self._since, self._assistant, self._others, self._rest = Said(), Said(), Said(), Said()
        self._searches = Said(3)
        assistant = [self._assistant]
        words = [*assistant, self._others]
        self.by_name: dict[str, list[Said]] = {
            "assistant, since the last call": [self._since],
            "assistant, ever": assistant,
            "and thinking and the user": words,
            "and the last three search and shell outputs": [*words, self._searches],
            "and every output and call": [*words, self._rest],
        }

    def add(self, item: Item, caller: str, named: set[str]) -> None:
        """Add what an item named; ``caller`` is the tool whose output it is."""
        if item.type == "tool_call":
            self._since.clear()
        if item.type == "assistant_text":
            self._since.add(named, item.text)
            self._assistant.add(named, item.text)
        elif item.type in ("thinking", "user_text"):
            self._others.add(named, item.text)
        else:
            text = item.text or msgspec.json.encode(item.arguments).decode()
            self._rest.add(named, text)
            if caller in _SEARCHES:
                self._searches.add(named, text)


def data_set(name: str) -> Path:
    """Return the file of a data set of sessions, or end the program where there is none."""
    folder = os.environ.get("PRELOADER_DATASETS")
    if not folder:
        raise SystemExit(f"PRELOADER_DATASETS names no folder: set it to where {name} lies")
    return Path(folder) / name / "sessions.jsonl.gz"


def sessions(path: Path) -> Iterator[Session]:
    """Yield the data set's sessions, items in order of time."""
    decoder = msgspec.json.Decoder(Session)
    with gzip.open(path) as lines:
        for line in lines:
            session = decoder.decode(line)
            session.items.sort(key=lambda item: item.at)
            yield session


def files_of(item: Item) -> list[str]:
    """Return the files that a call names in its arguments."""
    resources = call_resources(item.name, item.arguments)
    return [resource[5:] for resource in resources if resource.startswith("file:")]


def tables(every: Iterable[Session], mentions: dict[int, list[Mention]]) -> dict[str, PathTable]:
    """Return each repository's files, as far as its sessions tell."""
    found: dict[str, PathTable] = defaultdict(PathTable)
    for session in every:
        for item in session.items:
            for path in files_of(item) if item.name in _WHOLE_PATHS else ():
                found[session.repository].add(path)
    tops = {name: {path.partition("/")[0] for path in table if "/" in path} for name, table in found.items()}
    for session in every:
        for item in session.items:
            for one in mentions[id(item)] if item.type == "tool_result" else ():
                top, _, rest = one.text.partition("/")
                if one.kind == "path" and top in tops[session.repository] and "." in rest.rpartition("/")[2]:
                    found[session.repository].add(one.text)
    return found


def analysed(item: Item, analyzer: StreamAnalyzer) -> list[Mention]:
    """Return what an item names."""
    if item.type == "tool_call":
        return analyzer.feed_call(item.arguments)
    return analyzer.feed(item.text, _SOURCES[item.type], last=True)


class Read(NamedTuple):
    """One cold read, by each group of sources: whether it was resolved, whether its name stood there, files in vain."""

    resolved: dict[str, bool]
    literal: dict[str, bool]
    others: dict[str, int]


def cold_reads(session: Session, mentions: dict[int, list[Mention]], table: PathTable, limit: int) -> Iterator[Read]:
    """Yield a session's cold reads, mentions resolved to ``limit`` files each."""
    resolver = Resolver(table, limit=limit)
    groups = Groups()
    called: set[str] = set()
    callers: dict[str, str] = {}
    for item in session.items:
        files = files_of(item) if item.type == "tool_call" else []
        if item.name == "Read":
            yield from (_judged(path, groups, called) for path in files if path not in called)
        if item.type == "tool_call":
            callers[item.id] = item.name
        called.update(files)
        for path in files:
            resolver.recency.touch(path)
        named = {path for one in mentions[id(item)] for path in resolver.resolve(one).paths}
        groups.add(item, callers.get(item.id, "") if item.type == "tool_result" else "", named)


def _judged(path: str, groups: Groups, called: set[str]) -> Read:
    read = Read({}, {}, {})
    for name, sources in groups.by_name.items():
        named = set().union(*(said.files() for said in sources))
        read.resolved[name] = path in named
        read.literal[name] = any(said.holds(path.rpartition("/")[2]) for said in sources)
        read.others[name] = len(named - called)
    return read


def main() -> None:
    """Print one row for each group of sources."""
    every = list(sessions(data_set("agent-transcripts")))
    analyzer = StreamAnalyzer()
    mentions = {id(item): analysed(item, analyzer) for session in every for item in session.items}
    found = tables(every, mentions)
    reads = {
        limit: [list(cold_reads(session, mentions, found[session.repository], limit)) for session in every]
        for limit in (1, 8)
    }
    total = sum(map(len, reads[1]))
    print(f"{len(every)} sessions, {total:,} cold reads, {sum(map(len, mentions.values())):,} mentions, {machine()}\n")
    print("| named by | @1 | @8 | name stands there | files not yet touched, @1 | @8 |\n|---|---|---|---|---|---|")
    for name in Groups().by_name:
        cells = [interval([[read.resolved[name] for read in session] for session in reads[limit]]) for limit in (1, 8)]
        cells.append(interval([[read.literal[name] for read in session] for session in reads[1]]))
        cells += [
            f"{mean([read.others[name] for session in reads[limit] for read in session]):.1f}" for limit in (1, 8)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def mean(values: list[int]) -> float:
    """Return the mean, 0 of nothing."""
    return sum(values) / max(1, len(values))


def interval(by_session: list[list[bool]]) -> str:
    """Return a share and its 95 % interval, from bootstraps over sessions."""
    rng = random.Random(0)
    counts = [(sum(hits), len(hits)) for hits in by_session if hits]
    shares = sorted(
        sum(hit for hit, _ in drawn) / sum(all_ for _, all_ in drawn)
        for drawn in (rng.choices(counts, k=len(counts)) for _ in range(_ROUNDS))
    )
    share = sum(hit for hit, _ in counts) / sum(all_ for _, all_ in counts)
    return f"{share:.1%} ({shares[25]:.1%}-{shares[974]:.1%})"


if __name__ == "__main__":
    main()
