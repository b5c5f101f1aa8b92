"""A workspace read through a real manager while it is edited: not one stale byte may be served.

Run it with ``python -m benchmarks.workspace_soak --minutes 10 [--seed 0] [--json]``; the exit status is 0 if all holds.
Threads edit files in place (some keep size and modification time), replace them by renaming, truncate, delete, and put
links and directories in their places, as fast as they can and with rests in which stamps settle. Readers ask for files
and tool calls, some of them preloaded. Whatever is served must be something that the file was between the moment of the
question and that of the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import machine
from preloader.errors import LoadError, UnknownResourceError
from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.derived import Derived
from preloader.workspace.files import SourceFile, SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider

SUBJECTS, WRITERS, READERS = 24, 2, 6
FLAT_MB_PER_MINUTE = 2.0
_REMEMBERED = 1_000  # states of each file: more than it goes through while a question is answered
_REST_S = 2.5  # longer than stamps take to settle

State = bytes | None
"""What a file is at one moment; ``None`` where it cannot be read."""


class Subject:
    """A file that is edited, and what it was lately. One thread writes, the loop reads.

    Attributes:
        reached: The number of the latest state that it has certainly reached.
    """

    def __init__(self, root: Path, number: int) -> None:
        self.name = f"d{number % 4}/f{number}.txt"
        self.path = root / self.name
        self.path.parent.mkdir(exist_ok=True)
        self.version = 0
        self._log: tuple[int, list[State]] = (0, [self.content()])  # the first one's number; replaced as a whole
        self.reached = 0
        self.path.write_bytes(self.content())

    def content(self) -> bytes:
        """Return what the present version writes."""
        return b"version %012d of %s\n" % (self.version, self.name.encode())

    def becomes(self, *states: State) -> None:
        """Announce what it is about to go through."""
        first, log = self._log
        if len(log) >= 2 * _REMEMBERED:
            first, log = first + len(log) - _REMEMBERED, log[-_REMEMBERED:]  # a copy: the loop may read the other
        log += states
        self._log = first, log

    def became(self) -> None:
        """Note that it is what was announced."""
        first, log = self._log
        self.reached = first + len(log) - 1

    def since(self, reached: int) -> list[State]:
        """Return all that it may have been since it had reached a state."""
        first, log = self._log
        return log[max(0, reached - first) :]

    def clear_away(self) -> None:
        """Make room for a file, whatever stands in its place; it has been announced."""
        if self.path.is_dir() and not self.path.is_symlink():
            self.path.rmdir()
        elif self.path.is_symlink():
            self.path.unlink()


class Editor:
    """Edits its own subjects, in a thread.

    Args:
        subjects: Its own.
        rng: What it does, and to which.
    """

    def __init__(self, subjects: list[Subject], rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._subjects = subjects
        self._rng = rng
        self._edits: dict[str, Callable[[Subject], None]] = {
            "rewritten": self._rewrite,
            "edited in place, times kept": self._edit_in_place,
            "replaced by renaming": self._replace,
            "truncated": self._truncate,
            "deleted": self._delete,
            "made a directory": self._make_directory,
            "made a link": self._make_link,
        }

    def edit(self) -> None:
        """Do something to one of them."""
        subject = self._rng.choice(self._subjects)
        what = self._rng.choice(list(self._edits))
        subject.version += 1
        self._edits[what](subject)
        subject.became()
        self.counts[what] += 1

    def _rewrite(self, subject: Subject) -> None:
        subject.becomes(None, b"", subject.content())
        subject.clear_away()
        subject.path.write_bytes(subject.content())

    def _edit_in_place(self, subject: Subject) -> None:
        content = subject.content()
        if subject.path.is_symlink() or not subject.path.is_file() or subject.path.stat().st_size != len(content):
            return self._rewrite(subject)
        status = subject.path.stat()
        subject.becomes(content)
        with subject.path.open("r+b", buffering=0) as file:
            file.write(content)
        os.utime(subject.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return None

    def _replace(self, subject: Subject) -> None:
        new = subject.path.with_suffix(".new")
        new.write_bytes(subject.content())
        if subject.path.is_dir() and not subject.path.is_symlink():
            subject.becomes(None)
            subject.path.rmdir()
        subject.becomes(subject.content())
        new.replace(subject.path)

    def _truncate(self, subject: Subject) -> None:
        if subject.path.is_symlink() or not subject.path.is_file():
            return self._rewrite(subject)
        cut = self._rng.randrange(10)
        subject.becomes(subject.path.read_bytes()[:cut])
        os.truncate(subject.path, min(cut, subject.path.stat().st_size))
        return None

    def _delete(self, subject: Subject) -> None:
        subject.becomes(None)
        subject.clear_away()
        subject.path.unlink(missing_ok=True)

    def _make_directory(self, subject: Subject) -> None:
        self._delete(subject)
        subject.path.mkdir()

    def _make_link(self, subject: Subject) -> None:
        """Put a link there that leads out of the workspace: it may not be followed."""
        self._delete(subject)
        subject.path.symlink_to("/etc/hostname")


class WorkspaceSoak:
    """One run.

    Args:
        root: An empty directory.
        seed: Of what is edited and asked for.

    Attributes:
        stale: What was served and should not have been, in words.
        counts: What was asked for.
        errors: Why there was no answer, as where a file did not stay the same for as long as reading it took.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.stale: list[str] = []
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.rng = random.Random(seed)
        self.subjects = [Subject(root, number) for number in range(SUBJECTS)]
        parts = [self.subjects[number::WRITERS] for number in range(WRITERS)]
        self.editors = [Editor(part, random.Random(seed + 1 + number)) for number, part in enumerate(parts)]
        confined = Confined(root)
        files = SourceFiles(confined)
        self.tools = ToolProvider(ToolCatalogue.builtin(), files)
        settings = Settings(load_attempts=1, quarantine_after=1_000_000, pressure=False, waste_budget=None)
        self.manager = PreloadManager({"file": WorkspaceFiles(confined), "tool": self.tools}, settings=settings)
        self._ended = threading.Event()

    async def run(self, *, seconds: float | None = None, edits: int | None = None) -> None:
        """Read and edit, for so long or for so many edits of each writer."""
        async with self.manager:
            writers = [threading.Thread(target=self._write, args=(editor, edits)) for editor in self.editors]
            for writer in writers:
                writer.start()
            readers = [asyncio.create_task(self._read(writers)) for _ in range(READERS)]
            if seconds is not None:
                await asyncio.sleep(seconds)
                self._ended.set()
            try:
                await asyncio.gather(*readers)
            finally:
                self._ended.set()
                for writer in writers:
                    await asyncio.to_thread(writer.join)

    def _write(self, editor: Editor, edits: int | None) -> None:
        rng = random.Random(id(editor) % 1_000)
        while not self._ended.is_set() and (edits is None or sum(editor.counts.values()) < edits):
            editor.edit()
            if edits is None and rng.random() < 0.003:
                self._ended.wait(_REST_S)
            time.sleep(rng.choice((0.0, 0.0005, 0.002)))

    async def _read(self, writers: list[threading.Thread]) -> None:
        asks = (self._file, self._file, self._tool_text, self._listing, self._search, self._hint)
        while any(writer.is_alive() for writer in writers):
            await self.rng.choice(asks)(self.rng.choice(self.subjects))
            await asyncio.sleep(0)

    async def _hint(self, subject: Subject) -> None:
        self.manager.hint(f"file:{subject.name}", 0.95)
        self.manager.hint(self.tools.key("read_file", {"path": subject.name}), 0.95)

    async def _get(self, key: str) -> Any:
        """Return a value; None where there is none, or it did not stay the same for as long as reading took."""
        self.counts[key.partition(" ")[0].partition(":")[2] if key.startswith("tool") else "file"] += 1
        try:
            value = await self.manager.get(key)
        except UnknownResourceError:
            return None
        except LoadError as error:
            self.errors[str(error).rpartition(": ")[2][:80]] += 1
            return error
        return value.value if isinstance(value, Derived) else value

    async def _file(self, subject: Subject) -> None:
        reached = subject.reached
        value = await self._get(f"file:{subject.name}")
        if not isinstance(value, LoadError):
            self._check("file", subject, reached, value.data if isinstance(value, SourceFile) else None)

    async def _tool_text(self, subject: Subject) -> None:
        reached = subject.reached
        value = await self._get(self.tools.key("read_file", {"path": subject.name}))
        if not isinstance(value, LoadError):
            self._check("read_file", subject, reached, None if value is None else value.text.encode())

    async def _listing(self, subject: Subject) -> None:
        beside = [one for one in self.subjects if one.path.parent == subject.path.parent]
        reached = [one.reached for one in beside]
        entries = await self._get(self.tools.key("list_directory", {"path": subject.path.parent.name}))
        if isinstance(entries, LoadError):
            return
        files = {entry.name for entry in entries if entry.kind == "file"}
        for one, before in zip(beside, reached, strict=True):
            is_file = one.path.name in files
            if all((state is not None) != is_file for state in one.since(before)):
                self.stale.append(f"list_directory said {is_file} of {one.name}, which it was not")

    async def _search(self, subject: Subject) -> None:
        beside = [one for one in self.subjects if one.path.parent == subject.path.parent]
        reached = [one.reached for one in beside]
        arguments = {"pattern": "version", "path": subject.path.parent.name, "glob": "*.txt"}
        found = await self._get(self.tools.key("grep", arguments))
        if isinstance(found, LoadError):
            return
        lines = {match.path: match.text.encode() for match in found.matches}
        for one, before in zip(beside, reached, strict=True):
            states = one.since(before)
            shown = {state.rstrip(b"\n") if state and b"version" in state else None for state in states}
            if lines.get(one.name) not in shown and not _is_torn(lines.get(one.name), shown):
                self.stale.append(f"grep found {lines.get(one.name)!r} in {one.name}, where it was {states}")

    def _check(self, what: str, subject: Subject, reached: int, served: State) -> None:
        states = subject.since(reached)
        if served not in states and not _is_torn(served, set(states)):
            self.stale.append(f"{what} served {served!r} of {subject.name}, which was {states}")


