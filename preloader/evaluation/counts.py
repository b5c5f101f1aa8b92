"""Counts of what came k items after a context, mixed by Witten-Bell from the shortest context to the longest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from preloader.errors import BundleError

CountedContext = tuple[str | None, ...]
"""A user (``None``: everybody) and the items that preceded, oldest first."""

EVERYTHING: CountedContext = (None,)
"""The context that always holds: its counts are popularity."""

_Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class _Followers:
    """What followed one context: for each step, how often which item (by its number) came."""

    __slots__ = ("_arrays", "steps")

    def __init__(self, horizon: int) -> None:
        self.steps: list[dict[int, int]] = [{} for _ in range(horizon)]
        self._arrays: list[_Pairs | None] = [None] * horizon

    def add(self, step: int, item: int) -> bool:
        """Count ``item`` at ``step`` (from 0) and return whether it is new there."""
        counts = self.steps[step]
        self._arrays[step] = None
        new = item not in counts
        counts[item] = counts.get(item, 0) + 1
        return new

    def arrays(self, step: int) -> _Pairs:
        """Return the items and their counts, kept until the next `add`."""
        pairs = self._arrays[step]
        if pairs is None:
            counts = self.steps[step]
            pairs = (
                np.fromiter(counts.keys(), np.int64, len(counts)),
                np.fromiter(counts.values(), np.float64, len(counts)),
            )
            self._arrays[step] = pairs
        return pairs

    def halve(self) -> None:
        """Halve every count, rounding down, and forget what falls to 0."""
        self.steps = [{item: count // 2 for item, count in counts.items() if count > 1} for counts in self.steps]
        self._arrays = [None] * len(self.steps)

    def size(self) -> int:
        return sum(map(len, self.steps))


class ContextCounts:
    """Counts for one kind of item.

    Memory is bounded by the number of distinct (context, step, item): past it all counts are halved, and what falls to
    0 is forgotten, contexts and items with it. Popularity counts whatever any context counts, so it knows every item.

    Args:
        horizon: How many steps ahead to count.
        max_counts: The bound, about 100 bytes each.
    """

    def __init__(self, horizon: int, max_counts: int = 1_000_000) -> None:
        self.horizon = horizon
        self.keys: list[str] = []
        self.index: dict[str, int] = {}
        self._contexts: dict[CountedContext, _Followers] = {}
        self._max_counts = max_counts
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, contexts: Iterable[CountedContext], step: int, key: str) -> None:
        """Count ``key`` as what came ``step`` items (from 1) after each context; `EVERYTHING` is one of them."""
        item = self.index.setdefault(key, len(self.keys))
        if item == len(self.keys):
            self.keys.append(key)
        for context in contexts:
            followers = self._contexts.get(context)
            if followers is None:
                followers = self._contexts[context] = _Followers(self.horizon)
            self._size += followers.add(step - 1, item)
        while self._size > self._max_counts:
            self._halve()

    def mix(self, contexts: Sequence[CountedContext], steps: int) -> npt.NDArray[np.float64]:
        """Return the probability of every item at every step.

        Each context's relative frequencies weigh n / (n + distinct) against all that is shorter (Witten & Bell 1991,
        method C).

        Args:
            contexts: From the shortest, `EVERYTHING`, to the longest; those never met are passed over.
            steps: How many steps, at most the horizon.

        Returns:
            Shape (steps, items), in the order of `keys`.
        """
        mixed = np.zeros((steps, len(self.keys)))
        for context in contexts:
            followers = self._contexts.get(context)
            if followers is None:
                continue
            for step, row in enumerate(mixed):
                items, counts = followers.arrays(step)
                n = counts.sum()
                if context == EVERYTHING:
                    row[items] = counts / max(n, 1.0)
                elif n:
                    row *= len(items) / (n + len(items))
                    row[items] += counts / (n + len(items))
        return mixed

    def dump(self) -> tuple[dict[str, Any], npt.NDArray[np.int64]]:
        """Return the state: names for JSON, and rows of (context, step, item, count)."""
        rows = [
            (number, step, item, count)
            for number, followers in enumerate(self._contexts.values())
            for step, counts in enumerate(followers.steps)
            for item, count in counts.items()
        ]
        names = {"keys": list(self.keys), "contexts": [list(context) for context in self._contexts]}
        return names, np.array(rows, dtype=np.int64).reshape(-1, 4)

    def load(self, names: dict[str, Any], rows: npt.NDArray[np.generic]) -> None:
        """Fill an empty table with what `dump` returned.

        Raises:
            BundleError: The rows do not fit the names.
        """
        self.keys = [str(key) for key in names["keys"]]
        self.index = {key: item for item, key in enumerate(self.keys)}
        contexts = [tuple(context) for context in names["contexts"]]
        limits = np.array([len(contexts), self.horizon, len(self.keys), np.iinfo(np.int64).max])
        if rows.dtype.kind not in "iu" or rows.ndim != 2 or rows.shape[1] != len(limits):
            raise BundleError(
                f"counts are of type {rows.dtype} and shape {rows.shape}; whole numbers in rows of 4 are needed"
            )
        table = rows.astype(np.int64)
        if ((table < 0) | (table >= limits)).any():
            raise BundleError("counts name a context, a step or an item that is not there")
        self._contexts = {context: _Followers(self.horizon) for context in contexts}
        held = list(self._contexts.values())
        for number, step, item, count in table.tolist():
            held[number].steps[step][item] = count
        self._size = len(rows)

    def _halve(self) -> None:
        for followers in self._contexts.values():
            followers.halve()
        self._contexts = {context: followers for context, followers in self._contexts.items() if followers.size()}
        self._renumber()
        self._size = sum(followers.size() for followers in self._contexts.values())

    def _renumber(self) -> None:
        """Number the remaining items anew, in their old order."""
        popular = self._contexts.get(EVERYTHING)
        alive = sorted({item for counts in popular.steps for item in counts}) if popular else []
        numbers = {item: number for number, item in enumerate(alive)}
        self.keys = [self.keys[item] for item in alive]
        self.index = {key: item for item, key in enumerate(self.keys)}
        for followers in self._contexts.values():
            followers.steps = [{numbers[item]: count for item, count in counts.items()} for counts in followers.steps]
