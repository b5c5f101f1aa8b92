"""How short memory is: what sources say of it, which level that amounts to, and hysteresis."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

import msgspec

from preloader.settings import Levels


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
