"""The index of a workspace's files: listed once, then kept current as files come and go."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from preloader.errors import ClosedError, PreloaderError
from preloader.ports import Executor
from preloader.scheduling.execution import ThreadExecutor
from preloader.telemetry import logger
from preloader.workspace.listing import Listing, listing_of
from preloader.workspace.path_table import PathTable
from preloader.workspace.resolve import Resolver
from preloader.workspace.watching import Stop, on_loop, watch

T = TypeVar("T")

_ENDS_WITHIN_S = 1.0  # the watching thread looks every few milliseconds whether to end
_AT_ONCE = 100  # changes taken in before others may use the loop
_IGNORE_FILES = (".gitignore", ".git/info/exclude")


class IndexStatistics(msgspec.Struct, frozen=True):
    """What an index holds and did.

    Attributes:
        files: How many files there are.
        updates: How often changes were taken in.
        listings: How often all files were listed.
        failures: How often changes could not be taken in; all files are listed again then.
        watching: Whether changes are noticed by themselves.
    """

    files: int
    updates: int
    listings: int
    failures: int
    watching: bool


class PathIndex:
    """Knows the files of a workspace: tracked by git, or neither tracked nor ignored.

    An asynchronous context manager. Files are listed in a thread; from then on `watchfiles` notices what changes, which
    is in the table some ten milliseconds later. All methods belong to the loop.

    Args:
        root: The workspace's directory.
        executor: Where blocking work runs, usually the manager's; ``None`` takes threads of its own.
        watch: Whether to follow changes. Not on a virtual clock; `changed` then tells of them.
        on_change: Called on the loop with the paths that came, went or were written, relative to the root.

    Attributes:
        root: The directory, resolved.
        resolver: Finds the files that mentions mean.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        executor: Executor | None = None,
        watch: bool = True,
        on_change: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        self.root = Path(os.path.realpath(root))
        self.resolver = Resolver(PathTable(), str(self.root))
        self._executor: Executor = executor or ThreadExecutor()
        self._owns_executor = executor is None
        self._is_to_watch = watch
        self._on_change = on_change
        self._listing: Listing | None = None
        self._pending: set[str] = set()
        self._noticed = asyncio.Event()
        self._stop: Stop | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._updates = self._listings = self._failures = 0

    @property
    def table(self) -> PathTable:
        """The files. Another table after they were listed again: do not keep it."""
        return self.resolver.table

    async def __aenter__(self) -> PathIndex:
        """List the files and follow their changes; see `start`."""
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following; see `aclose`."""
        await self.aclose()

    async def start(self) -> None:
        """List all files. What changes meanwhile is not missed.

        Raises:
            ConfigurationError: The root is no directory.
            LoadError: Its files cannot be listed.
            MissingExtraError: A package of the extra ``workspace`` is not installed.
        """
        self._listing = await self._run(listing_of, self.root)
        if self._is_to_watch:
            await self._begin_to_watch()
        await self.refresh()

    async def aclose(self) -> None:
        """Stop following changes; nothing is left running."""
        if self._stop is not None:
            self._stop.set()
        if self._follower is not None:
            self._follower.cancel()
        tasks = [task for task in (self._watcher, self._follower) if task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_ENDS_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._watcher = self._follower = None
        if self._owns_executor:
            await self._executor.aclose()

    async def refresh(self) -> None:
        """List all files again, as after a change of what is ignored."""
        async with self._turn:
            await self._list_all()

    async def changed(self, paths: Iterable[str]) -> None:
        """Take in that files came, went or were written, without waiting until it is noticed.

        Args:
            paths: Relative to the root; those that are not beneath it are left out.
        """
        inside = {path for path in map(os.path.normpath, paths) if not path.startswith(("..", "/")) and path != "."}
        async with self._turn:
            await self._take_in(inside)

    @property
    def _is_watching(self) -> bool:
        return self._watcher is not None and not self._watcher.done()

    def statistics(self) -> IndexStatistics:
        """Return what the index holds and did."""
        return IndexStatistics(len(self.table), self._updates, self._listings, self._failures, self._is_watching)

    async def _begin_to_watch(self) -> None:
        """Return once changes are noticed, or it is clear that they will not be."""
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        self._stop = Stop(on_loop(loop, begun.set))
        self._watcher = asyncio.create_task(self._watch(self._stop, on_loop(loop, self._notice)))
        self._follower = asyncio.create_task(self._follow())
        waiting = asyncio.create_task(begun.wait())
        try:
            await asyncio.wait((waiting, self._watcher), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._watcher.done():
            self._watcher.result()

    async def _watch(self, stop: Stop, tell: Callable[[Collection[str]], None]) -> None:
        """Watch in a thread. Where the system refuses, the index stays as it is and `changed` tells of changes."""
        try:
            await self._run(watch, self.root, stop, tell)
        except PreloaderError:
            raise
        except Exception as error:
            logger.warning("changes in %s are not followed: %s", self.root, error)

    def _notice(self, paths: Collection[str]) -> None:
        self._pending.update(paths)
        self._noticed.set()

    async def _follow(self) -> None:
        while True:
            await self._noticed.wait()
            async with self._turn:
                self._noticed.clear()
                paths, self._pending = self._pending, set()
                await self._take_in_or_repair(paths)

    async def _take_in_or_repair(self, paths: set[str]) -> None:
        try:
            try:
                await self._take_in(paths)
            except Exception:  # what is known of the files may be wrong now
                self._failures += 1
                await self._list_all()
        except Exception as error:
            logger.warning("changes in %s could not be taken in: %s", self.root, error)

    async def _list_all(self) -> None:
        listing = self._started()
        listing.refresh()
        self.resolver.table, changed = await self._run(_listed, listing, self.table)
        self._listings += 1
        self.resolver.recency.keep(self.table)
        if self._listings > 1:
            self._tell(changed)

    async def _take_in(self, paths: set[str]) -> None:
        if any(path.endswith(_IGNORE_FILES) for path in paths):
            await self._list_all()
            return
        gone, present = await self._run(_look_at, self.root, self._started(), self.table, sorted(paths))
        changed = set(present)
        for number, path in enumerate(gone + present, 1):
            if number <= len(gone):
                changed.update([path] if self.table.discard(path) else self.table.discard_below(path))
            else:
                self.table.add(path)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        self.resolver.recency.keep(self.table)
        self._updates += 1
        self._tell(frozenset(changed))

    def _tell(self, paths: frozenset[str]) -> None:
        if paths and self._on_change is not None:
            self._on_change(paths)

    def _started(self) -> Listing:
        if self._listing is None:
            raise ClosedError(f"the index of {self.root} is not started: use it in an async with block")
        return self._listing

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        return await self._executor.run(function, *args)


def _listed(listing: Listing, before: PathTable) -> tuple[PathTable, frozenset[str]]:
    """Return the table of all files, and what came or went since it was ``before``."""
    table = PathTable(listing.files())
    return table, frozenset(before) ^ frozenset(table)


def _look_at(root: Path, listing: Listing, table: PathTable, paths: list[str]) -> tuple[list[str], list[str]]:
    """Return which of ``paths`` are no files any more, and the files that are there, those of directories too."""
    gone: list[str] = []
    present: list[str] = []
    unknown: list[str] = []
    for path in paths:
        mode = _mode(root / path)
        if mode is not None and stat.S_ISDIR(mode):
            inside = listing.files(path)
            gone += {path, *table.below(path)} - set(inside)
            present += inside
        elif mode is None or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            gone.append(path)
        else:
            (present if path in table else unknown).append(path)
    return gone, present + (listing.kept(unknown) if unknown else [])


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        return None
