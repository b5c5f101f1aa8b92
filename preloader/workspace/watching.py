"""Tells an event loop which files change beneath a directory, as `watchfiles` notices it in a thread."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Any

from preloader.errors import require
from preloader.telemetry import logger

STEP_MS = 4
"""How often the thread looks whether something changed; changes are told of one to two steps after the first."""

_MOST_GATHERED_MS = 50
_MOST_IDLE_MS = 50  # after which it is looked whether directories have come
_AGAIN_S = 0.5  # between two looks for directories, at least

_Batch = set[tuple[Any, str]]
_Changes = Generator[_Batch, None, None]
_NOTHING: _Batch = set()


class Stop:
    """Ends a watch, and says when it has begun.

    `watchfiles` asks at each step whether to stop; the first time it does, the directories are being watched.
    """

    def __init__(self, begun: Callable[[], None]) -> None:
        self._begun: Callable[[], None] | None = begun
        self._stopped = threading.Event()

    def set(self) -> None:
        """Let the watch end at its next step."""
        self._stopped.set()

    def is_set(self) -> bool:
        """Return whether the watch should end."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            begun()
        return self._stopped.is_set()


def watch(root: Path, stop: Stop, tell: Callable[[Collection[str]], None]) -> None:
    """Call ``tell`` with the paths of whatever changed beneath ``root`` until ``stop`` is set. Blocking.

    Git's own directory is left out, but for what it says is ignored. A directory that comes is told of as a whole, once
    it is watched too.

    Raises:
        MissingExtraError: ``watchfiles`` is not installed.
        OSError: The system watches no more directories.
    """
    _Watch(require("watchfiles", "workspace"), root, stop, tell).run()


class _Watch:
    """Watches each directory by itself, where the system has no way to watch a tree without following its links.

    On Linux `watchfiles` adds a watch for every directory that it finds, behind links too: a link to ``/`` in a
    repository would have it watch all there is. So the directories are found here, and a watch over more of them takes
    the place of the one before when some have come.
    """

    def __init__(self, watchfiles: Any, root: Path, stop: Stop, tell: Callable[[Collection[str]], None]) -> None:
        self._watchfiles = watchfiles
        self._root = root
        self._prefix = len(str(root).rstrip("/")) + 1
        self._stop = stop
        self._tell = tell
        self._by_directory = sys.platform.startswith("linux")
        self._known: set[str] = set()

    def run(self) -> None:
        """Watch until stopped."""
        changes, begun_s = self._begin(), time.monotonic()
        new: set[str] = set()
        while (batch := next(changes, None)) is not None:
            new |= self._told(batch)
            if new and time.monotonic() - begun_s >= _AGAIN_S:
                before, changes, begun_s = changes, self._begin(), time.monotonic()
                first = next(changes, _NOTHING)  # what comes from now on is noticed: so the one before may end
                new |= self._told(next(before, _NOTHING)) | self._told(first)
                before.close()
                self._tell({path[self._prefix :] for path in new})
                new.clear()

    def _begin(self) -> _Changes:
        self._known = set(_directories(self._root)) if self._by_directory else set()
        changes: _Changes = self._watchfiles.watch(
            *(sorted(self._known) or [str(self._root)]),
            watch_filter=self._is_wanted,
            debounce=_MOST_GATHERED_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=_MOST_IDLE_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=not self._by_directory,
            ignore_permission_denied=True,
        )
        return changes

    def _is_wanted(self, change: Any, path: str) -> bool:
        inner = path[self._prefix :].replace("\\", "/")
        return not inner.startswith(".git/") or inner == ".git/info/exclude"

    def _told(self, batch: _Batch) -> set[str]:
        """Tell of changes; return the directories among them that are not watched yet."""
        if batch:
            self._tell({path[self._prefix :].replace("\\", "/") for _, path in batch})
        if not self._by_directory:
            return set()
        return {path for _, path in batch if path not in self._known and _is_directory(path)}


def _directories(root: Path) -> Iterator[str]:
    """Yield a root and every directory beneath it, none behind links; of git's own the one that tells of rules."""
    for path, names, _ in os.walk(root):
        yield path
        if ".git" in names:
            names.remove(".git")
            info = os.path.join(path, ".git", "info")  # noqa: PTH118  # as os.walk makes them
            if path == str(root) and _is_directory(info):
                yield info


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None]) -> Callable[..., None]:
    """Return ``function`` as one that a thread may call: it runs on the loop, or not at all once that is closed."""

    def call(*args: Any) -> None:
        try:
            loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            logger.debug("a change was noticed after its loop had closed")

    return call
