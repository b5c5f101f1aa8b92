"""What the manager gives back when memory is short, and takes again when it is not.

==========  =============================================================================================
HIGH        tiers and rings hold half as many and go by density, the background loads nothing
CRITICAL    tiers are empty, nothing is preloaded, what was preloaded and not used yet is unloaded
EMERGENCY   everything that nobody holds is unloaded
==========  =============================================================================================

Each level does what the ones below it do, and the budget shrinks with it. Once the level falls, all is as it was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from preloader.cache import Entry, Store
from preloader.hints import HintInbox
from preloader.loading import Loader
from preloader.ports import Executor
from preloader.scheduling.pressure import Pressure, PressureCallback, PressureSource
from preloader.scheduling.pressure_gauge import readable
from preloader.scheduling.pressure_monitor import PressureMonitor, PressureStatistics
from preloader.scheduling.pressure_sources import machine_sources, stall_trigger
from preloader.scheduling.realtime import keeps_real_time
from preloader.settings import Settings
from preloader.speculation import Speculation
from preloader.telemetry import logger


class Relief:
    """Watches memory pressure and makes the manager's parts give way.

    Args:
        settings: Levels, intervals and budgets.
        store: Whose budget shrinks, and whose entries are unloaded.
        loader: What unloads them.
        speculation: What holds back.
        hints: Whose rings shrink.
        executor: Where the system's files are read.
        sources: What tells about memory; ``None`` for all that the machine has.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        loader: Loader,
        speculation: Speculation,
        hints: HintInbox,
        executor: Executor,
        sources: Sequence[PressureSource] | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._budget_bytes = settings.budget_bytes
        self._store = store
        self._loader = loader
        self._speculation = speculation
        self._hints = hints
        self._executor = executor
        self._sources = sources
        self._callbacks: list[PressureCallback] = []
        self._monitor = PressureMonitor(
            sources or (),
            executor,
            interval_s=settings.pressure_interval_s,
            calm_s=settings.pressure_calm_s,
            used=settings.pressure_used,
            stalled=settings.pressure_stalled,
            respond=self._respond,
        )

    @property
    def level(self) -> Pressure:
        """The level that holds."""
        return self._monitor.level

    def statistics(self) -> PressureStatistics:
        """Return a snapshot."""
        return self._monitor.statistics()

    def on_change(self, callback: PressureCallback) -> Callable[[], None]:
        """Call ``callback`` when the level changes, after the response; return what ends that."""
        self._callbacks.append(callback)

        def forget() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return forget

    def resize(self, budget_bytes: int) -> None:
        """Change the budget of which pressure leaves a share.

        Raises:
            ValueError: It is below 1.
        """
        if budget_bytes < 1:
            raise ValueError(f"a budget must be at least 1 byte, not {budget_bytes}")
        self._budget_bytes = budget_bytes
        self._fit_budget(self.level)

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Return the endless chore that the manager runs; none where pressure is not watched.

        In virtual time the machine's memory is beside the point: only sources that were given are watched there.
        """
        is_off = not self._settings.pressure
        if is_off or (self._sources is None and not keeps_real_time(asyncio.get_running_loop())):
            return []
        return [self._watch()]

    async def _watch(self) -> None:
        if self._sources is not None:
            await self._monitor.run()
        try:
            self._monitor.watch(await readable(await self._executor.run(machine_sources), self._executor))
        except Exception as error:  # a system that tells in an unknown way, or no thread left to ask it in
            logger.warning("memory pressure cannot be watched: %r", error)
            return
        with stall_trigger(asyncio.get_running_loop(), self._monitor.soon):
            await self._monitor.run()

    def _respond(self, level: Pressure, before: Pressure) -> None:
        """Do what the level asks for, at each look: what was held by others then may be free by now."""
        if level != before:
            self._speculation.restrain(level)
            self._hints.restrain(0.5 if level >= Pressure.HIGH else 1.0)
            self._fit_budget(level)
        reason = f"memory pressure {level.name}"
        if level >= Pressure.CRITICAL:
            self._unload(self._store.speculative(), reason)
        if level >= Pressure.EMERGENCY:
            self._unload(self._store.entries(), reason)
        if level != before:
            self._tell(level, before)

    def _fit_budget(self, level: Pressure) -> None:
        share = (1.0, 1.0, *self._settings.pressure_budget)[level]
        self._loader.resize(max(1, int(self._budget_bytes * share)))

    def _unload(self, entries: Sequence[Entry], reason: str) -> None:
        for entry in entries:
            if entry.stored and not entry.pins:
                self.counts["pressure_unloads"] += 1
                self._loader.evict(entry, reason)

    def _tell(self, level: Pressure, before: Pressure) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(level, before)
            except Exception:
                logger.exception("a callback failed on memory pressure %s", level.name)
