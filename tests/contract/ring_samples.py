"""The rings that there are, and what their tests share."""

import importlib
import mmap
import struct

import pytest
from hypothesis import strategies as st

from preloader.ring import Record, twin

try:
    native = importlib.import_module("preloader.ring._native")
except ImportError:
    native = None

compiled = pytest.mark.skipif(native is None, reason="the compiled ring was not built")
RINGS = [pytest.param(native and native.Ring, marks=compiled, id="c"), pytest.param(twin.Ring, id="python")]
every_ring = pytest.mark.parametrize("make", RINGS)

TAIL, HEAD = 128, 256  # where the cursors are

some_records = st.builds(
    Record,
    resource=st.integers(0, 2**32 - 1),
    probability=st.sampled_from([at / 65_535 for at in (0, 1, 2, 32_767, 65_535)]),
    steps=st.integers(1, 255),
    flags=st.integers(0, 255),
    deadline_ms=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**32 - 1),
)


def numbered(numbers):
    return [Record(number, 1.0, 1) for number in numbers]


def memory_for(make, capacity):
    return mmap.mmap(-1, make.size_for(capacity))


def claim(memory):
    """Do what a producer does before it dies in mid-put: take a position, and publish nothing."""
    (tail,) = struct.unpack_from("<Q", memory, TAIL)
    struct.pack_into("<Q", memory, TAIL, tail + 1)
    return tail
