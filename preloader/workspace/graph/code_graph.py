"""`CodeGraph`: the code graph of a workspace for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from msgspec import Struct

from preloader.errors import ClosedError, UnknownResourceError
from preloader.ports import Executor
from preloader.workspace.files import SourceFiles
from preloader.workspace.footprint import Seen, look
from preloader.workspace.git import check_repository, head_files
from preloader.workspace.graph.cochange import CoChanges, read_commits
from preloader.workspace.graph.diffs import Change, changes_of_diff
from preloader.workspace.graph.facts import Definition, FileFacts
from preloader.workspace.graph.index import GraphIndex, Update
from preloader.workspace.graph.parsing import Interrupted
from preloader.workspace.graph.reader import Limits
from preloader.workspace.graph.related import Related, related
from preloader.workspace.impact import Impact, impact
from preloader.workspace.paths import Confined
from preloader.workspace.reading import Reading

T = TypeVar("T")


class GraphStatistics(Struct, kw_only=True):
    """What a graph holds, and what it did since it was opened.

    Attributes:
        files: Files that are known.
        edges: Pairs of files of which one depends on the other.
        parsed: Files that were parsed, over all updates; likewise those that follow.
        parsed_bytes: Their bytes.
        unchanged: Files that were known as they are.
        removed: Files that went.
        too_large: Files that were not read for their size.
        too_slow: Files that were not read for the time they took.
        stopped: Calls that were cancelled.
    """

    files: int = 0
    edges: int = 0
    parsed: int = 0
    parsed_bytes: int = 0
    unchanged: int = 0
    removed: int = 0
    too_large: int = 0
    too_slow: int = 0
    stopped: int = 0


class CodeGraph:
    """Imports, definitions and what follows from them, kept up as files change; all of it read off the loop.

    An asynchronous context manager, which closes it.

    Paths are relative to the root, with ``/``. Which files there are is the caller's to say: `build` takes
    all of them, `update` those that changed. What is asked meanwhile is answered from what is known so far. A call that
    is cancelled stops soon after; what it had read is kept.

    Args:
        root: The workspace.
        executor: Where blocking work runs.
        state: A directory for the graph's file, so that the next start reads what changed only; ``None``: none is kept.
        limits: What files may cost.
        commits: How many of git's latest commits say what changes together; 0 for none.
        git_timeout_s: How long git may take for them.
        refuses: Says of a path whether it may not be opened, such as `Confined.refuses`, which it is unless given.

    Raises:
        MissingExtraError: From `build` and `update`: tree-sitter or a grammar is not installed.
        ClosedError: From every method, once it is closed.
    """

    def __init__(
        self,
        root: Path,
        executor: Executor,
        *,
        state: Path | None = None,
        limits: Limits | None = None,
        commits: int = 2_000,
        git_timeout_s: float = 10.0,
        refuses: Callable[[str], bool] | None = None,
    ) -> None:
        self._root = root
        self._executor = executor
        self._state = state
        self._limits = limits or Limits()
        self._commits = commits
        self._git_timeout_s = git_timeout_s
        self._refuses = refuses
        self._index: GraphIndex | None = None
        self._changes = CoChanges(())
        self._opening = threading.Lock()
        self._running: set[threading.Event] = set()
        self._closed = False
        self._did = GraphStatistics()
        self._head: list[Seen] = []  # what there was of it when they were read
        self._is_built = False
        self._first_build = asyncio.Event()  # has ended, well or not

    def changes(self, reading: Reading) -> CoChanges:
        """Return what git saw change together, read anew where HEAD is not where it was. Blocks."""
        try:
            check_repository(reading.confined.root)
        except UnknownResourceError:
            return self._changes
        files = head_files(reading.confined.root)
        for file in files:
            reading.note(file)
        head = [look(f"{reading.confined.root}/{file}") for file in files]
        if self._commits and head != self._head:
            self._changes = CoChanges(read_commits(reading, self._commits))
            self._head = head
        return self._changes

    def built(self) -> GraphIndex | None:
        """Return what a thread asks itself, ``None`` until the graph was built and once it is closed."""
        return self._index if self._is_built and not self._closed else None

    async def __aenter__(self) -> CodeGraph:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def build(self, paths: Iterable[str]) -> Update:
        """Bring the graph up to all files of the workspace, and read which of them git saw change together."""
        wanted = tuple(paths)
        try:
            done = await self._run(lambda index, stop: index.build(wanted, stop))
            self._count(done)
            await self.read_history()
            self._is_built = True
        finally:
            self._first_build.set()
        return done

    async def built_once(self) -> None:
        """Wait until the first `build`, which somebody else awaits, has ended, well or not."""
        await self._first_build.wait()

    async def read_history(self) -> None:
        """Read which files git saw change together, as `build` does, unless there are no new commits."""
        await self._run(lambda index, _: self.changes(self._reading(index)))

    async def update(self, paths: Iterable[str]) -> Update:
        """Look at files that may have changed, come or gone; no other is parsed."""
        wanted = tuple(paths)
        done = await self._run(lambda index, stop: index.update(wanted, stop))
        self._count(done)
        return done

    async def imports(self, path: str) -> dict[str, tuple[str, ...]]:
        """Return the files that a file depends on, each with the names taken out of it; none: the whole of it."""
        return await self._run(lambda index, _: index.imports(path))

    async def importers(self, path: str) -> dict[str, tuple[str, ...]]:
        """Return the files that depend on a file, each with the names that it takes."""
        return await self._run(lambda index, _: index.importers(path))

    async def facts(self, path: str) -> FileFacts | None:
        """Return what a file says of itself: imports, definitions; ``None`` where it was not read."""
        return await self._run(lambda index, _: index.facts(path))

    async def defining(self, name: str, limit: int = 100) -> list[tuple[str, Definition]]:
        """Return where a name is defined, in the order of paths."""
        return await self._run(lambda index, _: index.defining(name, limit))

    async def related(self, path: str, limit: int = 20) -> list[Related]:
        """Return the files that belong with a file, best first, each with its reasons."""
        return await self._run(lambda index, _: related(index, self._changes, path, limit))

    async def impact(self, changes: Iterable[str | Change] | str, limit: int = 2_000) -> Impact:
        """Return what a change means: dependents, tests to run, migrations, blocking calls.

        Args:
            changes: Paths, each changed as a whole, or `Change` with lines; or a unified diff. The graph must have seen
                the change already (`update`), since lines are those of the new files.
            limit: The most files to follow it to.
        """
        given = changes_of_diff(changes) if isinstance(changes, str) else changes
        wanted = [Change(one) if isinstance(one, str) else one for one in given]
        return await self._run(lambda index, stop: impact(index, wanted, limit, stop))

    async def statistics(self) -> GraphStatistics:
        """Return what the graph holds, and what it did so far."""
        self._did.files, self._did.edges = await self._run(lambda index, _: (len(index), index.edges))
        return self._did

    async def aclose(self) -> None:
        """Stop what still runs, and close the graph's file."""
        self._closed = True
        self._first_build.set()
        for stop in self._running:
            stop.set()
        await self._executor.run(self._close)

    async def _run(self, work: Callable[[GraphIndex, threading.Event], T]) -> T:
        if self._closed:
            raise ClosedError("the code graph is closed")
        stop = threading.Event()
        self._running.add(stop)
        try:
            return await self._executor.run(lambda: work(self._opened(), stop))
        except asyncio.CancelledError:
            stop.set()
            self._did.stopped += 1
            raise
        except Interrupted as error:
            raise ClosedError("the code graph was closed meanwhile") from error
        finally:
            self._running.discard(stop)

    def _close(self) -> None:
        with self._opening:
            if self._index is not None:
                self._index.close()

    def _opened(self) -> GraphIndex:
        with self._opening:
            if self._closed:
                raise ClosedError("the code graph is closed")
            if self._index is None:
                self._index = GraphIndex(
                    self._root, self._state, self._limits, self._refuses or Confined(self._root).refuses
                )
            return self._index

    def _reading(self, index: GraphIndex) -> Reading:
        return Reading(SourceFiles(Confined(index.root)), {}, self._git_timeout_s)

    def _count(self, done: Update) -> None:
        for field in ("parsed", "parsed_bytes", "unchanged", "removed", "too_large", "too_slow"):
            setattr(self._did, field, getattr(self._did, field) + getattr(done, field))
