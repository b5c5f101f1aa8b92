"""Hints from any thread: keys become numbers, numbers cross a ring, and the loop is woken once for many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import msgspec

from preloader.events import Prediction, Tier
from preloader.ring import Record, Ring

_MAX_KEYS = 1 << 20
_BATCH = 64
_RING_FACTOR = 4  # a ring holds a few times what its tier does, since bursts come faster than the loop turns


class Hint(msgspec.Struct, frozen=True):
    """A hint as it reaches the loop: a prediction that somebody else made, and when it is void on the loop's clock."""

    prediction: Prediction
    deadline_s: float | None


class HintInbox:
    """Takes hints on any thread and hands them to the loop in batches.

    One ring for each tier, so that a flood of vague hints cannot crowd out an urgent one. A wake-up is posted only when
    none is pending.

    Args:
        tier_capacity: Capacity of each tier.
    """

    def __init__(self, tier_capacity: Sequence[int]) -> None:
        self._rings = {tier: Ring(_RING_FACTOR * tier_capacity[tier]) for tier in Tier}
        self._ids: dict[str, int] = {}
        self._keys: list[str] = []
        self._lock = threading.Lock()
        self._armed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._take: Callable[[], None] | None = None
        self._generation = 0
        self._epoch_s = 0.0
        self.refused = 0

    def open(self, loop: asyncio.AbstractEventLoop, take: Callable[[], None]) -> None:
        """Deliver from now on: ``take`` is called on ``loop`` and fetches with `drain`."""
        self._epoch_s = loop.time()
        with self._lock:
            self._loop, self._take = loop, take

    def close(self) -> None:
        """Refuse from now on."""
        with self._lock:
            self._loop = None

    def invalidate(self) -> None:
        """Void every hint that is under way."""
        with self._lock:
            self._generation += 1

    def post(self, key: str, probability: float, steps: int, ttl_s: float | None) -> bool:
        """Put a hint on its tier's ring, from any thread; ``False`` where it is full or nobody listens.

        Raises:
            ValueError: The probability or the steps are out of range.
        """
        with self._lock:
            loop = self._loop
            resource = self._intern(key)
            if loop is None or resource is None:
                self.refused += 1
                return False
            deadline_ms = 0 if ttl_s is None else max(1, round(1e3 * (loop.time() - self._epoch_s + ttl_s)))
            record = Record(resource, probability, steps, 0, deadline_ms, self._generation)
            if not self._rings[_route(probability, steps)].try_put(record):
                self.refused += 1
                return False
            wake, self._armed = not self._armed, True
            if wake and self._take is not None:
                loop.call_soon_threadsafe(self._take)
        return True

    def drain(self, horizon: int) -> list[Hint]:
        """Take what has arrived, most urgent tier first; hints of an older generation are skipped.

        Args:
            horizon: How many steps predictions have.
        """
        with self._lock:
            self._armed = False
        return [
            self._hint(record, horizon)
            for ring in self._rings.values()
            for _ in range(0, len(ring), _BATCH)
            for record in ring.get_many(_BATCH)
            if record.generation == self._generation
        ]

    def _intern(self, key: str) -> int | None:
        """Return the number of a key, or ``None`` where the table is full."""
        if key not in self._ids:
            if len(self._keys) >= _MAX_KEYS:
                return None
            self._ids[key] = len(self._keys)
            self._keys.append(key)
        return self._ids[key]

    def _hint(self, record: Record, horizon: int) -> Hint:
        p, step = record.probability, min(record.steps, horizon)
        per_step = tuple(p if at == step else 0.0 for at in range(1, horizon + 1))
        deadline_s = self._epoch_s + record.deadline_ms / 1e3 if record.deadline_ms else None
        return Hint(Prediction(self._keys[record.resource], per_step, p, p), deadline_s)


def _route(probability: float, steps: int) -> Tier:
    """Return the ring of a hint. Only the order of arrival depends on it: the policy decides on the tier."""
    if steps == 1 and probability > 0.9:
        return Tier.IMMEDIATE
    return Tier.DELAYED if steps <= 2 and probability > 0.7 else Tier.BACKGROUND
