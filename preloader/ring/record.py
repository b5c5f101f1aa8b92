"""The record that crosses a ring: 16 bytes of plain numbers, laid out as ``native/record.h`` says."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

LAYOUT = struct.Struct("<IHBBII")
"""A record's 16 bytes: resource, probability, steps, flags, deadline_ms, generation."""

DTYPE = np.dtype(
    [
        ("resource", "<u4"),
        ("probability", "<u2"),
        ("steps", "u1"),
        ("flags", "u1"),
        ("deadline_ms", "<u4"),
        ("generation", "<u4"),
    ]
)
"""The same for NumPy. A probability here is the raw number: 0 to `PROBABILITY_ONE`."""

PROBABILITY_ONE = 0xFFFF
"""What stands for certainty."""

MAX_STEPS = 0xFF


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
        if not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps must lie between 1 and {MAX_STEPS}, not {self.steps!r}")
        try:
            return LAYOUT.pack(
                self.resource,
                round(self.probability * PROBABILITY_ONE),
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
        return cls(resource, probability / PROBABILITY_ONE, steps, flags, deadline_ms, generation)
