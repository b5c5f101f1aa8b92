"""The keys of one kind that are known, each with a small number, and how popular they are."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.hashing import text_hash
from preloader.prediction.state import fitting, within

NOTHING, NEW = 0, 1
"""Two numbers that are no key's: an empty place, and *a key never met before*, which is predicted like any other."""
FIRST = 2

_FADE = 0.9995
_FORGOTTEN_SHARE = 8  # one key in so many makes room at a time, so that a full vocabulary costs little per key

FloatArray = NDArray[np.float64]


class _State(msgspec.Struct):
    keys: list[str]
    free: list[Annotated[int, msgspec.Meta(ge=FIRST)]]
    clock: int
    unit: Annotated[float, msgspec.Meta(gt=0.0, le=1e10)]
    total: Annotated[float, msgspec.Meta(gt=0.0, le=1e15)]


class Vocabulary:
    """Numbers for keys; past the bound the keys unused for longest give up theirs.

    Args:
        capacity: The largest number of keys.
    """

    def __init__(self, capacity: int) -> None:
        size = capacity + FIRST
        self.ids: dict[str, int] = {}
        self.keys: list[str] = [""] * FIRST
        self.hashes = np.zeros(size, np.uint32)
        self._mass = np.zeros(size)
        self._mass[NEW] = 1.0
        self._used_at = np.zeros(size, np.int64)
        self._free: list[int] = []
        self._clock = 0
        self.changes = 0
        self._unit = self._total = 1.0
        self._capacity = capacity

    def __len__(self) -> int:
        """Return how many numbers there are, the two that are no key's included."""
        return len(self.keys)

    @property
    def is_full(self) -> bool:
        """Whether a new key would need room to be made by `forget_oldest` first."""
        return not self._free and len(self.ids) >= self._capacity

    def add(self, key: str) -> int:
        """Give a key that is not known a number."""
        self.changes += 1
        if self._free:
            number = self._free.pop()
            self.keys[number] = key
        else:
            number = len(self.keys)
            self.keys.append(key)
        self.ids[key] = number
        self.hashes[number] = text_hash(key)
        return number

    def count(self, number: int, *, is_new: bool) -> None:
        """Count one use of a key. Counts fade by growing the unit, which costs one number and not one a key."""
        self._unit /= _FADE
        self._mass[number] += self._unit
        if is_new:
            self._mass[NEW] += self._unit
        self._total += self._unit * (1 + is_new)
        self._clock += 1
        self._used_at[number] = self._clock
        if self._unit > 1e9:
            self._mass /= self._unit
            self._unit = 1.0
            self._total = float(self._mass.sum())

    @property
    def mass(self) -> FloatArray:
        """How much each number was used lately: the state itself."""
        return self._mass

    @property
    def total(self) -> float:
        """The sum of `mass`."""
        return self._total

    def forget_oldest(self) -> NDArray[np.int64]:
        """Make room for new keys, and return the numbers that no longer are any key's."""
        used = np.array(list(self.ids.values()))
        count = max(1, len(used) // _FORGOTTEN_SHARE)
        oldest = used[np.argsort(self._used_at[used], kind="stable")[:count]]
        for number in oldest.tolist():
            del self.ids[self.keys[number]]
            self.keys[number] = ""
        self._mass[oldest] = 0.0
        self._total = float(self._mass.sum())
        self._free = sorted(oldest.tolist(), reverse=True)
        return oldest

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Return the state: what JSON holds, and arrays."""
        used = len(self.keys)
        meta = {
            "keys": list(self.keys),
            "free": list(self._free),
            "clock": self._clock,
            "unit": self._unit,
            "total": self._total,
        }
        return meta, {"mass": self._mass[:used].copy(), "used_at": self._used_at[:used].copy()}

    def load(self, meta: dict[str, Any], arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty vocabulary with what `dump` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        state = msgspec.convert(meta, _State)
        used, free = len(state.keys), set(state.free)
        held = {key: number for number, key in enumerate(state.keys) if number >= FIRST and number not in free}
        if not FIRST <= used <= len(self._mass) or len(held) + len(state.free) + FIRST != used:
            raise ValueError(f"{used} keys, some twice or too many, are no vocabulary of at most {self._capacity}")
        fitting("mass", arrays["mass"], self._mass, used)
        within("mass", arrays["mass"], 0.0, 1e15)
        fitting("used_at", arrays["used_at"], self._used_at, used)
        self.keys, self.ids, self._free = list(state.keys), held, list(state.free)
        self._clock, self._unit, self._total = state.clock, state.unit, state.total
        self._mass[:used] = arrays["mass"]
        self._used_at[:used] = arrays["used_at"]
        self.hashes[FIRST:used] = [text_hash(key) for key in state.keys[FIRST:]]
