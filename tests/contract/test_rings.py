"""What every ring promises, the compiled one and its twin in Python: order, exactly once, limits, refusals, waking."""

import contextlib
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.ring import DTYPE, Record
from tests.contract.ring_samples import every_ring, memory_for, numbered, some_records


@every_ring
@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 7])
def test_a_ring_wraps_keeps_order_and_refuses_when_full(make, capacity):
    ring, taken, put = make(capacity), [], 0
    for round_ in range(4 * capacity):
        while ring.try_put(put, 0.5, 1):
            put += 1
        assert len(ring) == capacity == ring.capacity == ring.limit
        assert ring.put_many(numbered([put])) == 0
        if (record := ring.try_get()) is not None:
            taken.append(record.resource)
        taken += ring.get_many(round_ % 3)["resource"].tolist()
    taken += [record.resource for record in ring.get_records(100)]
    assert taken == list(range(put))
    assert (ring.try_get(), ring.get_records(5), len(ring.get_many(5)), len(ring)) == (None, [], 0, 0)


@every_ring
@given(st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_it_does_as_a_list_does(make, data):
    """Any sequence of calls gives what a plain list that refuses past the limit would give."""
    ring, model, limit = make(data.draw(st.integers(1, 6))), [], None
    limit = ring.capacity
    for call in data.draw(
        st.lists(st.sampled_from(["put", "puts", "array", "get", "gets", "into", "limit"]), max_size=40)
    ):
        if call == "put":
            record = data.draw(some_records)
            fits = len(model) < limit
            assert ring.try_put(record) is fits
            model += [record] * fits
        elif call in {"puts", "array"}:
            batch = data.draw(st.lists(some_records, max_size=8))
            given_as = batch if call == "puts" else np.frombuffer(b"".join(map(Record.pack, batch)), DTYPE)
            fits = max(0, min(len(batch), limit - len(model)))
            assert ring.put_many(given_as) == fits
            model += batch[:fits]
        elif call == "get":
            assert ring.try_get() == (model.pop(0) if model else None)
        elif call == "limit":
            limit = ring.limit = data.draw(st.integers(0, ring.capacity))
        else:
            n = data.draw(st.integers(0, 8))
            expected, model = model[:n], model[n:]
            if call == "gets":
                assert ring.get_records(n) == expected
            else:
                taken = ring.get_many(n, np.zeros(8, DTYPE))
                assert taken.tobytes() == b"".join(map(Record.pack, expected))
        assert (len(ring), ring.limit) == (len(model), limit)


@every_ring
def test_records_come_as_arrays_or_tuples_and_go_in_any_form(make):
    ring, records = make(8), [Record(7, 1.0, 3, 1, 2, 9), Record(8, 0.0, 255)]
    array = np.array([(7, 65_535, 3, 1, 2, 9), (8, 0, 255, 0, 0, 0)], DTYPE)
    for form in (records, tuple(records), iter(records), array, array.tobytes(), bytearray(array.tobytes())):
        assert ring.put_many(form) == 2
        assert ring.get_records(8) == records
    assert ring.put_many(memoryview(b"-" + array.tobytes())[1:]) == 2  # wherever it begins
    taken = ring.get_many(8)
    assert taken.dtype == DTYPE
    assert taken.tolist() == array.tolist()
    assert ring.try_put(7, 1.0, 3, 1, 2, 9)
    assert ring.try_put(resource=8, probability=0, steps=255)
    assert ring.try_put((8, 0, 255))
    assert ring.get_records(3) == [*records, records[1]]
    assert type(ring.try_put(records[0]) and ring.try_get()) is Record


@every_ring
def test_a_reused_array_is_filled_and_cut(make):
    ring, out = make(8), np.zeros(4, DTYPE)
    ring.put_many(numbered(range(6)))
    assert ring.get_many(100, out) is out
    assert out["resource"].tolist() == [0, 1, 2, 3]
    part = ring.get_many(100, out=out)
    assert part.base is out
    assert part["resource"].tolist() == [4, 5]
    ring.put_many(numbered([9]))
    assert len(ring.get_many(0, out)) == 0
    assert len(ring) == 1


@every_ring
@pytest.mark.parametrize(
    "out",
    [np.zeros(4), np.zeros((2, 2), DTYPE), np.zeros(8, DTYPE)[::2], bytearray(64), np.zeros(65, "u1")[1:].view(DTYPE)],
)
def test_an_array_that_is_no_row_of_records_is_refused_and_nothing_taken(make, out):
    ring = make(4)
    ring.put_many(numbered([1]))
    with pytest.raises((ValueError, BufferError)):
        ring.get_many(4, out)
    frozen = np.zeros(4, DTYPE)
    frozen.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        ring.get_many(4, frozen)
    assert ring.try_get() == Record(1, 1.0, 1)


@every_ring
def test_half_a_probability_rounds_as_python_does(make):
    ring = make(2)
    for numerator in range(1, 131_070, 2_003):
        record = Record(0, numerator / 131_070, 1)
        ring.try_put(record)
        assert ring.get_many(1).tobytes() == record.pack()


@every_ring
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"probability": 1.01}, "probability must lie between 0 and 1, not 1.01"),
        ({"probability": float("nan")}, "probability"),
        ({"steps": 0}, "steps must lie between 1 and 255, not 0"),
        ({"steps": 256}, "steps"),
        ({"resource": -1}, "does not fit"),
        ({"flags": 256}, "does not fit"),
        ({"deadline_ms": 2**32}, "does not fit"),
        ({"generation": 2**70}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, fields, message):
    ring, fields = make(4), {"resource": 0, "probability": 0.5, "steps": 1, **fields}
    for put in (
        lambda: ring.try_put(Record(**fields)),
        lambda: ring.try_put(**fields),
        lambda: ring.put_many([Record(0, 0.5, 1), Record(**fields)]),
    ):
        with pytest.raises(ValueError, match=message):
            put()
    assert len(ring) == 0


