"""The ring's pure-Python twin: the same queue, in the same memory layout, under a lock.

It follows ``native/ring.c`` (Vyukov's bounded queue) word by word, so either can read what the other left in memory.
Only the lock makes it safe between threads: it knows of no other process, and none may put or get at the same time.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from preloader.ring.record import DTYPE, LAYOUT, Record

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_CAPACITY = 1 << 24
MAX_CONSUMERS = 32

Front = Literal["empty", "ready", "claimed", "damaged"]

_MAGIC = int.from_bytes(b"PRELRING", "little")
_LAYOUT_VERSION = 1
_ALIGNMENT = 128
_SLOT_BYTES = 24
_SLOTS_OFFSET = 512
_WRAP = (1 << 64) - 1
_MAGIC_AT, _TAIL_AT, _HEAD_AT = 0, 128 // 8, 256 // 8  # in words of 8 bytes
_LAYOUT_AT, _CAPACITY_AT, _LIMIT_AT, _ARMED_AT = 8 // 4, 12 // 4, 16 // 4, 384 // 4  # in words of 4 bytes

_lock = threading.RLock()  # one for all, since several objects may share one memory; a finaliser may come in between


class Ring:
    """A bounded queue of records; any number of threads may put and get.

    First in, first out; full means refused, and nothing waits or blocks. A `preloader.ring.reader.Reader` awaits what
    comes.

    Args:
        capacity: How many records it holds, 1 to `MAX_CAPACITY`.
        buffer: Writable memory to live in, of `size_for` bytes from a multiple of 128 on; memory of its own unless
            given. It is held as long as the ring lives.
        wake_fd: What wakes the one consumer that may then wait: an eventfd, or a FIFO that is open for reading and
            writing. The ring keeps a duplicate. Descriptors of its own, for up to 32 consumers, unless given.

    Raises:
        ValueError: ``capacity`` or ``buffer`` cannot be a ring's.
    """

    def __init__(self, capacity: int, *, buffer: WriteableBuffer | None = None, wake_fd: int | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a ring holds at least 1 record, not {capacity}")
        if capacity > MAX_CAPACITY:
            raise ValueError(f"a ring holds at most {MAX_CAPACITY} records, not {capacity}")
        memory = _writable(bytearray(self.size_for(capacity)) if buffer is None else buffer)
        _check_memory(memory, self.size_for(capacity), aligned=buffer is not None)
        self._use(memory, capacity, wake_fd)
        with _lock:
            memory[: self.size_for(capacity)] = bytes(self.size_for(capacity))
            self._numbers[_LAYOUT_AT] = _LAYOUT_VERSION
            self._numbers[_CAPACITY_AT] = self._numbers[_LIMIT_AT] = capacity
            for position in range(self._mask + 1):
                self._words[self._sequence_at(position)] = position
            self._words[_MAGIC_AT] = _MAGIC

    @classmethod
    def attach(cls, buffer: WriteableBuffer, *, wake_fd: int | None = None) -> Self:
        """Return a ring on memory in which somebody else made one. The memory is not trusted.

        Raises:
            ValueError: There is no ring in it, or a damaged one.
        """
        memory = _writable(buffer)
        _check_memory(memory, _SLOTS_OFFSET, aligned=True)
        magic, version, capacity, limit = struct.unpack_from("<QIII", memory)
        if magic != _MAGIC:
            raise ValueError("there is no ring in this memory, or it is not ready yet")
        if version != _LAYOUT_VERSION:
            raise ValueError("the ring in this memory has another layout")
        if not 1 <= capacity <= MAX_CAPACITY or limit > capacity:
            raise ValueError("the ring in this memory is damaged")
        _check_memory(memory, cls.size_for(capacity), aligned=True)
        ring = cls.__new__(cls)
        ring._use(memory, capacity, wake_fd)
        with _lock:
            if (ring._words[_TAIL_AT] - ring._words[_HEAD_AT]) & _WRAP > ring._mask + 1:
                raise ValueError("the ring in this memory is damaged")
        return ring

    @staticmethod
    def size_for(capacity: int) -> int:
        """Return how many bytes of memory a ring needs.

        Raises:
            ValueError: The capacity is out of range.
        """
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"a ring holds 1 to {MAX_CAPACITY} records, not {capacity}")
        return _SLOTS_OFFSET + _slots_for(capacity) * _SLOT_BYTES

    def __len__(self) -> int:
        with _lock:
            length = (self._words[_TAIL_AT] - self._words[_HEAD_AT]) & _WRAP
            return min(length, self.capacity) if length <= _WRAP >> 1 else 0

    @property
    def capacity(self) -> int:
        """How many records it can hold."""
        return self._capacity

    @property
    def limit(self) -> int:
        """How many records it may hold now: 0 to the capacity. What is in it stays.

        Raises:
            ValueError: When set, it is out of range.
        """
        return min(self._numbers[_LIMIT_AT], self.capacity)

    @limit.setter
    def limit(self, limit: int) -> None:
        if not 0 <= limit <= self.capacity:
            raise ValueError(f"limit must lie between 0 and the capacity, {self.capacity}, not {limit}")
        with _lock:
            self._numbers[_LIMIT_AT] = limit

    @property
    def closed(self) -> bool:
        """Whether this object was closed."""
        return self._closed

    def try_put(self, *record: Any, **fields: Any) -> bool:
        """Put one record, given as a `Record` or field by field; ``False`` where the ring is full, or closed.

        Raises:
            ValueError: A field is out of its range.
        """
        if len(record) == 1 and not fields:
            return self._put([_pack(record[0])]) == 1
        return self._put([Record(*record, **fields).pack()]) == 1

    def put_many(self, records: ReadableBuffer | Sequence[Record]) -> int:
        """Put the first of several records, as many as there is room for, together; return how many.

        Args:
            records: A NumPy array of `DTYPE`, packed bytes, or a sequence of records.

        Raises:
            ValueError: A field is out of its range; nothing was put then.
        """
        try:
            view = memoryview(records)  # type: ignore[arg-type]
        except TypeError:
            return self._put([_pack(record) for record in records])  # type: ignore[union-attr]
        data = _row_of_records(view).tobytes()
        return self._put([data[at : at + LAYOUT.size] for at in range(0, len(data), LAYOUT.size)])

    def try_get(self) -> Record | None:
        """Take the oldest record; ``None`` where there is none."""
        taken = self._take(1)
        return Record.unpack(taken[0]) if taken else None

    def get_many(self, n: int, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """Take up to ``n`` records, oldest first, as a NumPy array of `DTYPE`.

        Args:
            n: How many at most.
            out: An array to fill and return the filled part of, instead of a new one.

        Raises:
            ValueError: ``n`` is negative, or ``out`` is no aligned row of records.
        """
        _check_count(n)
        if out is None:
            return np.frombuffer(bytearray().join(self._take(n)), dtype=DTYPE)
        view = out.data if isinstance(out, np.ndarray) else memoryview(out)
        is_row = view.itemsize == LAYOUT.size and view.ndim == 1 and view.c_contiguous and not view.readonly
        if not is_row or out.ctypes.data % 4:
            raise ValueError("out must be an aligned row of records")
        taken = self._take(min(n, len(out)))
        out[: len(taken)] = np.frombuffer(b"".join(taken), dtype=DTYPE)
        return out if len(taken) == len(out) else out[: len(taken)]

    def get_records(self, n: int, /) -> list[Record]:
        """Take up to ``n`` records, oldest first, as `Record` tuples.

        Raises:
            ValueError: ``n`` is negative.
        """
        _check_count(n)
        return [Record.unpack(packed) for packed in self._take(n)]

    def look(self) -> tuple[Front, int]:
        """Look at the oldest slot: ``empty``, ``ready``, ``claimed`` (being put) or ``damaged``, and its position.

        A position that stays claimed for longer than any put can take belongs to a producer that died.
        """
        with _lock:
            at, tail = self._words[_HEAD_AT], self._words[_TAIL_AT]
            sequence = self._words[self._sequence_at(at)]
            if sequence == (at + 1) & _WRAP:
                return "ready", at
            if sequence == at:
                return ("claimed" if 0 < (tail - at) & _WRAP <= _WRAP >> 1 else "empty"), at
            return ("empty" if sequence == (at - self._mask) & _WRAP else "damaged"), at

    def skip(self, position: int, /) -> bool:
        """Give up the record that a producer claimed at ``position`` before it died.

        Returns:
            Whether this call did so: ``False`` where that is not the oldest, or not claimed.
        """
        with _lock:
            if self.look() != ("claimed", position):
                return False
            self._release(position)
            return True

    def open_consumer(self) -> int:
        """Return the number of one more consumer that may sleep. `preloader.ring.reader.Reader` uses it.

        Raises:
            ValueError: There are 32 already, or one where a ``wake_fd`` was given.
        """
        with _lock:
            for consumer in range(MAX_CONSUMERS if self._shared_fd is None else 1):
                if consumer not in self._consumers:
                    if self._shared_fd is None and consumer not in self._descriptors:
                        self._descriptors[consumer] = _open_descriptors()
                    self._consumers.add(consumer)
                    return consumer
        if self._shared_fd is None:
            raise ValueError(f"{MAX_CONSUMERS} consumers may wait at a ring, and there are {MAX_CONSUMERS}")
        raise ValueError("one consumer may wait at a wake_fd, and there is one")

    def close_consumer(self, consumer: int, /) -> None:
        """Give a consumer's number back."""
        with _lock:
            self._check_consumer(consumer)
            self._numbers[_ARMED_AT] &= ~(1 << consumer)
            self._consumers.remove(consumer)

    def fileno(self, consumer: int, /) -> int:
        """Return the descriptor that is readable once a consumer was woken."""
        self._check_consumer(consumer)
        return self._descriptors[consumer][0] if self._shared_fd is None else self._shared_fd

    def arm(self, consumer: int, /) -> bool:
        """Ask to be woken at the next put; ``False`` where there is something to take, or nothing ever will be."""
        self._check_consumer(consumer)
        with _lock:
            if self.look()[0] == "ready":
                return False
            self._numbers[_ARMED_AT] |= 1 << consumer
            return not self._closed

    def clear(self, consumer: int, /) -> None:
        """Take the wake-ups that came for a consumer: dozens at most, so that nobody who floods a FIFO holds it up."""
        fd = self.fileno(consumer)
        with contextlib.suppress(BlockingIOError):
            os.read(fd, 256)

    def close(self) -> None:
        """Refuse every put through this object from now on, and wake all who wait at it. What it holds can be taken."""
        with _lock:
            self._closed = True
            self._ring_bells(self._consumers)

    def _use(self, memory: memoryview, capacity: int, wake_fd: int | None) -> None:
        self._memory, self._capacity, self._mask = memory, capacity, _slots_for(capacity) - 1
        self._words = memory[: len(memory) // 8 * 8].cast("Q")
        self._numbers = memory[: len(memory) // 4 * 4].cast("I")
        self._closed = False
        self._consumers: set[int] = set()
        self._descriptors: dict[int, tuple[int, int]] = {}
        self._shared_fd = None if wake_fd is None else os.dup(wake_fd)
        weakref.finalize(self, _close_descriptors, self._descriptors, self._shared_fd)

    def _put(self, records: Sequence[bytes]) -> int:
        with _lock:
            put = 0 if self._closed else min(len(records), self._room())
            for packed in records[:put]:
                position = self._words[_TAIL_AT]
                self._words[_TAIL_AT] = (position + 1) & _WRAP
                at = self._sequence_at(position)
                self._memory[8 * at + 8 : 8 * at + _SLOT_BYTES] = packed
                self._words[at] = (position + 1) & _WRAP
            if put and (armed := self._numbers[_ARMED_AT]):
                self._numbers[_ARMED_AT] = 0
                self._ring_bells(consumer for consumer in range(MAX_CONSUMERS) if armed >> consumer & 1)
            return put

    def _room(self) -> int:
        """Return how many records may be put: free slots in a row, and no more than the limit leaves."""
        tail, head = self._words[_TAIL_AT], self._words[_HEAD_AT]
        most = max(0, self.limit - ((tail - head) & _WRAP))
        for ahead in range(most):
            position = (tail + ahead) & _WRAP
            if self._words[self._sequence_at(position)] != position:
                return ahead
        return most

    def _take(self, n: int) -> list[bytes]:
        taken: list[bytes] = []
        with _lock:
            while len(taken) < n:
                front, position = self.look()
                if front != "ready":
                    break
                at = 8 * self._sequence_at(position)
                taken.append(bytes(self._memory[at + 8 : at + _SLOT_BYTES]))
                self._release(position)
        return taken

    def _release(self, position: int) -> None:
        self._words[_HEAD_AT] = (position + 1) & _WRAP
        self._words[self._sequence_at(position)] = (position + self._mask + 1) & _WRAP

    def _sequence_at(self, position: int) -> int:
        return (_SLOTS_OFFSET + _SLOT_BYTES * (position & self._mask)) // 8

    def _check_consumer(self, consumer: int) -> None:
        if consumer not in self._consumers:
            raise ValueError(f"the ring has no consumer {consumer}")

    def _ring_bells(self, consumers: Iterable[int]) -> None:
        if self._shared_fd is not None:
            fds = [self._shared_fd]
        else:  # another process may have armed what has no descriptor here
            fds = [self._descriptors[one][1] for one in consumers if one in self._descriptors]
        for fd in fds:
            with contextlib.suppress(BlockingIOError):  # one that is full is rung already
                os.write(fd, (1).to_bytes(8, sys.byteorder))


def _pack(record: Record) -> bytes:
    if not isinstance(record, tuple):
        raise TypeError(f"a ring takes a Record, not {type(record).__name__}")
    return (record if isinstance(record, Record) else Record(*record)).pack()


def _slots_for(capacity: int) -> int:
    return max(2, 1 << (capacity - 1).bit_length())


def _writable(buffer: WriteableBuffer) -> memoryview:
    view = memoryview(buffer)
    if view.readonly:
        raise BufferError("a ring's memory must be writable")
    return view.cast("B")


def _check_memory(memory: memoryview, needed: int, *, aligned: bool) -> None:
    if aligned and np.frombuffer(memory, np.uint8).ctypes.data % _ALIGNMENT:
        raise ValueError(f"a ring's memory begins at a multiple of {_ALIGNMENT} bytes")
    if len(memory) < needed:
        raise ValueError("the memory is too short for the ring's capacity")


def _row_of_records(view: memoryview) -> memoryview:
    if view.ndim > 1 or view.itemsize not in {1, LAYOUT.size} or view.nbytes % LAYOUT.size:
        raise ValueError(
            f"records are one row of 16 bytes each, not {view.ndim} dimensions of {view.itemsize} bytes each"
        )
    return view


def _check_count(n: int) -> None:
    if n < 0:
        raise ValueError(f"n must be at least 0, not {n}")


def _open_descriptors() -> tuple[int, int]:
    """Return what to read and what to write to wake a consumer: one eventfd, or the two ends of a pipe."""
    if hasattr(os, "eventfd"):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _close_descriptors(descriptors: dict[int, tuple[int, int]], shared_fd: int | None) -> None:
    for fd in {end for pair in descriptors.values() for end in pair}:
        os.close(fd)
    if shared_fd is not None:
        os.close(shared_fd)
