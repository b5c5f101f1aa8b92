"""Least frequently used, counted while resident."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from preloader.cache.lru import FirstUses, LRUEviction, take
from preloader.events import Prediction
from preloader.ports import Resident


class LFUEviction(LRUEviction):
    """Evicts the least often used, and of equals the least recently used.

    This is *in-cache* LFU: a resource that leaves takes its count with it, and begins at one when it comes back. Sizes
    and costs do not count.
    """

    name = "lfu"

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[str, int] = {}
        self._first_uses = FirstUses()

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        super().admitted(resident)
        self._uses[resident.key] = 1
        self._first_uses.admitted(resident)

    def used(self, key: str) -> None:
        """See `EvictionPolicy`."""
        super().used(key)
        self._uses[key] += not self._first_uses.is_first(key)

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        super().removed(key)
        del self._uses[key]
        self._first_uses.removed(key)

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        by_uses = sorted(self._residents.values(), key=lambda resident: self._uses[resident.key])  # stable: LRU order
        chosen = take(by_uses, bytes_needed, pinned)
        return None if chosen is None else [resident.key for resident in chosen]