@every_ring
def test_what_is_no_record_is_refused(make):
    ring = make(4)
    for wrong in ([1, 2], 5, None, "abc"):
        with pytest.raises(TypeError):
            ring.try_put(wrong)
        with pytest.raises(TypeError):
            ring.put_many([wrong])
    with pytest.raises(ValueError, match="16 bytes"):
        ring.put_many(b"seventeen bytes!!")
    with pytest.raises(ValueError, match="16 bytes"):
        ring.put_many(np.zeros(4, "u4"))
    with pytest.raises(ValueError, match="n must be at least 0, not -1"):
        ring.get_many(-1)
    with pytest.raises(ValueError, match="n must be at least 0, not -1"):
        ring.get_records(-1)
    assert len(ring) == 0


@every_ring
def test_the_limit_shrinks_and_grows(make):
    ring = make(8)
    ring.put_many(numbered(range(6)))
    ring.limit = 4
    assert (ring.limit, len(ring), ring.try_put(6, 1.0, 1)) == (4, 6, False)
    assert [record.resource for record in ring.get_records(3)] == [0, 1, 2]
    assert ring.put_many(numbered(range(6, 9))) == 1
    ring.limit = 0
    assert not ring.try_put(7, 1.0, 1)
    ring.limit = 8
    assert ring.put_many(numbered(range(7, 20))) == 4
    for wrong in (-1, 9):
        with pytest.raises(ValueError, match=f"limit must lie between 0 and the capacity, 8, not {wrong}"):
            ring.limit = wrong


@every_ring
@pytest.mark.parametrize(("capacity", "message"), [(0, "at least 1 record, not 0"), (2**24 + 1, "at most 16777216")])
def test_a_capacity_out_of_range_is_refused(make, capacity, message):
    with pytest.raises(ValueError, match=message):
        make(capacity)
    with pytest.raises(ValueError, match=f"not {capacity}"):
        make.size_for(capacity)


@every_ring
def test_a_closed_ring_refuses_and_gives_what_it_has(make):
    ring = make(4)
    ring.put_many(numbered([1, 2]))
    assert not ring.closed
    ring.close()
    ring.close()
    assert ring.closed
    assert not ring.try_put(3, 1.0, 1)
    assert ring.put_many(numbered([3])) == 0
    assert ring.get_records(9) == numbered([1, 2])


@every_ring
def test_consumers_have_numbers_and_descriptors_of_their_own(make):
    ring = make(4)
    numbers = [ring.open_consumer() for _ in range(32)]
    assert len({ring.fileno(number) for number in numbers}) == len(set(numbers)) == 32
    with pytest.raises(ValueError, match="there are 32"):
        ring.open_consumer()
    ring.close_consumer(numbers[5])
    for use in (ring.fileno, ring.arm, ring.clear, ring.close_consumer):
        with pytest.raises(ValueError, match="no consumer"):
            use(numbers[5])
        with pytest.raises(ValueError, match="no consumer"):
            use(99)
    assert ring.open_consumer() == numbers[5]


@every_ring
def test_many_puts_wake_each_sleeper_once(make):
    ring = make(8)
    sleepers = [ring.open_consumer() for _ in range(3)]
    for sleeper in sleepers:
        assert ring.arm(sleeper)
    for number in range(4):
        ring.try_put(number, 1.0, 1)
    for sleeper in sleepers:
        assert int.from_bytes(os.read(ring.fileno(sleeper), 8), "little") == 1
        with pytest.raises(BlockingIOError):
            os.read(ring.fileno(sleeper), 8)
        assert not ring.arm(sleeper)  # there is something to take
    ring.get_many(8)
    assert ring.arm(sleepers[0])
    ring.close_consumer(sleepers[0])  # which withdraws
    ring.try_put(1, 1.0, 1)
    assert ring.open_consumer() == sleepers[0]
    with pytest.raises(BlockingIOError):
        os.read(ring.fileno(sleepers[0]), 8)


@every_ring
def test_who_floods_a_fifo_does_not_hold_its_reader_up(make, tmp_path):
    os.mkfifo(tmp_path / "wake")
    fd = os.open(tmp_path / "wake", os.O_RDWR | os.O_NONBLOCK)
    ring = make(4, wake_fd=fd)
    consumer = ring.open_consumer()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4_096))
    ring.clear(consumer)
    assert os.read(fd, 8)  # what is left wakes again, after the loop's other work
    os.close(fd)


@every_ring
def test_a_descriptor_of_the_callers_wakes(make):
    fd = os.eventfd(0, os.EFD_NONBLOCK) if hasattr(os, "eventfd") else pytest.skip("no eventfd here")
    memory = memory_for(make, 4)
    ring = make(4, buffer=memory, wake_fd=fd)
    producer = make.attach(memory, wake_fd=fd)
    consumer = ring.open_consumer()
    with pytest.raises(ValueError, match="one consumer may wait at a wake_fd"):
        ring.open_consumer()
    assert ring.arm(consumer)
    producer.put_many(numbered([1, 2]))
    producer.put_many(numbered([3]))
    assert os.eventfd_read(fd) == 1
    ring.clear(consumer)
    os.close(fd)
    ring.get_many(4)
    ring.arm(consumer)
    producer.try_put(1, 1.0, 1)  # through a duplicate of its own
    os.read(ring.fileno(consumer), 8)
    with pytest.raises(OSError, match="Bad file"):
        make(4, wake_fd=9_999)
