"""Tells an event loop which files change beneath a directory, as `watchfiles` notices it in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from preloader.errors import require
from preloader.telemetry import logger

STEP_MS = 4
"""How often the thread looks whether something changed; changes are told of one to two steps after the first."""

_MOST_GATHERED_MS = 50


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

    Git's own directory is left out, but for what it says is ignored.

    Raises:
        MissingExtraError: ``watchfiles`` is not installed.
        OSError: The system watches no more directories.
    """
    watchfiles = require("watchfiles", "workspace")
    prefix = len(str(root).rstrip("/")) + 1

    def is_wanted(change: Any, path: str) -> bool:
        inner = path[prefix:].replace("\\", "/")
        return not inner.startswith(".git/") or inner == ".git/info/exclude"

    changes = watchfiles.watch(
        root,
        watch_filter=is_wanted,
        debounce=_MOST_GATHERED_MS,
        step=STEP_MS,
        stop_event=stop,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    for batch in changes:
        tell({path[prefix:].replace("\\", "/") for _, path in batch})


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None]) -> Callable[..., None]:
    """Return ``function`` as one that a thread may call: it runs on the loop, or not at all once that is closed."""

    def call(*args: Any) -> None:
        try:
            loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            logger.debug("a change was noticed after its loop had closed")

    return call
