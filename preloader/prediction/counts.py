"""What came k items after each context: bounded counts in fixed arrays, the oldest contexts forgotten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from preloader.prediction.state import fitting, within
from preloader.prediction.vocabulary import NOTHING

SUCCESSORS = 16
"""How many keys a context remembers; the one with the fewest counts makes room."""

_FULL = 96.0  # a context that has seen so many, fading ones included, forgets half

BETA = 0.3
_ONE = np.float32(1.0)
_PER_BETA = np.float32(1.0 / BETA)
SEEN_BUCKETS = 16
"""How many buckets say how much a context has seen; the upper half are those that one key dominates."""

_BUCKETS_A_DOUBLING = 1.2
_DOMINANT = np.float32(0.8)
_HALF = np.int8(SEEN_BUCKETS // 2)
_SEEN = np.minimum(np.log2(np.arange(128) + 1.0) * _BUCKETS_A_DOUBLING, SEEN_BUCKETS // 2 - 1).astype(np.int8)

IntArray = npt.NDArray[np.int64]
NumberArray = npt.NDArray[np.int32]
SeenArray = npt.NDArray[np.int8]
ValueArray = npt.NDArray[np.float32]


class Counts:
    """Counts of the successors of contexts, one row each.

    A row takes ``4 · SUCCESSORS · (1 + 2 · horizon) + 9 · horizon + 8`` bytes, and about 110 more in the index. Beside
    the counts stands what the mixture makes of them, since a row is read far oftener than it is written. Row 0 is
    nobody's: it stands for contexts that are not known, and always is empty.

    Args:
        horizon: How many steps ahead are counted.
        capacity: The largest number of contexts.
    """

    def __init__(self, horizon: int, capacity: int) -> None:
        self._keys = np.zeros((capacity + 1, SUCCESSORS), np.int32)
        self._counts = np.zeros((capacity + 1, horizon, SUCCESSORS), np.float32)
        self._values = np.zeros_like(self._counts)
        self._flat_values = self._values.reshape(-1, SUCCESSORS)
        self._totals = np.zeros((capacity + 1, horizon), np.float32)
        self._tops = np.zeros((capacity + 1, horizon), np.float32)
        self._seen = np.zeros((capacity + 1, horizon), np.int8)
        self._hashes = np.zeros(capacity + 1, np.uint64)
        self._rows: dict[int, int] = {}
        self._next = 1
        self._steps = np.arange(horizon)[:, None]
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, hashes: npt.NDArray[np.uint64]) -> IntArray:
        """Return the rows of contexts, 0 for those not known."""
        get = self._rows.get
        return np.array([get(value, 0) for value in hashes.tolist()], dtype=np.int64)

    def find_or_add(self, hashes: npt.NDArray[np.uint64]) -> IntArray:
        """Return the rows of contexts, after giving the unknown ones the rows of the oldest."""
        get = self._rows.get
        return np.array([get(value) or self._add(value) for value in hashes.tolist()], dtype=np.int64)

    def still(self, rows: IntArray, hashes: npt.NDArray[np.uint64]) -> IntArray:
        """Return the rows that still are of these contexts, 0 in place of the others."""
        return np.where(self._hashes[rows] == hashes, rows, 0)

    def _add(self, value: int) -> int:
        row = self._next
        self._next = row + 1 if row < self._capacity else 1
        old = int(self._hashes[row])
        if self._rows.get(old) == row:
            del self._rows[old]
            self._empty(np.array([row]))
        self._rows[value] = row
        self._hashes[row] = value
        return row

    def successors(self, rows: IntArray) -> tuple[NumberArray, ValueArray, SeenArray]:
        """Return what followed contexts.

        Args:
            rows: Shape (contexts,): the same at every step; or (horizon, contexts): others at each.

        Returns:
            The keys and ``log(1 + count / BETA)``, both of shape (horizon, contexts, SUCCESSORS), of which the first
            may lack the first axis; and how much each context has seen, as a bucket: (horizon, contexts).
        """
        if rows.ndim == 1:
            values, seen = self._values.take(rows, axis=0), self._seen.take(rows, axis=0)
            return self._keys.take(rows, axis=0), values.transpose(1, 0, 2), seen.T
        at = rows * len(self._steps) + self._steps
        return self._keys.take(rows, axis=0), self._flat_values.take(at, axis=0), self._seen.take(at)

    def told(self, rows: IntArray, key: int) -> list[tuple[float, float, float, bool]]:
        """Return of each row, at the first step: the key's count, the total, the key's value, whether it is held."""
        found: list[tuple[float, float, float, bool]] = []
        for row in rows.tolist():
            places = np.flatnonzero(self._keys[row] == key)
            place = int(places[0]) if len(places) else -1
            count, value = (self._counts[row, 0, place], self._values[row, 0, place]) if place >= 0 else (0.0, 0.0)
            found.append((float(count), float(self._totals[row, 0]), float(value), place >= 0))
        return found

    def count(self, rows: IntArray, key: int) -> None:
        """Count that ``key`` came: at step k after the contexts of ``rows[k - 1]``, shape (up to horizon, contexts)."""
        matches = self._keys.take(rows, axis=0) == key
        places = matches.argmax(axis=-1)
        strange = ~matches.any(axis=-1)
        if strange.any():
            places[strange] = self._make_room(rows[strange], key)
        at = rows * len(self._steps) + self._steps[: len(rows)]
        cells = at * SUCCESSORS + places
        counts = self._counts.take(cells) + _ONE
        totals = self._totals.take(at) + _ONE
        tops = np.maximum(self._tops.take(at), counts)
        self._counts.put(cells, counts)
        self._values.put(cells, np.log1p(counts * _PER_BETA))
        self._totals.put(at, totals)
        self._tops.put(at, tops)
        self._seen.put(at, _seen(totals, tops))
        if totals.max() >= _FULL:
            self._halve(rows[totals >= _FULL])
        if not rows.all():
            self._empty(np.zeros(1, np.int64))

    def _halve(self, rows: IntArray) -> None:
        """Let rows that have seen much forget half of it: habits drift."""
        rows = np.unique(rows)
        self._counts[rows] *= 0.5
        self._derive(rows)

    def _derive(self, rows: IntArray | slice) -> None:
        """Compute what follows from the counts of rows."""
        counts = self._counts[rows]
        self._values[rows] = np.log1p(counts * _PER_BETA)
        self._totals[rows] = totals = counts.sum(axis=-1)
        self._tops[rows] = tops = counts.max(axis=-1)
        self._seen[rows] = _seen(totals, tops)

    def _make_room(self, rows: IntArray, key: int) -> IntArray:
        """Put a key in the place of each row's weakest, and return the places."""
        weakest: IntArray = self._counts[rows].sum(axis=1).argmin(axis=-1)
        self._keys[rows, weakest] = key
        self._counts[rows, :, weakest] = 0.0
        self._derive(rows)
        return weakest

    def _empty(self, rows: IntArray) -> None:
        self._keys[rows] = NOTHING
        self._counts[rows] = self._values[rows] = 0.0
        self._totals[rows] = self._tops[rows] = 0.0
        self._seen[rows] = 0

    def forget_keys(self, keys: IntArray) -> None:
        """Remove keys from all rows."""
        is_gone = np.isin(self._keys, keys)
        self._keys[is_gone] = NOTHING
        self._counts[np.broadcast_to(is_gone[:, None, :], self._counts.shape)] = 0.0
        self._derive(np.flatnonzero(is_gone.any(axis=1)))

    @property
    def used(self) -> int:
        """How many rows were ever used, row 0 included."""
        return self._capacity + 1 if len(self._rows) == self._capacity else self._next

    def dump(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the state as copies of arrays."""
        used = self.used
        return {
            "keys": self._keys[:used].copy(),
            "counts": self._counts[:used].copy(),
            "hashes": self._hashes[:used].copy(),
            "next": np.array([self._next]),
        }

    def load(self, arrays: dict[str, npt.NDArray[np.generic]], numbers: int) -> None:
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
        within("counts", arrays["counts"], 0.0, 1e6)
        fitting("hashes", arrays["hashes"], self._hashes, used)
        fitting("next", arrays["next"], np.zeros(1, np.int64))
        within("next", arrays["next"], 1, self._capacity)
        self._keys[:used] = arrays["keys"]
        self._counts[:used] = arrays["counts"]
        self._derive(slice(used))
        self._hashes[:used] = arrays["hashes"]
        self._next = int(arrays["next"][0])
        self._rows = {value: row for row, value in enumerate(self._hashes[1:used].tolist(), start=1)}


def _seen(totals: ValueArray, tops: ValueArray) -> SeenArray:
    doublings = np.minimum(totals.astype(np.int64), len(_SEEN) - 1)
    bucket: SeenArray = _SEEN.take(doublings) + _HALF * (tops > _DOMINANT * totals)
    return bucket
