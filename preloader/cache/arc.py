"""ARC (Megiddo and Modha, *ARC: A Self-Tuning, Low Overhead Replacement Cache*, FAST 2003)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping

from preloader.cache.lru import FirstUses, take
from preloader.events import Prediction
from preloader.ports import Resident

_AWAITED = 64  # ghosts that were needed and are not stored yet; loads may fail, so the oldest is forgotten past this


class _Queue:
    """Keys with their bytes, least recently used first."""

    def __init__(self) -> None:
        self.keys: OrderedDict[str, int] = OrderedDict()
        self.bytes = 0

    def push(self, key: str, bytes_: int) -> None:
        self.keys[key] = bytes_
        self.bytes += bytes_

    def pop(self, key: str) -> int:
        bytes_ = self.keys.pop(key)
        self.bytes -= bytes_
        return bytes_

    def shrink(self, limit_bytes: int) -> None:
        """Drop the oldest until what is left fits; keys without bytes go with those before them."""
        while self.keys and self.bytes > limit_bytes:
            self.pop(next(iter(self.keys)))


class ARCEviction:
    """Balances recency against frequency by which of the two it regretted.

    Residents used once are in `T1`, those used again in `T2`; keys evicted from either are remembered in `B1` and `B2`.
    A need found in `B1` raises the share ``p`` that `T1` may have, one in `B2` lowers it. At unit sizes this is the
    published algorithm, with a real ``p``.

    Everything is counted in bytes, the budget included, and a need of ``n`` bytes moves ``p`` by ``n`` times the
    published ratio, which at unit sizes is the ratio itself. (libCacheSim moves it by the bare ratio at every size, of
    which a cache of large objects feels nothing.) What is loaded ahead enters `T1`, and its first need leaves it there.
    """

    name = "arc"

    def __init__(self) -> None:
        self._capacity = 0
        self._target = 0.0  # p in the paper
        self._residents: dict[str, Resident] = {}
        self._once, self._again = _Queue(), _Queue()  # T1, T2
        self._lost_once, self._lost_again = _Queue(), _Queue()  # B1, B2
        self._first_uses = FirstUses()
        self._awaited: OrderedDict[str, bool] = OrderedDict()  # ghosts just needed, and whether they were in B2

    def resized(self, capacity_bytes: int) -> None:
        """See `AdaptiveEviction`."""
        self._capacity = capacity_bytes
        self._target = min(self._target, capacity_bytes)
        self._bound_ghosts()

    def missed(self, key: str) -> None:
        """See `AdaptiveEviction`: cases II and III of the paper."""
        lost_once, lost_again = self._lost_once, self._lost_again
        if key in lost_once.keys:
            ratio = max(1.0, lost_again.bytes / max(1, lost_once.bytes))
            self._target = min(self._target + ratio * lost_once.pop(key), self._capacity)
            self._await(key, from_again=False)
        elif key in lost_again.keys:
            ratio = max(1.0, lost_once.bytes / max(1, lost_again.bytes))
            self._target = max(self._target - ratio * lost_again.pop(key), 0.0)
            self._await(key, from_again=True)

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        key = resident.key
        self._residents[key] = resident
        if self._awaited.pop(key, None) is not None:
            self._again.push(key, resident.bytes)
        else:
            for ghosts in (self._lost_once, self._lost_again):  # a preload brings it back: nobody missed it
                if key in ghosts.keys:
                    ghosts.pop(key)
            self._once.push(key, resident.bytes)
            self._first_uses.admitted(resident)
        self._bound_ghosts()

    def used(self, key: str) -> None:
        """See `EvictionPolicy`: case I of the paper."""
        queue = self._once if key in self._once.keys else self._again
        bytes_ = queue.pop(key)
        (queue if self._first_uses.is_first(key) else self._again).push(key, bytes_)

    def evicted(self, key: str) -> None:
        """See `AdaptiveEviction`."""
        if key in self._once.keys:
            self._lost_once.push(key, self._residents[key].bytes)
        else:
            self._lost_again.push(key, self._residents[key].bytes)

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        del self._residents[key]
        (self._once if key in self._once.keys else self._again).pop(key)
        self._first_uses.removed(key)

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        chosen = take(self._replaced(pinned), bytes_needed, pinned)
        return None if chosen is None else [resident.key for resident in chosen]

    def _replaced(self, pinned: Collection[str]) -> Iterator[Resident]:
        """Yield residents in the order in which ``REPLACE`` of the paper, called again and again, gives them up."""
        once = [key for key in self._once.keys if key not in pinned]
        again = [key for key in self._again.keys if key not in pinned]
        once.reverse()
        again.reverse()
        left = self._once.bytes
        needed_again = bool(self._awaited) and next(reversed(self._awaited.values()))
        while once or again:
            is_over = left > self._target or (left == self._target and needed_again)
            if once and (is_over or not again):
                key = once.pop()
                left -= self._residents[key].bytes
            else:
                key = again.pop()
            yield self._residents[key]

    def _await(self, key: str, *, from_again: bool) -> None:
        self._awaited[key] = from_again
        if len(self._awaited) > _AWAITED:
            self._awaited.popitem(last=False)

    def _bound_ghosts(self) -> None:
        """Keep T1 and B1 within the budget, and all four within twice that: case IV of the paper, after the fact."""
        once, again = self._once.bytes, self._again.bytes
        self._lost_once.shrink(self._capacity - once)
        self._lost_again.shrink(2 * self._capacity - once - again - self._lost_once.bytes)
