"""GreedyDual-Size-Frequency (Cherkasova, *Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency*, 1998)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from preloader.cache.lfu import LFUEviction
from preloader.cache.lru import take
from preloader.events import Prediction
from preloader.ports import Resident


class GDSFEviction(LFUEviction):
    """Evicts the smallest clock + uses × seconds to reload ÷ bytes, and of equals the least recently used.

    The clock stands at the highest priority that was ever evicted; a resident's priority holds the clock of its latest
    use, so that what was popular once grows old. Uses are counted while resident, as LFU does.

    As in the paper, a candidate that would itself rank below its victims is refused. A need is not: it is in use when
    it is stored. So a needed resource is ranked after its victims have moved the clock, as in GreedyDual-Size (Cao and
    Irani, 1997), from which this descends.
    """

    name = "gdsf"

    def __init__(self) -> None:
        super().__init__()
        self._clock = 0.0
        self._priorities: dict[str, float] = {}

    def resized(self, capacity_bytes: int) -> None:
        """See `AdaptiveEviction`: the budget plays no part."""

    def missed(self, key: str) -> None:
        """See `AdaptiveEviction`: what is not resident has no record."""

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        super().admitted(resident)
        self._priorities[resident.key] = self._priority(resident, 1)

    def used(self, key: str) -> None:
        """See `EvictionPolicy`."""
        super().used(key)
        self._priorities[key] = self._priority(self._residents[key], self._uses[key])

    def evicted(self, key: str) -> None:
        """See `AdaptiveEviction`."""
        self._clock = max(self._clock, self._priorities[key])

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        super().removed(key)
        del self._priorities[key]

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        ranked = sorted(self._residents.values(), key=lambda r: self._priorities[r.key])  # stable: LRU order
        chosen = take(ranked, bytes_needed, pinned)
        if chosen is None:
            return None
        keys = [resident.key for resident in chosen]
        if candidate and max(map(self._priorities.__getitem__, keys)) > self._priority(candidate, 1):
            return None
        return keys

    def _priority(self, resident: Resident, uses: int) -> float:
        return self._clock + uses * resident.load_s / max(1, resident.bytes)
