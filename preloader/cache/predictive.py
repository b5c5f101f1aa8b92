"""Predictive eviction, the default: what is least expected goes, as far as it is cheap to bring back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from preloader.cache.lru import LRUEviction, take
from preloader.events import Prediction
from preloader.ports import Resident


class PredictiveEviction(LRUEviction):
    """Evicts the smallest P(use soon) × seconds to reload × priority ÷ bytes, the least recently used among equals.

    A candidate must be worth more than what it displaces: P(use soon) × seconds × priority, summed over the victims.
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

        def worth(resident: Resident) -> float:
            expected = predictions.get(resident.key)
            return expected.p_use_soon * resident.load_s * resident.priority if expected else 0.0

        by_density = sorted(self._residents.values(), key=lambda r: worth(r) / max(1, r.bytes))  # stable: LRU order
        chosen = take(by_density, bytes_needed, pinned)
        if chosen is None or (candidate and sum(map(worth, chosen)) >= worth(candidate)):
            return None
        return [resident.key for resident in chosen]
