"""The one way in which facts and tools look at a workspace: confined, bounded, and writing down what was looked at.

A fact or a tool is a blocking function of a `Reading`. It runs on an executor's thread; `Reading.cancel` ends it from
the loop, at its next look or by killing the program that it waits for.
"""

from __future__ import annotations

import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

import msgspec

from preloader.components.confined import open_regular
from preloader.components.contents import FileContent, Stamp
from preloader.errors import LoadError, LoadTimeoutError, UnknownResourceError
from preloader.ports import Executor
from preloader.workspace.files import SourceFile, SourceFiles
from preloader.workspace.footprint import Footprint, Seen, look
from preloader.workspace.program import DEFAULT_MAX_BYTES, Output, Program

T = TypeVar("T")

MAX_WALKED = 50_000
MAX_ENTRIES = 100_000
_ATTEMPTS = 5  # to read a file that is being written
_HERE = PurePosixPath()


class Entry(msgspec.Struct, frozen=True):
    """One name in a directory: a ``file``, ``directory``, ``link`` or something ``other``."""

    name: str
    kind: str


class Reading:
    """One look at a workspace.

    Args:
        files: Which files may be read, and how.
        versions: Of what is no file, such as the last test output, its version at present.
        timeout_s: After how long it is given up.

    Attributes:
        confined: Which paths may be looked at.
        stop: Set when nobody waits any more.
    """

    def __init__(self, files: SourceFiles, versions: Mapping[str, int], timeout_s: float) -> None:
        self.confined = files.confined
        self._files = files
        self._versions = versions
        self._deadline_s = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self.stop = threading.Event()
        self._program: Program | None = None
        self._seen: dict[str, Seen] = {}
        self._used: dict[str, int] = {}
        self._settled = True
        self._torn = False
        self._ruled: set[str] = set()  # directories of which it is written down what they ignore

    def file(self, path: PurePosixPath | str) -> SourceFile:
        """Return a file.

        Raises:
            RefusedPathError: It may not be looked at.
            UnknownResourceError: There is no such regular file.
            LoadError: It cannot be read, or the reading is over.
        """
        self.check_time()
        name = str(path)
        self.note(name)
        self.note_rules(name.rpartition("/")[0])
        real = os.path.relpath(os.path.realpath(self.confined.root / name), self.confined.root)
        if real != name and not real.startswith(".."):  # rules are asked about where a link leads, too
            self.note_rules(real.rpartition("/")[0])
        source = self._files.load(name)
        self._agree(name, source.stamp)
        return source

    def find(self, path: PurePosixPath | str) -> SourceFile | None:
        """Return a file, or None where there is none that may be read."""
        try:
            return self.file(path)
        except UnknownResourceError:
            return None

    def entries(self, path: PurePosixPath | str = _HERE) -> list[Entry]:
        """Return a directory's entries by name, without those that may not be looked at.

        Raises:
            RefusedPathError: The directory may not be looked at.
            UnknownResourceError: There is no such directory.
            LoadError: It cannot be listed, or the reading is over.
        """
        descriptor, real = self._directory(PurePosixPath(path))
        try:
            return self._listed(descriptor, real)
        finally:
            os.close(descriptor)

    def walk(self, top: PurePosixPath | str = _HERE, most: int = MAX_WALKED) -> Iterator[PurePosixPath]:
        """Yield the regular files beneath a directory, at most ``most``, those of a directory before deeper ones.

        Links are not followed, and what may not be looked at is left out.

        Raises:
            RefusedPathError: The directory may not be looked at.
            UnknownResourceError: There is no such directory.
            LoadError: The reading is over.
        """
        for _, directory, names in self._walked(PurePosixPath(top)):
            for name in names:
                if most <= 0:
                    return
                most -= 1
                yield directory / name

    def contents(
        self, top: PurePosixPath, wanted: Callable[[PurePosixPath], bool]
    ) -> Iterator[tuple[PurePosixPath, bytes, bool]]:
        """Yield path and content of the wanted files that `walk` yields, and whether that is the head alone.

        Each is opened in the directory that was listed, and never through a link: what the walk shows needs no second
        admission, so that this takes a fraction of the time that `file` does.

        Raises:
            UnknownResourceError: There is no such directory, or it may not be looked at.
            LoadError: A file does not stay the same for as long as reading takes, or the reading is over.
        """
        for descriptor, directory, names in self._walked(top):
            for path in filter(wanted, (directory / name for name in names)):
                self.check_time()
                now_ns = time.time_ns()
                try:
                    content = self._content(descriptor, path)
                except (OSError, UnknownResourceError):  # gone, or another sort of thing by now
                    self.note(str(path))
                    self._torn = True
                    continue
                self._see(str(path), (content.stamp, None), now_ns)
                assert isinstance(content.data, bytes)
                yield path, content.data, content.stamp.size > len(content.data)

    def _content(self, directory: int, path: PurePosixPath) -> FileContent:
        """Return what a file of an open directory holds: one that is being written is not left out, but read again."""
        for _ in range(_ATTEMPTS):
            content = self._files.read(open_regular(directory, path.name), str(path))
            if content is not None:
                return content
        raise LoadError(f"{str(path)!r} changed during each of {_ATTEMPTS} attempts to read it")

    def _walked(self, top: PurePosixPath) -> Iterator[tuple[int, PurePosixPath, list[str]]]:
        """Yield each directory, open, with its path and the names of its regular files."""
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            try:
                descriptor, real = self._directory(directory)
            except UnknownResourceError:
                if directory == top:
                    raise
                continue  # gone since its parent was listed
            try:
                entries = self._listed(descriptor, real)
                waiting += [directory / entry.name for entry in reversed(entries) if entry.kind == "directory"]
                yield descriptor, directory, [entry.name for entry in entries if entry.kind == "file"]
            finally:
                os.close(descriptor)

    def _directory(self, path: PurePosixPath) -> tuple[int, PurePosixPath]:
        """Open a directory, write it down, and say where it is without links."""
        self.check_time()
        self.note(str(path))
        self.note_rules(str(path))
        descriptor, real = self.confined.open_directory(path)
        self.note_rules(str(real))
        self._agree(str(path), Stamp.of(descriptor))
        return descriptor, real

    def _listed(self, descriptor: int, directory: PurePosixPath) -> list[Entry]:
        """Return the entries of an open directory that may be looked at, by name."""
        try:
            entries = self._scanned(descriptor, directory)
        except OSError as error:
            raise LoadError(f"{str(directory)!r} cannot be listed: {error.strerror}") from error
        is_shown = self.confined.shown(directory)
        return [entry for entry in entries if is_shown(entry.name, entry.kind == "directory")]

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: bytes = b"",
        max_bytes: int = DEFAULT_MAX_BYTES,
        timeout_s: float = math.inf,
    ) -> Output:
        """Run a program at the root until it ends; see `Program`.

        Raises:
            LoadTimeoutError: It took longer than it, or the reading, may.
            LoadError: It cannot be started, or nobody waits any more.
        """
        self.check_time()
        left_s = min(timeout_s, max(0.001, self._deadline_s - time.monotonic()))
        program = Program(command, self.confined.root, environment, stdin=stdin, timeout_s=left_s, max_bytes=max_bytes)
        self._program = program
        if self.stop.is_set():  # between the check and this
            program.kill()
        try:
            return program.run()
        finally:
            self._program = None

    def note(self, path: str) -> None:
        """Write down what is at a path now, which is about to be read by other means than this class's.

        The path needs no admission: nothing but its stamp is kept.
        """
        if path not in self._seen:
            now_ns = time.time_ns()  # before the look: too early a time only makes it settle later
            self._see(path, look(f"{self.confined.root}/{path}"), now_ns)

    def note_version(self, name: str) -> None:
        """Write down that the result hangs on what is no file, in its present version."""
        self._used.setdefault(name, self._versions.get(name, 0))

    def footprint(self) -> Footprint:
        """Return what was looked at."""
        return Footprint(self._seen, self._settled, self._used, self._torn)

    def cancel(self) -> None:
        """End it, from any thread."""
        self.stop.set()
        program = self._program
        if program is not None:
            program.kill()

    def check_time(self) -> None:
        """Raise where nobody waits any more.

        Raises:
            LoadTimeoutError: It took too long.
            LoadError: It was cancelled.
        """
        if self.stop.is_set():
            raise LoadError("the reading was ended, since nobody waited for it any more")
        if time.monotonic() > self._deadline_s:
            raise LoadTimeoutError(f"reading the workspace took longer than {self._timeout_s:g} s")

    def _see(self, path: str, seen: Seen, now_ns: int) -> None:
        self._torn = self._torn or self._seen.get(path, seen) != seen
        self._seen[path] = seen
        self._settled = self._settled and all(stamp is None or stamp.has_settled(now_ns) for stamp in seen)

    def _agree(self, path: str, stamp: Stamp) -> None:
        """Note whether what is read is what was seen before. Else what was seen might come back, and prove it."""
        own, target = self._seen[path]
        self._torn = self._torn or stamp != (target or own)

    def _scanned(self, descriptor: int, directory: PurePosixPath) -> list[Entry]:
        entries: list[Entry] = []
        with os.scandir(descriptor) as found:
            for entry in found:
                entries.append(Entry(entry.name, _kind(entry)))
                if len(entries) > MAX_ENTRIES:
                    raise LoadError(f"{str(directory)!r} has more than {MAX_ENTRIES:,} entries: too many to list")
        entries.sort(key=lambda entry: entry.name)
        return entries

    def note_rules(self, directory: str) -> None:
        """Write down the files that say what is ignored in a directory."""
        if directory in self._ruled:
            return
        self._ruled.add(directory)
        self.note(".git/info/exclude")
        for above in (PurePosixPath(directory), *PurePosixPath(directory).parents):
            self.note(str(above / ".gitignore"))


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return "other"
    return _KINDS.get(stat.S_IFMT(mode), "other")


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


async def read_on(executor: Executor, reading: Reading, look_: Callable[[Reading], T]) -> T:
    """Return ``look_(reading)``, run on an executor's thread; cancelling ends the reading, and with it the thread."""
    try:
        return await executor.run(look_, reading)
    except BaseException:
        reading.cancel()
        raise
