"""What goes to make room for what: the eviction policy, asked with what every session is expected to use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

from preloader.cache import Entry, Store
from preloader.errors import LoadError
from preloader.events import Prediction
from preloader.ports import Cost, Provider, Resident, priority_of
from preloader.scheduling.flights import Flight
from preloader.telemetry import OpenPreload, logger

Outlook = Callable[[], Mapping[str, Prediction]]


class NoRoom(LoadError):
    """Room for a speculative load could be made only at the cost of something worth more, or not at all."""


class Room:
    """Makes room in the store, and says whether it can be made and what that would cost.

    Args:
        store: Where entries live.
        outlook: Returns what is expected to be used soon.
        provider: Returns the provider of a key.
        evict: Takes a victim out of the store, given why.

    Attributes:
        counts: Failures of the eviction policy.
    """

    def __init__(
        self,
        store: Store,
        outlook: Outlook,
        provider: Callable[[str], Provider],
        evict: Callable[[Entry, str], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store
        self._outlook = outlook
        self._provider = provider
        self._evict = evict

    def loss_s(self, missing: int) -> float:
        """Return what making room for so many bytes is expected to cost; see `Budget.loss_s`."""
        if missing <= self._store.free_bytes:
            return 0.0
        predictions = self._outlook()
        victims = self._store.victims(missing, predictions)
        if victims is None:
            return math.inf
        return sum(predictions[one.key].p_use_soon * one.load_s for one in victims if one.key in predictions)

    def is_worth_making(self, preload: OpenPreload, cost: Cost) -> bool:
        """Return whether room for a preload exists or is worth making."""
        return self._victims(preload.key, cost, preload) is not None

    def make(self, flight: Flight[Entry], cost: Cost, *, loaded: bool = False) -> bool:
        """Evict what must go for a flight; return whether there is room now.

        Raises:
            NoRoom: There is none for a speculative load that has not begun.
        """
        victims = self._victims(flight.key, cost, None if flight.foreground else flight.preload)
        if victims is None:
            if flight.foreground or loaded:
                return False
            raise NoRoom("no room that is worth making")
        for victim in victims:
            self._evict(victim, f"evicted unused, for {flight.key}")
        return True

    def shed(self) -> None:
        """Evict what a lowered budget no longer has room for, as far as it is not in use."""
        try:
            victims = self._store.excess(self._outlook())
        except Exception:
            self.counts["eviction_errors"] += 1
            logger.exception("the eviction policy failed when the budget was lowered")
            return
        for victim in victims:
            self._evict(victim, "evicted unused, for a smaller budget")

    def _victims(self, key: str, cost: Cost, preload: OpenPreload | None) -> list[Entry] | None:
        if cost.bytes <= self._store.free_bytes:
            return []
        predictions = self._outlook()
        if preload is None:
            return self._store.victims(cost.bytes, predictions)
        if key not in predictions:  # hinted, or a dependency: what it is loaded for speaks for it
            p = preload.probability
            predictions = {**predictions, key: Prediction(key, (p,), p, p)}
        priority = priority_of(self._provider(key), key)
        candidate = Resident(key, cost.bytes, cost.seconds, priority, speculative=True)
        return self._store.victims(cost.bytes, predictions, candidate)
