"""Least recently used, and what all policies that rank residents by one figure share with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from preloader.events import Prediction
from preloader.ports import Resident


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
        chosen = take(self._residents.values(), bytes_needed, pinned)
        return None if chosen is None else [resident.key for resident in chosen]


class FirstUses:
    """Tells which residents were loaded ahead of a need, and not needed since.

    A policy that counts uses counts an admission as one, so that what has just come is not the first to go. Of a
    speculative resident the first need is that very use, and no second one.
    """

    def __init__(self) -> None:
        self._ahead: set[str] = set()

    def admitted(self, resident: Resident) -> None:
        """Note an admission."""
        if resident.speculative:
            self._ahead.add(resident.key)

    def is_first(self, key: str) -> bool:
        """Return whether a use is the one that an admission was counted for; say so once."""
        if key in self._ahead:
            self._ahead.remove(key)
            return True
        return False

    def removed(self, key: str) -> None:
        """Note that a resident left."""
        self._ahead.discard(key)


def take(residents: Iterable[Resident], bytes_needed: int, pinned: Collection[str]) -> list[Resident] | None:
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
