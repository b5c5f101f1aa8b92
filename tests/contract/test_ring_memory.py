"""Rings in memory of the caller's, which others may damage or die in, and what a ring holds on to."""

import gc
import mmap
import struct
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.ring import Record
from tests.contract.ring_samples import HEAD, RINGS, TAIL, claim, compiled, every_ring, memory_for, native, numbered


@every_ring
def test_a_ring_lives_in_given_memory_and_holds_it(make):
    memory = memory_for(make, 3)
    ring = make(3, buffer=memory)
    other = make.attach(memory)
    assert other.capacity == 3
    assert ring.try_put(1, 1.0, 1)
    assert other.put_many(numbered([2, 3, 4])) == 2
    ring.limit = 2
    assert other.limit == 2
    with pytest.raises(BufferError):
        memory.close()
    assert [record.resource for record in other.get_records(9)] == [1, 2, 3]
    del ring, other
    memory.close()


@pytest.mark.parametrize(("one", "another"), [(RINGS[0], RINGS[1]), (RINGS[1], RINGS[0])], ids=["c-python", "python-c"])
@compiled
def test_each_reads_what_the_other_left(one, another):
    (writer,), (reader,) = one.values, another.values
    memory = memory_for(writer, 5)
    ring = writer(5, buffer=memory)
    for first in range(0, 12, 3):
        assert ring.put_many(numbered(range(first, first + 3))) == 3
        assert reader.attach(memory).get_records(3) == numbered(range(first, first + 3))
    ring.limit = 4
    claim(memory)
    assert (len(ring), ring.look()) == (1, ("claimed", 12))
    assert (len(reader.attach(memory)), reader.attach(memory).limit, reader.attach(memory).look()) == (
        1,
        4,
        ring.look(),
    )


@every_ring
def test_memory_that_cannot_be_a_rings_is_refused(make):
    memory = memory_for(make, 3)
    with pytest.raises(ValueError, match="no ring in this memory"):
        make.attach(memory)
    with pytest.raises(ValueError, match="too short"):
        make(1_000, buffer=memory)
    with pytest.raises(ValueError, match="too short"):
        make.attach(mmap.mmap(-1, 100))
    with pytest.raises(ValueError, match="multiple of 128"):
        make(3, buffer=memoryview(mmap.mmap(-1, 8_192))[8:])
    with pytest.raises((BufferError, TypeError)):
        make(3, buffer=bytes(8_192))
    with pytest.raises(TypeError):
        make.attach("nothing")
    make(3, buffer=memory)
    for at, wrong, message in [
        (0, 7, "no ring"),
        (8, 99, "another layout"),
        (12, 0, "damaged"),
        (12, 2**31, "damaged"),
        (12, 1_000_000, "too short"),
        (16, 4, "damaged"),
        (TAIL, 9_999, "damaged"),
    ]:
        right = memory[at : at + 4]
        struct.pack_into("<I", memory, at, wrong)
        with pytest.raises(ValueError, match=message):
            make.attach(memory)
        memory[at : at + 4] = right
    assert make.attach(memory).capacity == 3


@every_ring
@given(st.lists(st.tuples(st.integers(0, 1_000), st.binary(min_size=1, max_size=16)), min_size=1, max_size=6))
@example([(TAIL, (99).to_bytes(8, "little"))])
@example([(HEAD, (1 << 63).to_bytes(8, "little"))])
@settings(derandomize=True, max_examples=60, deadline=None)
def test_whatever_is_written_over_it_nothing_outside_is_touched(make, scribbles):
    memory = mmap.mmap(-1, 4_096)
    size = make.size_for(5)
    ring = make(5, buffer=memoryview(memory)[:size])
    ring.put_many(numbered(range(3)))
    for at, data in scribbles:
        memory[at % size : at % size + len(data)] = data
    for _ in range(20):
        ring.try_put(1, 1.0, 1)
        ring.put_many(numbered(range(9)))
        ring.get_many(9)
        ring.get_records(2)
        ring.skip(ring.look()[1])
        assert 0 <= len(ring) <= 5
    assert set(memory[size + 16 :]) == {0}


@every_ring
def test_a_producer_that_died_in_mid_put_is_seen_and_skipped(make):
    memory = memory_for(make, 4)
    ring = make(4, buffer=memory)
    assert ring.look() == ("empty", 0)
    ring.put_many(numbered([0]))
    assert ring.look() == ("ready", 0)
    first, second = claim(memory), claim(memory)
    assert ring.try_put(3, 1.0, 1)
    assert ring.try_get() == Record(0, 1.0, 1)
    assert ring.get_records(4) == []  # nothing behind it can be taken
    assert ring.look() == ("claimed", first)
    assert not ring.skip(second)  # not the oldest
    assert ring.skip(first)
    assert not ring.skip(first)
    assert ring.look() == ("claimed", second)
    assert ring.skip(second)
    assert ring.look() == ("ready", second + 1)
    assert not ring.skip(second + 1)  # never what was put
    assert ring.get_records(4) == numbered([3])
    for lap in range(3):
        assert ring.put_many(numbered(range(9))) == 4
        assert ring.get_records(9) == numbered(range(4)), lap


@every_ring
def test_nothing_is_held_after_a_ring_is_gone(make):
    def descriptors():
        return len(list(Path("/dev/fd").iterdir()))

    before = descriptors()
    for _ in range(50):
        ring = make(4)
        for _ in range(3):
            ring.arm(ring.open_consumer())
        ring.put_many(numbered(range(4)))
        ring.get_many(2)
    watched = weakref.ref(ring)
    del ring
    gc.collect()
    assert watched() is None
    assert descriptors() == before


@compiled
def test_a_cycle_through_the_memory_is_collected():
    class Memory(np.ndarray):
        """Memory with attributes, so that it can refer back to its ring."""

    page = np.zeros(8_192, np.uint8)
    start = -page.ctypes.data % 128
    memory = page[start : start + native.Ring.size_for(4)].view(Memory)
    memory.ring = native.Ring(4, buffer=memory)
    watched = weakref.ref(memory.ring)
    del memory
    gc.collect()
    assert watched() is None
