"""The ring's pure-Python twin: a bounded hand-off of fixed-size records between threads.

It keeps the native ring's contract (Vyukov's bounded MPMC queue: full means refused, order is first in, first out) with
a deque under a lock. Records are numbers only, so no reference ever crosses the ring.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from typing import NamedTuple

LAYOUT = struct.Struct("<IHBBII")
"""A record's 16 bytes: resource, probability, steps, flags, deadline_ms, generation. As in ``native/record.h``."""

_PROBABILITY_ONE = 0xFFFF
_MAX_STEPS = 0xFF


class Record(NamedTuple):
    """One hint on its way to a tier.

    Attributes:
        resource: Id of the resource in the manager's table of keys.
        probability: 0 to 1, kept to 1/65,535.
        steps: How many items ahead, 1 to 255.
        flags: Reserved; 0.
        deadline_ms: When the hint is void, in milliseconds of the manager's clock modulo 2³²; 0 for never.
        generation: Records of an older generation than the manager's are skipped.
    """

    resource: int
    probability: float
    steps: int
    flags: int = 0
    deadline_ms: int = 0
    generation: int = 0

    def pack(self) -> bytes:
        """Return the record's 16 bytes.

        Raises:
            ValueError: A field is out of its range.
        """
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability must lie between 0 and 1, not {self.probability!r}")
        if not 1 <= self.steps <= _MAX_STEPS:
            raise ValueError(f"steps must lie between 1 and {_MAX_STEPS}, not {self.steps!r}")
        try:
            return LAYOUT.pack(
                self.resource,
                round(self.probability * _PROBABILITY_ONE),
                self.steps,
                self.flags,
                self.deadline_ms,
                self.generation,
            )
        except struct.error as error:
            raise ValueError(f"{self} does not fit a ring record: {error}") from None

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        """Return the record that `pack` made ``data`` of."""
        resource, probability, steps, flags, deadline_ms, generation = LAYOUT.unpack(data)
        return cls(resource, probability / _PROBABILITY_ONE, steps, flags, deadline_ms, generation)


class Ring:
    """A bounded queue of records; any number of threads may put and get.

    Args:
        capacity: How many records it holds, at least 1.

    Raises:
        ValueError: ``capacity`` is smaller than 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring holds at least 1 record, not {capacity}")
        self.capacity = capacity
        self._slots: deque[bytes] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._slots)

    def try_put(self, record: Record) -> bool:
        """Put one record; ``False`` where the ring is full.

        Raises:
            ValueError: A field is out of its range.
        """
        packed = record.pack()
        with self._lock:
            if len(self._slots) >= self.capacity:
                return False
            self._slots.append(packed)
            return True

    def get_many(self, limit: int) -> list[Record]:
        """Take up to ``limit`` records, oldest first."""
        with self._lock:
            taken = [self._slots.popleft() for _ in range(min(limit, len(self._slots)))]
        return [Record.unpack(packed) for packed in taken]
