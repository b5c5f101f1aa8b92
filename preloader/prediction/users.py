"""Users as vectors: users who act alike have like ones, so that what one does says something of the other.

A known user's vector was learned with the network. One who is not known starts at the population, which is the zero
vector, and moves towards the known users that act most like him: neighbourhood-based collaborative filtering (Herlocker
et al., SIGIR 1999), by the cosine of what they used how often.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from preloader.ndarray import NDArray

_NEIGHBOURS = 5
_PATIENCE = 20.0  # items after which a stranger is described half by the neighbours, half by the population

FloatArray = NDArray[np.float32]


class UserVectors:
    """Vectors of known users, and of strangers as they are got to know.

    Args:
        names: The known users.
        vectors: Theirs, shape (users, size).
        profiles: How often each of them used each key: shape (users, 1 + vocabulary); rows are normalised here.
        max_strangers: How many others are remembered; the one silent for longest is forgotten.
    """

    def __init__(
        self, names: Sequence[str], vectors: FloatArray, profiles: FloatArray, max_strangers: int = 256
    ) -> None:
        self.names = tuple(names)
        self.vectors = np.asarray(vectors, np.float32)
        self.profiles = np.asarray(profiles, np.float32)
        self._known = {name: number for number, name in enumerate(self.names)}
        self._units = _unit(np.sqrt(self.profiles))
        self._strangers: OrderedDict[str, FloatArray] = OrderedDict()
        self._max_strangers = max_strangers

    @property
    def size(self) -> int:
        """How long a vector is."""
        return int(self.vectors.shape[1])

    def knows(self, user: str) -> bool:
        """Return whether a user's vector stays as it is, because it was learned or because nobody's was."""
        return user in self._known or not self.names

    def observe(self, user: str, number: int) -> None:
        """Take note that a user used a key, by its number in the vocabulary."""
        if self.knows(user):
            return
        counts = self._strangers.get(user)
        if counts is None:
            counts = self._strangers[user] = np.zeros(self.profiles.shape[1], np.float32)
            if len(self._strangers) > self._max_strangers:
                self._strangers.popitem(last=False)
        counts[number] += 1
        self._strangers.move_to_end(user)

    def of(self, user: str) -> FloatArray:
        """Return a user's vector, shape (size,)."""
        number = self._known.get(user)
        if number is not None:
            vector: FloatArray = self.vectors[number]
            return vector
        counts = self._strangers.get(user)
        if counts is None:
            return np.zeros(self.size, np.float32)
        likeness = self._units @ _unit(np.sqrt(counts)[None, :])[0]  # (users,)
        nearest = np.argsort(-likeness, kind="stable")[:_NEIGHBOURS]
        weights = np.maximum(likeness[nearest], 0.0) ** 4
        total = float(counts.sum())
        trust = total / (total + _PATIENCE) / max(float(weights.sum()), 1e-9)
        return np.asarray((weights * trust) @ self.vectors[nearest], np.float32)

    def strangers(self) -> dict[str, dict[str, int]]:
        """Return how often each stranger used each key that he used, by its number, as plain data."""
        return {
            name: {str(number): int(counts[number]) for number in np.flatnonzero(counts)}
            for name, counts in self._strangers.items()
        }

    def restore_strangers(self, held: Mapping[str, Mapping[str, int]]) -> None:
        """Replace what is remembered of strangers.

        Raises:
            ValueError: It does not fit the vocabulary.
        """
        strangers: OrderedDict[str, FloatArray] = OrderedDict()
        for name, counts in held.items():
            strangers[name] = np.zeros(self.profiles.shape[1], np.float32)
            for number, count in counts.items():
                if not 0 <= int(number) < self.profiles.shape[1]:
                    raise ValueError(f"a user used key number {number}, which the vocabulary does not have")
                strangers[name][int(number)] = int(count)
        self._strangers = strangers


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    return np.asarray(rows / np.maximum(norms, 1e-9), np.float32)
