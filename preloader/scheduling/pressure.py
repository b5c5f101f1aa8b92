"""How short memory is, as one level with hysteresis, from whatever the system tells."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Protocol

import msgspec

from preloader.errors import LoadError
from preloader.ports import Executor
from preloader.settings import Levels
from preloader.telemetry import logger


class Pressure(IntEnum):
    """How short memory is. What each level does is in `preloader.relief`."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3
    EMERGENCY = 4


PressureCallback = Callable[[Pressure, Pressure], None]
"""Called with the new level and the one before."""


class Reading(msgspec.Struct, frozen=True):
    """What one source says; what it does not know is ``None``.

    Attributes:
        used: Share of the memory there is, 0 to 1.
        stalled: Share of the last seconds in which something waited for memory, 0 to 1.
        level: The level, where the system names one itself.
    """

    used: float | None = None
    stalled: float | None = None
    level: Pressure | None = None


class PressureSource(Protocol):
    """Tells about memory.

    Attributes:
        name: Shown in statistics.
        is_blocking: Whether `read` may block, and has to run off the loop.
    """

    name: str
    is_blocking: bool

    def read(self) -> Reading:
        """Return what is known now.

        Raises:
            OSError: Nothing, at present.
            ValueError: The system said what cannot be understood.
        """


class SimulatedPressure:
    """A source that says what it is told: for tests, and for applications that know better than the system.

    >>> source = SimulatedPressure()
    >>> source.reading = Reading(used=0.97)
    """

    name = "simulated"
    is_blocking = False

    def __init__(self, reading: Reading | None = None) -> None:
        self.reading = reading or Reading()

    def read(self) -> Reading:
        """Return ``reading``."""
        return self.reading


def classify(reading: Reading, used: Levels, stalled: Levels) -> Pressure:
    """Return the worst level that a reading amounts to."""
    levels = [Pressure.LOW if reading.level is None else reading.level]
    if reading.used is not None:
        levels.append(Pressure(bisect_right(used, reading.used)))
    if reading.stalled is not None:
        levels.append(Pressure(bisect_right(stalled, reading.stalled)))
    return max(levels)


class Hysteresis:
    """Rises at once; falls when the level has been lower for a while, to the worst of that while.

    Args:
        calm_s: How long the while is.
    """

    def __init__(self, calm_s: float) -> None:
        self.level = Pressure.LOW
        self._calm_s = calm_s
        self._below_s: float | None = None  # since when it has been lower
        self._worst = Pressure.LOW  # since then

    def update(self, level: Pressure, now_s: float) -> Pressure:
        """Enter the level measured now, and return the one that holds."""
        if level >= self.level:
            self.level, self._below_s = level, None
        elif self._below_s is None:
            self._below_s, self._worst = now_s, level
        else:
            self._worst = max(self._worst, level)
            if now_s - self._below_s >= self._calm_s:
                self.level, self._below_s = self._worst, None
        return self.level


class PressureStatistics(msgspec.Struct, frozen=True):
    """What has become of memory pressure.

    Attributes:
        level: The level that holds.
        readings: What each source said last.
        rises: How often each level was reached from a lower one.
        errors: How often a source could not be read.
    """

    level: Pressure
    readings: dict[str, Reading]
    rises: dict[str, int]
    errors: int


class PressureMonitor:
    """Reads the sources, the more often the worse it is, and calls back when the level changes.

    Args:
        sources: The worst of them counts; they may be replaced any time.
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
        self.sources = sources
        self._executor = executor
        self._interval_s = interval_s
        self._used = used
        self._stalled = stalled
        self._respond = respond
        self._hysteresis = Hysteresis(calm_s)
        self._readings: dict[str, Reading] = {}
        self._rises: Counter[str] = Counter()
        self._errors = 0
        self._soon = asyncio.Event()

    @property
    def level(self) -> Pressure:
        """The level that holds."""
        return self._hysteresis.level

    def statistics(self) -> PressureStatistics:
        """Return a snapshot."""
        return PressureStatistics(self.level, dict(self._readings), dict(self._rises), self._errors)

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
        self._readings = await self._read()
        self._errors += len(self.sources) - len(self._readings)
        levels = [classify(reading, self._used, self._stalled) for reading in self._readings.values()]
        before = self.level
        measured = max(levels, default=before)  # where nobody knows, it stays as it is
        level = self._hysteresis.update(measured, asyncio.get_running_loop().time())
        if level != before:
            logger.debug("memory pressure is %s, it was %s: %s", level.name, before.name, self._readings)
            if level > before:
                self._rises[level.name.lower()] += 1
        self._respond(level, before)
        return level

    async def _read(self) -> dict[str, Reading]:
        readings = _read_all([source for source in self.sources if not source.is_blocking])
        if blocking := [source for source in self.sources if source.is_blocking]:
            try:
                readings |= await self._executor.run(_read_all, blocking)
            except LoadError as error:  # every thread hangs
                logger.debug("memory pressure cannot be read: %s", error)
        return readings


def _read_all(sources: Sequence[PressureSource]) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    for source in sources:
        try:
            reading = source.read()
            if math.isnan(reading.used or 0.0) or math.isnan(reading.stalled or 0.0):  # which would pass for the worst
                raise ValueError(f"no number in {reading}")
            readings[source.name] = reading
        except Exception as error:
            logger.debug("the pressure source %s cannot be read: %r", source.name, error)
    return readings