def _is_torn(served: State, states: set[State]) -> bool:
    """Return whether a file was served in the midst of a write, which is no version but was there."""
    alike = [state for state in states if state is not None and served is not None and len(state) == len(served)]
    return len(alike) > 1 and all(byte in {state[at] for state in alike} for at, byte in enumerate(served or b""))


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workspace_soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="workspace-soak-"))
    try:
        soak = WorkspaceSoak(root, args.seed)
        samples = asyncio.run(_sampled(soak, 60.0 * args.minutes))
    finally:
        shutil.rmtree(root)
    return report(soak, samples, args.minutes, as_json=args.json)


async def _sampled(soak: WorkspaceSoak, seconds: float) -> list[tuple[float, float]]:
    """Run, and return what memory the process held, as (minute, MB)."""
    samples: list[tuple[float, float]] = []
    process = psutil.Process()

    async def sample() -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(seconds / 40)
            samples.append(((time.monotonic() - began_s) / 60, process.memory_info().rss / 1e6))

    sampling = asyncio.create_task(sample())
    await soak.run(seconds=seconds)
    sampling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampling
    return samples


def growth_mb(samples: list[tuple[float, float]]) -> float:
    """Return how fast memory grows, in MB a minute: the median slope after the first third (Theil and Sen)."""
    warm = samples[len(samples) // 3 :]
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for at, a in enumerate(warm) for b in warm[at + 1 :])
    return slopes[len(slopes) // 2] if slopes else 0.0


def report(soak: WorkspaceSoak, samples: list[tuple[float, float]], minutes: float, *, as_json: bool) -> int:
    """Print what was done and found, and return the exit status."""
    edits: Counter[str] = sum((editor.counts for editor in soak.editors), Counter())
    grown = growth_mb(samples)
    document = {
        "benchmark": "workspace_soak",
        "machine": machine(),
        "minutes": minutes,
        "edits": dict(sorted(edits.items())),
        "asked": dict(sorted(soak.counts.items())),
        "errors": dict(soak.errors.most_common(5)),
        "needs": soak.manager.statistics().ledger.needs,
        "stale": len(soak.stale),
        "examples": soak.stale[:5],
        "growth_mb_per_minute": round(grown, 2),
        "verdict": "holds" if not soak.stale and grown < FLAT_MB_PER_MINUTE else "FAILED",
    }
    if as_json:
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        for name, value in document.items():
            print(f"{name}: {value}")
    return 0 if document["verdict"] == "holds" else 1


if __name__ == "__main__":
    raise SystemExit(main())
