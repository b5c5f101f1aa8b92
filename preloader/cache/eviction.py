"""Eviction policies: what to give up when room is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from preloader.errors import ConfigurationError
from preloader.events import Prediction
from preloader.ports import EvictionPolicy, Resident


class LRUEviction:
    """Evicts the least recently used. It has no opinion on candidates: whatever is loaded may displace."""

    name = "lru"

    def __init__(self) -> None:
        self._residents: dict[str, Resident] = {}  # least recently used first

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        self._residents[resident.key] = resident

    def used(self, key: str) -> None:
        """See `EvictionPolicy`."""
        self._residents[key] = self._residents.pop(key)

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        del self._residents[key]

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        chosen = _take(self._residents.values(), bytes_needed, pinned)
        return None if chosen is None else [resident.key for resident in chosen]


class PredictiveEviction(LRUEviction):
    """Evicts the smallest P(use soon) × seconds to reload ÷ bytes, the least recently used among equals.

    A candidate must be worth more than what it displaces: P(use soon) × seconds, summed over the victims.
    """

    name = "predictive"

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""

        def worth_s(resident: Resident) -> float:
            expected = predictions.get(resident.key)
            return expected.p_use_soon * resident.load_s if expected else 0.0

        by_density = sorted(self._residents.values(), key=lambda r: worth_s(r) / max(1, r.bytes))  # stable: LRU order
        chosen = _take(by_density, bytes_needed, pinned)
        if chosen is None or (candidate and sum(map(worth_s, chosen)) >= worth_s(candidate)):
            return None
        return [resident.key for resident in chosen]


def _take(residents: Iterable[Resident], bytes_needed: int, pinned: Collection[str]) -> list[Resident] | None:
    """Return the first residents that free enough, and of those only the ones that are needed for it."""
    chosen: list[Resident] = []
    freed = 0
    for resident in residents:
        if freed >= bytes_needed:
            break
        if resident.key not in pinned:
            chosen.append(resident)
            freed += resident.bytes
    if freed < bytes_needed:
        return None
    for resident in list(chosen):  # an early small one may be spared once a later large one was taken
        if freed - resident.bytes >= bytes_needed:
            chosen.remove(resident)
            freed -= resident.bytes
    return chosen


EVICTIONS: dict[str, type[EvictionPolicy]] = {policy.name: policy for policy in (LRUEviction, PredictiveEviction)}


def make_eviction(name: str) -> EvictionPolicy:
    """Return a new eviction policy by name.

    Raises:
        ConfigurationError: There is no policy of that name.
    """
    try:
        return EVICTIONS[name]()
    except KeyError:
        raise ConfigurationError(f"unknown eviction policy {name!r}: choose one of {', '.join(EVICTIONS)}") from None
