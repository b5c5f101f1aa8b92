"""How often each key came after each context: counts that grow event by event, and stay within a bound."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.state import fitting, within

MAX_FOLLOWERS = 32
"""How many keys a context remembers; past it the rarest is forgotten, the longest known among equals."""

_MOST = 1_024
_ORDERS = [count * math.log(count) if count else 0.0 for count in range(_MOST + 1)]


class Followers:
    """What came after one context.

    Attributes:
        counts: How often each key came.
        total: How often any did, those forgotten included.
        latest: Which came last.
        order: The sum of c log c over the counts c, of which `entropy` is made.
    """

    __slots__ = ("counts", "latest", "order", "total")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.total = 0
        self.latest = ""
        self.order = 0.0

    def add(self, key: str) -> None:
        """Count a key that came."""
        counts = self.counts
        count = counts.get(key, 0)
        if not count and len(counts) >= MAX_FOLLOWERS:
            self.order -= _ORDERS[min(counts.pop(min(counts, key=counts.__getitem__)), _MOST)]
        counts[key] = count + 1
        self.order += _ORDERS[min(count + 1, _MOST)] - _ORDERS[min(count, _MOST)]
        self.total += 1
        self.latest = key

    def entropy(self) -> float:
        """Return how uncertain it is what comes next, in nats; counts past 1,024 are taken for so many."""
        return max(math.log(self.total) - self.order / self.total, 0.0) if self.total else 0.0


NOBODY = Followers()
"""What came after a context that was never met."""


class Successors:
    """Counts what came after each context; past ``capacity`` contexts the longest untouched is forgotten.

    Args:
        capacity: How many contexts are remembered, each of about 700 bytes, 3 kB at most.
    """

    PARTS = ("contexts", "sizes", "totals", "latest", "keys", "counts")
    """The arrays of `dump`."""

    def __init__(self, capacity: int) -> None:
        self._held: OrderedDict[int, Followers] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._held)

    def after(self, contexts: Iterable[int]) -> list[Followers]:
        """Return what came after each context; changes nothing."""
        held = self._held
        return [held.get(context, NOBODY) for context in contexts]

    def add(self, contexts: Iterable[int], key: str) -> None:
        """Count a key that came after some contexts, each a number below 2⁶⁴."""
        held = self._held
        for context in contexts:
            followers = held.get(context)
            if followers is None:
                followers = held[context] = Followers()
                if len(held) > self._capacity:
                    held.popitem(last=False)
            else:
                held.move_to_end(context)
            followers.add(key)

    def named(self) -> Iterator[str]:
        """Yield every key that is counted, more than once if it is counted so."""
        for followers in self._held.values():
            yield from followers.counts
            yield followers.latest

    def dump(self, numbers: dict[str, int]) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays.

        Args:
            numbers: A number for each key of `named`.
        """
        held = self._held.values()
        return {
            "contexts": np.array(list(self._held), np.uint64),
            "sizes": np.array([len(one.counts) for one in held], np.int32),
            "totals": np.array([one.total for one in held], np.int64),
            "latest": np.array([numbers[one.latest] for one in held], np.int32),
            "keys": np.array([numbers[key] for one in held for key in one.counts], np.int32),
            "counts": np.array([count for one in held for count in one.counts.values()], np.int64),
        }

    def load(self, arrays: dict[str, NDArray[np.generic]], names: list[str]) -> None:
        """Fill an empty table with what `dump` returned.

        Args:
            arrays: They.
            names: The key of each number.

        Raises:
            KeyError, ValueError: They are damaged.
        """
        contexts, sizes = arrays["contexts"], arrays["sizes"]
        fitting("contexts", contexts, np.zeros(0, np.uint64), len(contexts))
        if len(contexts) > self._capacity:
            raise ValueError(f"{len(contexts)} contexts are more than the {self._capacity} that may be held")
        for name in ("sizes", "latest"):
            fitting(name, arrays[name], np.zeros(0, np.int32), len(contexts))
        fitting("totals", arrays["totals"], np.zeros(0, np.int64), len(contexts))
        within("sizes", sizes, 1, MAX_FOLLOWERS)
        pairs = int(sizes.sum())
        fitting("keys", arrays["keys"], np.zeros(0, np.int32), pairs)
        fitting("counts", arrays["counts"], np.zeros(0, np.int64), pairs)
        for name in ("keys", "latest"):
            within(name, arrays[name], 0, len(names) - 1)
        for name in ("counts", "totals"):
            within(name, arrays[name], 1, 1 << 53)
        self._fill(arrays, names)

    def _fill(self, arrays: dict[str, NDArray[np.generic]], names: list[str]) -> None:
        pairs = zip(arrays["keys"].tolist(), arrays["counts"].tolist(), strict=True)
        rows = zip(*(arrays[name].tolist() for name in ("contexts", "sizes", "totals", "latest")), strict=True)
        for context, size, total, latest in rows:
            followers = self._held[context] = Followers()
            followers.counts = {names[key]: count for key, count in islice(pairs, size)}
            followers.total, followers.latest = total, names[latest]
            followers.order = sum(_ORDERS[min(count, _MOST)] for count in followers.counts.values())
