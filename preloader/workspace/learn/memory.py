"""A session as it unfolds: what was named where, which files were used, and what the latest words are about."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.activation import Activation
from preloader.workspace.learn.evidence import CHANNELS, NEVER, Channel, Evidence, Grown
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.intent import Intent
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.kinship import Kinship
from preloader.workspace.learn.path_book import PathBook
from preloader.workspace.learn.recall import Recall
from preloader.workspace.learn.tokens import Seen, is_file, leading_path, path_tokens

READING = frozenset(("Read", "NotebookRead"))
EDITING = frozenset(("Edit", "Write", "MultiEdit", "NotebookEdit"))
SEARCHING = frozenset(("Grep", "Glob"))
SHELL = "Bash"
_FILE_ARGUMENTS = ("file_path", "notebook_path")
_CHANNEL: dict[str, Channel] = {"user_text": "user", "assistant_text": "assistant", "thinking": "thinking"}
_CALL = CHANNELS.index("call")
_DIRECTORY = re.compile(r"\s*cd\s+([^\s;&|]+)")
_LISTED = re.compile(r"(?:^|[;&|]\s*)(?:ls|tree)\s+(?:-\S+\s+)*([^\s;|&<>]+)")
_RELATIVE_IMPORT = re.compile(r"""["'](\.\.?/[^"'\n]{1,200})["']""")
_DEFINITION = re.compile(r"\b(?:func|def|class|type|interface|struct|enum|fn|const|export)\b")
_DEFINED = re.compile(
    r"\b(?:func(?:\s*\([^)]{0,80}\))?|def|class|type|interface|struct|enum|fn|const|function)\s+([A-Za-z_]\w{3,80})"
)
_MOST_LINES = 120
_LONGEST_RUN = 10
_MOST_USES, _MOST_PENDING = 4_096, 64
_OUTPUT = 4_000


class Call:
    """A call that has begun: its tool, arguments and working directory."""

    def __init__(self, tool: str, arguments: Mapping[str, Any], directory: str) -> None:
        self.tool = tool
        self.arguments = arguments
        self.directory = directory

    def argument(self, name: str) -> str:
        """Return an argument as text, empty if it is none."""
        value = self.arguments.get(name, "")
        return value if isinstance(value, str) else ""


class SessionMemory:
    """Takes a session item by item; a ranker reads its features from what is kept here.

    Args:
        repository: The repository's name.
        habits: What earlier sessions of it taught.

    Attributes:
        book: All paths that were named, those of earlier sessions first.
        evidence: Where each was named.
        activation: Which ones the latest words point at.
        intent: What the latest words want done.
        kinship: How paths are related.
        item: How many items there were.
        step: How many calls began.
        used: The files that calls read or changed lately, in order, without immediate repeats.
        tools: The last two tools called.
        run: How often the last one was called in a row.
        reads_in_a_row: How many of the last calls read.
        recall: Which files the latest words recall.
        spoke: How many texts came since the last call.
        pending: The latest calls without a result.
    """

    def __init__(self, repository: str, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        self.book = PathBook(repository)
        self.evidence = Evidence()
        self.activation = Activation(self.book)
        self.intent = Intent()
        self.kinship = Kinship(self.book, self.habits)
        self.recall = Recall(self.book, self.habits.words)
        self.item = self.step = self.user_step = self.reads = self.cold_reads = self.edits = 0
        self.now_s = 0.0
        self.used: list[int] = []
        self.read: set[int] = set()
        self.edited: set[int] = set()
        self.tools: list[str] = []
        self.pending: dict[str, Call] = {}
        self.defined = Grown(1, NEVER)
        self.spoke = self.run = self.reads_in_a_row = 0
        self._touched = Grown(1, NEVER)
        for path in dict.fromkeys((*self.habits.named, *self.habits.touched)):
            self.book.add(path)
        for name, files in self.habits.symbols.items():
            numbered = {self.book.find(path): min(count, 3.0) for path, count in files.items()}
            self.activation.symbols.restore(name, {n: c for n, c in numbered.items() if n is not None})
        for name, files in self.habits.defined.items():
            for path in files:
                number = self.book.find(path)
                if number is not None:
                    self.activation.symbols.define(number, name, now=False)

    def is_touched(self, path: str) -> bool:
        """Return whether an earlier call named the path."""
        number = self.book.find(self.book.plain(path))
        return number is not None and bool(self.touched_step(len(self.book))[number, 0] > NEVER)

    def touched_step(self, rows: int) -> NDArray[np.float64]:
        """Return when a call last named each of the first paths, `NEVER` where none did: (paths, 1)."""
        return self._touched.upto(rows)

    def taught(self, habits: Habits) -> None:
        """Teach what this session was to the habits of its repository."""
        paths = self.book.paths
        rows = len(paths)
        named = (self.evidence.of("times", rows).sum(1) > 0) | (self.touched_step(rows)[:, 0] > NEVER)
        habits.learn(
            used=[paths[number] for number in self.used],
            read=[paths[number] for number in self.read],
            edited=[paths[number] for number in self.edited],
            named=[paths[n] for n in range(rows) if named[n] and self.book.facts[n].is_file],
            symbols=[(name, paths[number]) for name, number in self.activation.symbols.learned],
        )
        for name, number in self.activation.symbols.defined:
            habits.defined[name][paths[number]] += 1
        habits.words.learn((before, paths[number]) for before, number in self.recall.uses)

    def keep(self, numbers: NDArray[np.int64]) -> None:
        """Forget all paths but these, which are numbered anew in this order."""
        number = {old: new for new, old in enumerate(numbers.tolist())}
        self.book.keep(numbers.tolist())
        for part in (self.evidence, self.intent, self.defined, self._touched):
            part.keep(numbers)
        self.activation.keep(numbers, number)
        self.recall.keep(numbers, number)
        self.kinship.forget()
        self.used = [number[one] for one in self.used if one in number]
        self.read = {number[one] for one in self.read if one in number}
        self.edited = {number[one] for one in self.edited if one in number}

    def feed(self, item: Item) -> None:
        """Take the next item."""
        self.item += 1
        self.now_s = item.time_s
        if item.type == "tool_call":
            self._call(item)
        elif item.type == "tool_result":
            self._result(item)
        else:
            self._say(item, _CHANNEL[item.type])

    def _say(self, item: Item, channel: Channel) -> None:
        if channel == "user":
            self.user_step = self.step
        self.spoke += 1
        self.recall.hear(item.text, "user" if channel == "user" else "said")
        self.activation.hear_words(item.text, "user" if channel == "user" else "said", self.item)
        self.activation.hear_symbols(item.text, channel)
        named = self._name(path_tokens(item.text), channel)
        sentences = self.intent.hear(item.text, channel, [(n, self.book.paths[n]) for n in named])
        for number, sentence in sentences:
            self.activation.symbols.learn(number, sentence)

    def _call(self, item: Item) -> None:
        self.step += 1
        self.spoke = 0
        self.intent.fade()
        call = Call(item.tool, item.arguments, self._working_directory(item))
        self.pending[item.id] = call
        if len(self.pending) > _MOST_PENDING:
            del self.pending[next(iter(self.pending))]
        self.run = min(_LONGEST_RUN, self.run + 1) if self.tools[-1:] == [item.tool] else 1
        self.reads_in_a_row = min(_LONGEST_RUN, self.reads_in_a_row + 1) if item.tool in READING else 0
        self.tools = [*self.tools[-1:], item.tool]
        file = next((call.argument(name) for name in _FILE_ARGUMENTS if call.argument(name)), "")
        if file:
            self._use(self.book.add(self.book.plain(file)), item.tool)
            return
        text = json.dumps({key: value for key, value in item.arguments.items() if key != "description"})
        for number in self._name(path_tokens(text.replace("\\n", " ")), "call", call.directory):
            if self.evidence.of("certainty", number + 1)[number, _CALL] == 1:
                self._touched.upto(number + 1)[number, 0] = self.step
        self._learn_pattern(call)
        self.activation.hear_symbols(text, "returned", 0.7)

    def _use(self, number: int, tool: str) -> None:
        touched = self._touched.upto(number + 1)
        if tool in READING:
            self.reads += 1
            self.cold_reads += int(touched[number, 0] == NEVER)
            self.read.add(number)
        elif tool in EDITING:
            self.edits += 1
            self.edited.add(number)
        touched[number, 0] = self.step
        self.recall.use(number)
        if self.used[-1:] != [number]:
            self.used.append(number)
        if len(self.used) >= 2 * _MOST_USES:
            del self.used[:_MOST_USES]

    def _working_directory(self, item: Item) -> str:
        command = item.arguments.get("command", "")
        changed = _DIRECTORY.match(command) if item.tool == SHELL and isinstance(command, str) else None
        directory = self.book.plain(changed.group(1)) if changed else ""
        return "" if directory.startswith(("/", "~", '"', "$")) else directory

    def _learn_pattern(self, call: Call) -> None:
        """A search in one file says that its pattern belongs there."""
        file = call.argument("path") if call.tool == "Grep" else ""
        if file and is_file(file):
            meant = self.book.meant(file)
            if len(meant.ids) == 1:
                self.activation.symbols.learn(meant.ids[0], call.argument("pattern"))

    def _result(self, item: Item) -> None:
        call = self.pending.pop(item.id, None)
        if call is None:
            return
        if call.tool in SEARCHING:
            self._searched(item.text, call)
        elif call.tool in READING:
            self._read(item.text, call)
        elif call.tool == SHELL:
            self._name(path_tokens(item.text), "shell", self._listed_directory(call))
        else:
            self._name(path_tokens(item.text), "result")
        if call.tool not in READING:
            self.activation.hear_words(item.text[:_OUTPUT], "returned", self.item)
        self.activation.hear_symbols(item.text[:_OUTPUT], "returned")

    def _searched(self, text: str, call: Call) -> None:
        base = self.book.plain(call.argument("path")) if call.argument("path") else ""
        base = "" if is_file(base) or text.startswith(base) else base
        found = self._name(path_tokens(text), "search", base)
        for line in text.split("\n")[:_MOST_LINES]:
            file, rest = leading_path(line)
            meant = self.book.meant(file, base) if file else None
            if meant and len(meant.ids) == 1:
                if _DEFINITION.search(rest):
                    self.defined.upto(meant.ids[0] + 1)[meant.ids[0], 0] = self.item
                    named = _DEFINED.search(rest)
                    if named:
                        self.activation.symbols.define(meant.ids[0], named.group(1))
                self.activation.symbols.learn(meant.ids[0], rest)
        if len(found) <= 6:
            for number in found:
                self.activation.symbols.learn(number, call.argument("pattern"))

    def _read(self, text: str, call: Call) -> None:
        file = self.book.plain(call.argument("file_path"))
        self.activation.symbols.learn(self.book.add(file), text)
        self._name(path_tokens(text), "read")
        directory = posixpath.dirname(file)
        imported = (posixpath.normpath(posixpath.join(directory, one)) for one in _RELATIVE_IMPORT.findall(text))
        self._name({path: Seen() for path in imported if not path.startswith("..")}, "read")

    def _listed_directory(self, call: Call) -> str:
        listed = _LISTED.search(call.argument("command"))
        if listed is None or is_file(listed.group(1)):
            return call.directory
        return posixpath.join(call.directory, self.book.plain(listed.group(1))).rstrip("/")

    def _name(self, tokens: Mapping[str, Seen], channel: Channel, base: str = "") -> list[int]:
        """Note which paths were named; return them."""
        found: list[tuple[int, Seen, float]] = []
        directories = 0
        for token, seen in tokens.items():
            meant = self.book.meant(token, base)
            if not meant.ids:
                members = self.book.within(token)
                for number in members:
                    self._note(number, "directory", directories, 1.0, Seen(0), 1)
                directories += bool(members)
            elif meant.certainty or len(meant.ids) == 1:
                found += [(number, seen, meant.certainty or 0.5) for number in meant.ids]
            else:
                ordered = sorted(meant.ids, key=self._age)
                found += [(number, seen, 1 / (rank + 2)) for rank, number in enumerate(ordered)]
        for place, (number, seen, certainty) in enumerate(found):
            self._note(number, channel, place, certainty, seen, len(found))
        return [number for number, _, _ in found]

    def _age(self, number: int) -> float:
        return -float(
            max(self.evidence.of("item", number + 1)[number].max(), self._touched.upto(number + 1)[number, 0])
        )

    def _note(self, number: int, channel: Channel, place: int, certainty: float, seen: Seen, beside: int) -> None:
        self.evidence.note(
            number,
            channel,
            item=self.item,
            step=self.step,
            second=self.now_s,
            place=place,
            beside=beside,
            certainty=certainty,
            lines=seen.times,
            numbered=seen.numbered,
        )
