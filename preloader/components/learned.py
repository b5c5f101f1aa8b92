"""What components really cost, learned from loading them, where it differs from what was declared.

A component that was loaded before is expected to cost what it did: its latest bytes, and the median of its last few
load times, which one slow disk read does not move. One that never was is expected to cost what was declared, times how
far its like have been off: for each sort of loader, the geometric mean of real ÷ declared, older loads counting less.
Where every declaration is exact, nothing changes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from preloader.ports import Cost

_RECENT = 5
_DECAY = 0.8  # weight that older evidence keeps at each load: about the last five count
_PRIOR = 1.0  # loads' worth of belief in the declaration
_MOST = math.log(32.0)  # a ratio beyond this is a slip of units rather than evidence
_CLOCK_S = 5e-6  # timers are due this early or late on the virtual clock: no difference


class LearnedCosts:
    """Expected costs of one provider's components. Takes microseconds, and memory linear in the components."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._seconds: dict[str, deque[float]] = {}
        self._byte_ratios: dict[str, _Ratio] = {}
        self._time_ratios: dict[str, _Ratio] = {}

    def loaded(self, key: str, sort: str, declared: Cost, seconds: float, measured: int | None) -> None:
        """Learn from a load.

        Args:
            key: What was loaded.
            sort: What sort of loader it has.
            declared: What it was declared to cost.
            seconds: How long it took.
            measured: What it occupies; ``None`` where that could not be told.
        """
        if abs(seconds - declared.seconds) <= _CLOCK_S:
            seconds = declared.seconds
        if seconds > 0 or not declared.seconds:  # else the clock stood still: in replay, real work takes no time
            self._seconds.setdefault(key, deque(maxlen=_RECENT)).append(seconds)
            self._time_ratios.setdefault(sort, _Ratio()).add(seconds, declared.seconds)
        if measured is not None:
            self._bytes[key] = measured
            self._byte_ratios.setdefault(sort, _Ratio()).add(measured, declared.bytes)

    def expected(self, key: str, sort: str, declared: Cost) -> Cost:
        """Return what loading is expected to cost now."""
        recent = self._seconds.get(key)
        seconds = _median(recent) if recent else _scaled(declared.seconds, self._time_ratios.get(sort))
        size = self._bytes.get(key)
        if size is None:
            size = declared.bytes if recent else round(_scaled(declared.bytes, self._byte_ratios.get(sort)))
        return Cost(seconds, size)


class _Ratio:
    """Real ÷ declared of one sort of loader: a geometric mean that forgets, drawn towards 1 while there is little."""

    __slots__ = ("_log", "_weight")

    def __init__(self) -> None:
        self._log = 0.0
        self._weight = 0.0

    def add(self, real: float, declared: float) -> None:
        """Learn from one load; what costs nothing, or was said to, tells nothing."""
        if real > 0 and declared > 0:
            self._log = _DECAY * self._log + max(-_MOST, min(_MOST, math.log(real / declared)))
            self._weight = _DECAY * self._weight + 1.0

    @property
    def value(self) -> float:
        """The ratio; exactly 1 where every load cost what was declared."""
        return math.exp(self._log / (_PRIOR + self._weight))


def _median(values: Iterable[float]) -> float:
    """Return the median; `statistics` would cost 5 ms of import, and each call here is on the way of a prediction."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _scaled(declared: float, ratio: _Ratio | None) -> float:
    return declared if ratio is None else declared * ratio.value
