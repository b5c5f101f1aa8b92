"""How many preloads each tier loads at once: more while its queue grows old and the processors are idle."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable

from preloader.events import Tier
from preloader.scheduling.realtime import keeps_real_time

CpuLoad = Callable[[], float]
"""Returns how busy the processors are, 0 to 1, without blocking; more than 1 where work waits for them."""

STEP_S = 0.5
"""A tier's workers change by one, at most once in so many seconds of the loop's time."""

_BUSY, _IDLE = 0.95, 0.75  # from where workers are taken away; below which they are added
_SMOOTHING = 0.25  # weight of the latest load time


def machine_cpu_load() -> float:
    """Return the runnable processes of the last minute for each processor; 0 where time is virtual, or on Windows."""
    if not keeps_real_time(asyncio.get_running_loop()):
        return 0.0
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return 0.0


class Workers:
    """Worker counts of the tiers, between one and ``most``.

    By Little's law a queue of n is served within the tier's patience by n × seconds a load ÷ patience workers. The
    count goes there by one at a time, and back to ``rest`` when nothing waits; busy processors take workers away.

    Args:
        rest: How many load at once while nothing has waited long.
        most: How many do at most; where ``rest`` is more, that.
        cpu: Looked at when the counts are adapted, at most every `STEP_S`.
    """

    def __init__(self, rest: tuple[int, int, int], most: tuple[int, int, int], cpu: CpuLoad) -> None:
        self._rest = rest
        self._most = tuple(max(pair) for pair in zip(rest, most, strict=True))
        self._counts = list(rest)
        self._load_s: list[float | None] = [None] * len(rest)
        self._changed_s = [-math.inf] * len(rest)
        self._cpu = cpu
        self._looked_s = -math.inf
        self._cpu_load = 0.0

    def count(self, tier: Tier) -> int:
        """Return how many preloads of a tier load at once, at present."""
        return self._counts[tier]

    def may_grow(self, tier: Tier) -> bool:
        """Return whether a tier has fewer workers than it may have."""
        return self._counts[tier] < self._most[tier]

    def took(self, tier: Tier, seconds: float) -> None:
        """Enter how long a load of a tier has taken."""
        known = self._load_s[tier]
        self._load_s[tier] = seconds if known is None else known + _SMOOTHING * (seconds - known)

    def adapt(self, tier: Tier, now_s: float, queued: int, age_s: float, patience_s: float) -> None:
        """Move a tier's count by one where that is due.

        Args:
            tier: The tier.
            now_s: The loop's time.
            queued: How many preloads wait in it.
            age_s: How long the oldest has waited.
            patience_s: How long it should at most.
        """
        if now_s - self._changed_s[tier] < STEP_S or not (queued or self._counts[tier] != self._rest[tier]):
            return
        step = self._step(tier, queued, age_s > patience_s, patience_s, self._cpu_at(now_s))
        if step:
            self._counts[tier] += step
            self._changed_s[tier] = now_s

    def _step(self, tier: Tier, queued: int, is_late: bool, patience_s: float, cpu: float) -> int:
        count, rest = self._counts[tier], self._rest[tier]
        if cpu >= _BUSY:
            return -1 if count > 1 else 0
        wanted = math.ceil(queued * (self._load_s[tier] or 0.0) / patience_s)
        if is_late or wanted > count:
            return 1 if count < self._most[tier] and (cpu < _IDLE or count < rest) else 0
        return (count < rest) - (count > max(rest, wanted))

    def _cpu_at(self, now_s: float) -> float:
        if now_s - self._looked_s >= STEP_S:
            self._looked_s, self._cpu_load = now_s, self._cpu()
        return self._cpu_load
