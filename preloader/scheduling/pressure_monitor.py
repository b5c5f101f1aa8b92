"""Watching memory pressure: every source again and again, one level of all, and who is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from preloader.ports import Executor
from preloader.scheduling.pressure import Hysteresis, Pressure, PressureCallback, PressureSource, Reading, classify
from preloader.scheduling.pressure_gauge import Gauge
from preloader.settings import Levels
from preloader.telemetry import logger


class PressureStatistics(msgspec.Struct, frozen=True):
    """What has become of memory pressure.

    Attributes:
        level: The level that holds.
        readings: What each source said at the latest look.
        held: What those said last that could not be read then, as long as it counts.
        rises: How often each level was reached from a lower one.
        errors: How often a source could not be read.
        hangs: How often one was given up because reading it took too long.
    """

    level: Pressure
    readings: dict[str, Reading]
    held: dict[str, Reading]
    rises: dict[str, int]
    errors: int
    hangs: int


class PressureMonitor:
    """Reads the sources, the more often the worse it is, and calls back when the level changes.

    Args:
        sources: The worst of them counts. One that cannot be read, or hangs, does not make the level fall: what it
            said last holds for a minute (`HOLD_S`), and where none says anything the level stays.
        executor: Where blocking sources are read.
        interval_s: How often at LOW; four times as often from HIGH on, twice at MEDIUM.
        calm_s: How long it must be better before the level falls.
        used: From which used share on each level begins.
        stalled: From which stalled share on each level begins.
        respond: Called at each reading with the level that holds and the one before, whether it changed or not; it must
            not block.
    """

    def __init__(
        self,
        sources: Sequence[PressureSource],
        executor: Executor,
        *,
        interval_s: float,
        calm_s: float,
        used: Levels,
        stalled: Levels,
        respond: PressureCallback,
    ) -> None:
        self._executor = executor
        self.watch(sources)
        self._interval_s = interval_s
        self._used = used
        self._stalled = stalled
        self._respond = respond
        self._hysteresis = Hysteresis(calm_s)
        self._readings: dict[str, Reading] = {}
        self._rises: Counter[str] = Counter()
        self._held: dict[str, Reading] = {}
        self._soon = asyncio.Event()

    @property
    def level(self) -> Pressure:
        """The level that holds."""
        return self._hysteresis.level

    def watch(self, sources: Sequence[PressureSource]) -> None:
        """Read these sources from now on."""
        self._gauges = [Gauge(source, self._executor) for source in sources]

    def statistics(self) -> PressureStatistics:
        """Return a snapshot."""
        return PressureStatistics(
            level=self.level,
            readings=dict(self._readings),
            held=dict(self._held),
            rises=dict(self._rises),
            errors=sum(gauge.errors for gauge in self._gauges),
            hangs=sum(gauge.hangs for gauge in self._gauges),
        )

    def soon(self) -> None:
        """Read at once rather than at the next interval: the system has called."""
        self._soon.set()

    async def run(self) -> None:
        """Watch, for ever."""
        while True:
            try:
                await self.look()
            except Exception:  # a faulty eviction policy, say; the next look may do better
                logger.exception("the response to memory pressure failed")
            wait_s = self._interval_s / (1, 2, 4, 4, 4)[self.level]
            self._soon.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._soon.wait()

    async def look(self) -> Pressure:
        """Read every source once, and respond; return the level that holds."""
        for gauge in self._gauges:
            await gauge.look()
        now_s = asyncio.get_running_loop().time()
        self._readings = {gauge.name: gauge.reading for gauge in self._gauges if gauge.reading is not None}
        self._held = {gauge.name: held for gauge in self._gauges if (held := gauge.held(now_s)) is not None}
        counting = (*self._readings.values(), *self._held.values())
        before = self.level
        measured = max((classify(one, self._used, self._stalled) for one in counting), default=before)
        level = self._hysteresis.update(measured, now_s)
        if level != before:
            logger.debug("memory pressure is %s, it was %s: %s", level.name, before.name, self._readings)
            if level > before:
                self._rises[level.name.lower()] += 1
        self._respond(level, before)
        return level
