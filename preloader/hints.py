"""Hints from any thread: keys become numbers, numbers cross a ring, and the loop is woken once for many."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from preloader.events import Prediction, Tier
from preloader.ring import Record, Ring
from preloader.ring.deadline import MAX_TTL_S, check_ttl, deadline_ms, left_ms

if TYPE_CHECKING:
    from preloader.hint_channel import HintChannel

__all__ = ["MAX_TTL_S", "Hint", "HintClock", "HintInbox", "make_hint"]

_BATCH = 64  # hints taken in one turn of the loop, so that a flood of them does not block it
_RING_FACTOR = 4  # a ring holds a few times what its tier does, since bursts come faster than the loop turns


class Hint(msgspec.Struct, frozen=True):
    """A hint as it reaches the loop: a prediction that somebody else made, and when it is void on the loop's clock."""

    prediction: Prediction
    deadline_s: float | None


class HintClock:
    """The clock of hints' deadlines: the loop's, counted from when the manager started. Another thread may read it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._epoch_s = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count from now on."""
        self._loop, self._epoch_s = loop, loop.time()

    def now_ms(self) -> float:
        """Return the milliseconds since it was started."""
        assert self._loop is not None
        return 1e3 * (self._loop.time() - self._epoch_s)

    def deadline_s(self, deadline: int) -> float | None:
        """Return a record's deadline on the loop's clock; ``None`` for never."""
        if not deadline:
            return None
        now_ms = self.now_ms()
        return self._epoch_s + (now_ms + left_ms(now_ms, deadline)) / 1e3


def make_hint(key: str, probability: float, steps: int, horizon: int, deadline_s: float | None) -> Hint:
    """Return a hint as it is considered; one that looks further than predictions do is of their last step."""
    step = min(steps, horizon)
    per_step = tuple(probability if at == step else 0.0 for at in range(1, horizon + 1))
    return Hint(Prediction(key, per_step, probability, probability), deadline_s)


class HintInbox:
    """Takes hints on any thread and hands them to the loop in batches, of at most `_BATCH` a turn.

    One ring for each tier, so that a flood of vague hints cannot crowd out an urgent one. A wake-up is posted only when
    none is pending.

    Args:
        tier_capacity: Capacity of each tier.

    Attributes:
        clock: What deadlines are measured by.
        channels: The open channels to other processes, which are voided and restrained together with the rings.
        refused: How many hints were not taken.
    """

    def __init__(self, tier_capacity: Sequence[int]) -> None:
        self._rings = {tier: Ring(_RING_FACTOR * tier_capacity[tier]) for tier in Tier}
        self.clock = HintClock()
        self.channels: set[HintChannel] = set()
        self._keys = _KeyTable()
        self._lock = threading.Lock()
        self._armed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._take: Callable[[], None] = lambda: None
        self._is_open = False
        self._generation = 0
        self.refused = 0

    def open(self, loop: asyncio.AbstractEventLoop, take: Callable[[], None]) -> None:
        """Deliver from now on: ``take`` is called on ``loop`` and fetches with `drain`."""
        self.clock.start(loop)
        with self._lock:
            self._loop, self._take, self._is_open = loop, take, True

    def close(self) -> None:
        """Refuse from now on."""
        with self._lock:
            self._is_open = False

    def invalidate(self) -> None:
        """Void every hint that is under way."""
        with self._lock:
            self._generation += 1
        for channel in self.channels:
            channel.invalidate()

    def restrain(self, share: float) -> None:
        """Take only so much of what each ring could hold, from now on."""
        for ring in self._rings.values():
            ring.limit = math.ceil(share * ring.capacity)
        for channel in self.channels:
            channel.restrain(share)

    def post(self, key: str, probability: float, steps: int, ttl_s: float | None) -> bool:
        """Put a hint on its tier's ring, from any thread; ``False`` where it is full or nobody listens.

        Raises:
            ValueError: The probability, the steps or the time to live are out of range.
        """
        check_ttl(ttl_s)
        with self._lock:
            taken = self._is_open and self._put(key, probability, steps, ttl_s) and self._wake()
            self.refused += not taken
        return taken

    def drain(self, horizon: int) -> list[Hint]:
        """Take what has arrived, most urgent tier first; hints of an older generation are skipped.

        Args:
            horizon: How many steps predictions have.
        """
        with self._lock:
            records: list[Record] = []
            for ring in self._rings.values():
                records += ring.get_records(_BATCH - len(records))
            keys = [self._keys.let_go(record.resource) for record in records]
            self._armed = False
            if any(map(len, self._rings.values())):
                self._wake()
            return [
                make_hint(key, record.probability, record.steps, horizon, self.clock.deadline_s(record.deadline_ms))
                for key, record in zip(keys, records, strict=True)
                if record.generation == self._generation
            ]

    def _put(self, key: str, probability: float, steps: int, ttl_s: float | None) -> bool:
        deadline = deadline_ms(self.clock.now_ms(), ttl_s)
        resource = self._keys.hold(key)
        put = False
        try:
            record = Record(resource, probability, steps, 0, deadline, self._generation)
            put = self._rings[_route(probability, steps)].try_put(record)
        finally:
            if not put:
                self._keys.let_go(resource)
        return put

    def _wake(self) -> bool:
        """Wake the loop unless it is about to look; ``False`` where it was closed without a word."""
        if not self._armed and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:
                self._is_open = False
                return False
            self._armed = True
        return True


class _KeyTable:
    """Numbers for the keys that are on a ring; a number is used anew once no record bears it."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._keys: list[str] = []
        self._records: list[int] = []
        self._free: list[int] = []

    def hold(self, key: str) -> int:
        """Return the number of a key, for one more record."""
        number = self._ids.get(key)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._keys[number] = key
            else:
                number = len(self._keys)
                self._keys.append(key)
                self._records.append(0)
            self._ids[key] = number
        self._records[number] += 1
        return number

    def let_go(self, number: int) -> str:
        """Return the key of a record that has left its ring."""
        key = self._keys[number]
        self._records[number] -= 1
        if not self._records[number]:
            del self._ids[key]
            self._free.append(number)
        return key


def _route(probability: float, steps: int) -> Tier:
    """Return the ring of a hint. Only the order of arrival depends on it: the policy decides on the tier."""
    if steps == 1 and probability > 0.9:
        return Tier.IMMEDIATE
    return Tier.DELAYED if steps <= 2 and probability > 0.7 else Tier.BACKGROUND
