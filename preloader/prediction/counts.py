"""What came k items after each context: bounded counts in fixed arrays, the oldest contexts forgotten."""

from __future__ import annotations

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.state import fitting, within
from preloader.prediction.twin import summaries
from preloader.prediction.vocabulary import NOTHING

SUCCESSORS = 16
"""How many keys a context remembers; the one with the fewest counts makes room."""

SEEN_BUCKETS = 16
"""How many buckets say how much a context has seen; the upper half are those that one key dominates."""

BETA = 0.3
_FULL = 96  # a context that has seen so many items forgets half of them: habits drift
_BUCKETS_A_DOUBLING = 1.2
_DOMINANT = 0.8
_RANGE = 128  # of a count, and of what a context has seen

IntArray = NDArray[np.int64]
NumberArray = NDArray[np.int32]
ByteArray = NDArray[np.uint8]


def _seen_table() -> ByteArray:
    """Return the bucket of every total and, beside it, every largest count."""
    totals, tops = np.arange(_RANGE)[:, None], np.arange(_RANGE)[None, :]
    seen = np.minimum(np.log2(totals + 1.0) * _BUCKETS_A_DOUBLING, SEEN_BUCKETS // 2 - 1).astype(np.uint8)
    table: ByteArray = (seen + SEEN_BUCKETS // 2 * (tops > _DOMINANT * totals)).astype(np.uint8).ravel()
    return table


SEEN = _seen_table()
"""The bucket of each summary."""

VALUES = np.log1p(np.arange(256) / BETA)
"""The evidence of a count: ``log(1 + count / BETA)``."""


class Counts:
    """Counts of the successors of contexts, one row each.

    A row takes ``SUCCESSORS · (4 + horizon) + 2 · horizon + 8`` bytes, and at most 16 more in the index. Row 0 is
    nobody's: it stands for contexts that are not known, and always is empty.

    Args:
        horizon: How many steps ahead are counted.
        capacity: The largest number of contexts.
    """

    def __init__(self, horizon: int, capacity: int) -> None:
        self._keys = np.zeros((capacity + 1, SUCCESSORS), np.int32)
        self._counts = np.zeros((capacity + 1, horizon, SUCCESSORS), np.uint8)
        self._summary = np.zeros((capacity + 1, horizon), np.int16)  # the total times `_RANGE`, plus the largest count
        self._hashes = np.zeros(capacity + 1, np.int64)
        self._index = np.zeros(_places(capacity), np.int32)
        self._next = 1  # the row that goes next
        self._tables = (self._keys, self._counts, self._summary)
        self._capacity = capacity

    def __len__(self) -> int:
        return int(np.count_nonzero(self._index))

    def find(self, hashes: IntArray) -> IntArray:
        """Return the rows of contexts, 0 for those not known."""
        found = np.empty(len(hashes), np.int64)
        kernel.active.find(found, self._index, self._hashes, hashes)
        return found

    def find_or_add(self, hashes: IntArray) -> IntArray:
        """Return the rows of contexts, after giving the unknown ones the rows of the oldest."""
        found = np.empty(len(hashes), np.int64)
        self._next = kernel.active.find_or_add(found, self._index, self._hashes, *self._tables, hashes, self._next)
        return found

    @property
    def hashes(self) -> IntArray:
        """Whose each row is: the state itself."""
        return self._hashes

    @property
    def tables(self) -> tuple[NumberArray, ByteArray, NDArray[np.int16]]:
        """The keys, counts and summaries of all rows, as `twin.count` describes them."""
        return self._tables

    def keys_of(self, rows: IntArray) -> NumberArray:
        """Return the keys that followed contexts."""
        return self._keys.take(rows, axis=0)

    def told(self, rows: IntArray, key: int) -> list[tuple[int, int, bool]]:
        """Return of each row, at the first step: the key's count, the total, and whether the key is held."""
        totals = (self._summary[rows, 0] // _RANGE).tolist()
        matches = self._keys[rows] == key
        counts = (self._counts[rows, 0] * matches).sum(axis=-1).tolist()
        return list(zip(counts, totals, matches.any(axis=-1).tolist(), strict=True))

    def count(self, rows: IntArray, key: int) -> None:
        """Count that ``key`` came: at step k after the contexts of ``rows[k - 1]``, shape (up to horizon, contexts)."""
        kernel.active.count(*self._tables, rows, key, rows.shape[1])

    def forget_keys(self, keys: IntArray) -> None:
        """Remove keys from all rows."""
        is_gone = np.isin(self._keys, keys)
        self._keys[is_gone] = NOTHING
        self._counts[np.broadcast_to(is_gone[:, None, :], self._counts.shape)] = 0
        self._summarise(np.flatnonzero(is_gone.any(axis=1)))

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as copies of arrays."""
        used = self._capacity + 1 if len(self) == self._capacity else self._next
        return {
            "keys": self._keys[:used].copy(),
            "counts": self._counts[:used].copy(),
            "hashes": self._hashes[:used].copy(),
            "next": np.array([self._next]),
        }

    def load(self, arrays: dict[str, NDArray[np.generic]], numbers: int) -> None:
        """Fill an empty table with what `dump` returned.

        Args:
            arrays: The state.
            numbers: How many numbers the vocabulary has given.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        used = len(arrays["keys"])
        if not 1 <= used <= self._capacity + 1:
            raise ValueError(f"{used} contexts are more than {self._capacity}")
        fitting("keys", arrays["keys"], self._keys, used)
        within("keys", arrays["keys"], 0, numbers - 1)
        fitting("counts", arrays["counts"], self._counts, used)
        within("counts", arrays["counts"].sum(axis=-1), 0, _FULL - 1)
        fitting("hashes", arrays["hashes"], self._hashes, used)
        fitting("next", arrays["next"], np.zeros(1, np.int64))
        within("next", arrays["next"], 1, self._capacity)
        self._keys[:used] = arrays["keys"]
        self._counts[:used] = arrays["counts"]
        self._hashes[:used] = arrays["hashes"]
        self._summarise(np.arange(used))
        self._next = int(arrays["next"][0])
        self._reindex(used)

    def _reindex(self, used: int) -> None:
        """Fill the index anew; of rows with the same hash the last one counts."""
        rows = {value: row for row, value in enumerate(self._hashes[1:used].tolist(), start=1)}
        mask = len(self._index) - 1
        self._index[:] = 0
        for value, row in rows.items():
            place = value & mask
            while self._index[place]:
                place = (place + 1) & mask
            self._index[place] = row

    def _summarise(self, rows: IntArray) -> None:
        """Compute the summaries of rows from their counts."""
        self._summary[rows] = summaries(self._counts[rows])


def _places(capacity: int) -> int:
    """Return how many places an index has: a power of two, at most half of them taken."""
    return 1 << (2 * capacity + 1).bit_length()
