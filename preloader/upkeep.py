"""What a manager keeps on disk: the predictor's state, saved regularly, and the event log, flushed regularly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from preloader.errors import BundleError, PreloaderError
from preloader.history.log import EventLog
from preloader.ports import Executor, Predictor
from preloader.prediction import load_bundle, save_bundle
from preloader.telemetry import logger

_LOG_FLUSH_S = 1.0
_BUNDLE = "predictor"


class Upkeep:
    """Restores, saves and flushes, off the loop. A failure is logged and tried again; it never reaches the manager.

    Args:
        predictor: Whose state is kept.
        executor: Where files are read and written.
        state_dir: Where the predictor's bundle lives; ``None`` keeps nothing.
        event_log: Where events are recorded; ``None`` records nothing.
        autosave_s: How often the state is saved.
    """

    def __init__(
        self,
        predictor: Predictor,
        executor: Executor,
        state_dir: Path | None,
        event_log: EventLog | None,
        autosave_s: float,
    ) -> None:
        self._predictor = predictor
        self._executor = executor
        self._bundle = None if state_dir is None else state_dir / _BUNDLE
        self._event_log = event_log
        self._autosave_s = autosave_s

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Return the endless chores that the manager runs as tasks of its own."""
        chores: list[Coroutine[Any, Any, None]] = []
        if self._bundle is not None:
            chores.append(_every(self._autosave_s, self.save))
        if self._event_log is not None:
            chores.append(_every(_LOG_FLUSH_S, self.flush))
        return chores

    async def restore(self) -> None:
        """Restore the predictor; a state that is no good is left where it is and the predictor starts afresh."""
        if self._bundle is None or not self._bundle.exists():
            return
        try:
            bundle = await self._executor.run(load_bundle, self._bundle)
            self._predictor.restore(bundle.snapshot)
        except BundleError as error:
            logger.warning("the predictor starts afresh: %s", error)

    async def save(self) -> None:
        """Save the predictor's state, atomically."""
        if self._bundle is None:
            return
        snapshot = self._predictor.snapshot()
        self._bundle.parent.mkdir(parents=True, exist_ok=True)
        await self._executor.run(save_bundle, self._bundle, snapshot)

    async def flush(self) -> None:
        """Write what the event log has buffered; what was recorded before is durable when this returns."""
        if self._event_log is not None:
            await self._executor.run(self._event_log.flush)


async def _every(seconds: float, chore: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except (PreloaderError, OSError) as error:
            logger.warning("%s failed and is tried again in %g s: %s", chore.__qualname__, seconds, error)
