"""The ring from Python: one record, batches, and a flood from a thread into an event loop, beside Python's own queues.

The payload is the same everywhere: records that are ready, as tuples, but for the rows that say NumPy. Single-threaded
work is measured in the thread's CPU time, the loop around it taken off; a flood in the CPU time of both threads, from
its start until the loop has all.

Run: ``python -m benchmarks.bench_ring [--json]``.
"""

from __future__ import annotations

import asyncio
import os
import queue
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.harness import Figure, interleaved, ratio, report
from preloader.ring import BACKEND, DTYPE, Reader, Record, Ring

PAIRS = 20_000
BATCH = 64
FLOOD = 200_000
SLOW_FLOOD = 5_000  # for what takes microseconds an item
ROUNDS = 15

RECORD = Record(7, 0.5, 1)


def main() -> None:
    """Measure and print."""
    report("bench_ring", lambda: (*single(), *batches(), *floods()))


def single() -> Iterator[Figure]:
    """Put one record and get it."""
    ring, waiting = Ring(BATCH), asyncio.Queue[Record]()
    simple: queue.SimpleQueue[Record] = queue.SimpleQueue()
    double: deque[Record] = deque()
    times = interleaved(
        {
            "ring": lambda: pairs(ring.try_put, ring.try_get),
            "asyncio.Queue": lambda: pairs(waiting.put_nowait, waiting.get_nowait),
            "SimpleQueue": lambda: pairs(simple.put, simple.get_nowait),
            "deque": lambda: pairs(double.append, double.popleft),
        },
        ROUNDS,
    )
    yield Figure(what=f"put + get of a record ({BACKEND})", measured=middle(times["ring"]), unit="ns")
    yield Figure(
        what="… asyncio.Queue ÷ ring", measured=ratio(times["asyncio.Queue"], times["ring"]), unit="x", least=2.6
    )
    for peer in ("SimpleQueue", "deque"):
        note = "of ready tuples, which a ring must take apart and make"
        yield Figure(what=f"… {peer} ÷ ring", measured=ratio(times[peer], times["ring"]), unit="x", note=note)


def batches() -> Iterator[Figure]:
    """Put and get many at a time, of which NumPy makes no Python objects."""
    ring, waiting = Ring(BATCH), asyncio.Queue[Record]()
    array, out, records = np.zeros(BATCH, DTYPE), np.zeros(BATCH, DTYPE), [RECORD] * BATCH
    array["steps"] = 1
    times = interleaved(
        {
            "array": lambda: pairs(ring.put_many, lambda: ring.get_many(BATCH, out), array, PAIRS // 8) / BATCH,
            "tuples": lambda: pairs(ring.put_many, lambda: ring.get_records(BATCH), records, PAIRS // 64) / BATCH,
            "asyncio.Queue": lambda: pairs(waiting.put_nowait, waiting.get_nowait),
        },
        ROUNDS,
    )
    yield Figure(what=f"put + get of {BATCH} in NumPy, an item", measured=middle(times["array"]), unit="ns")
    yield Figure(
        what="… asyncio.Queue ÷ ring", measured=ratio(times["asyncio.Queue"], times["array"]), unit="x", least=45
    )
    yield Figure(what=f"put + get of {BATCH} as tuples, an item", measured=middle(times["tuples"]), unit="ns")


def floods() -> Iterator[Figure]:
    """Put from a thread as fast as it can, and take on an event loop."""
    times = interleaved(
        {
            "ring": lambda: asyncio.run(flood_ring()),
            "deque": lambda: asyncio.run(flood_deque()),
            "call_soon_threadsafe": lambda: asyncio.run(flood_loop()),
        },
        ROUNDS,
    )
    peer = "call_soon_threadsafe"
    yield Figure(what="flood from a thread into a loop, an item", measured=middle(times["ring"]), unit="ns")
    yield Figure(what=f"… {peer} ÷ ring", measured=ratio(times[peer], times["ring"]), unit="x", least=35)
    note = "with the same coalesced wake-up"
    yield Figure(what="… deque ÷ ring", measured=ratio(times["deque"], times["ring"]), unit="x", least=2.2, note=note)


def pairs(put: Callable[..., object], get: Callable[[], object], item: object = RECORD, count: int = PAIRS) -> float:
    """Return the nanoseconds of a put and a get, the loop's own taken off."""
    turns = range(count)
    began = time.thread_time_ns()
    for _ in turns:
        put(item)
        get()
    between = time.thread_time_ns()
    for _ in turns:
        pass
    return (2 * between - began - time.thread_time_ns()) / count


async def flood_ring() -> float:
    """Return the nanoseconds an item through a ring."""
    ring, out, taken = Ring(FLOOD), np.zeros(FLOOD, DTYPE), 0

    def produce() -> None:
        put = ring.try_put
        for _ in range(FLOOD):
            put(RECORD)

    with Reader(ring) as reader:
        thread, began = start(produce)
        while taken < FLOOD:
            taken += len(await reader.get_many(FLOOD, out))
        return ended(thread, began, FLOOD)


class WakingDeque:
    """A deque whose consumer on an event loop is woken once for many, as a ring's is; both ends as short as can be."""

    def __init__(self) -> None:
        self._items: deque[Record] = deque()
        self._asleep = True
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._woken = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._wake)

    def put(self, record: Record) -> None:
        """Put one record, from any thread."""
        self._items.append(record)
        if self._asleep:
            self._asleep = False
            os.eventfd_write(self._fd, 1)

    async def get_many(self) -> list[Record]:
        """Take what there is, waiting for the first."""
        while not self._items:
            self._asleep = True
            if not self._items:
                await self._woken.wait()
            self._woken.clear()
        return [self._items.popleft() for _ in range(len(self._items))]

    def close(self) -> None:
        """Let the descriptor go."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _wake(self) -> None:
        os.eventfd_read(self._fd)
        self._woken.set()


async def flood_deque() -> float:
    """Return the nanoseconds an item through such a deque."""
    waking, taken = WakingDeque(), 0

    def produce() -> None:
        put = waking.put
        for _ in range(FLOOD):
            put(RECORD)

    thread, began = start(produce)
    while taken < FLOOD:
        taken += len(await waking.get_many())
    spent = ended(thread, began, FLOOD)
    waking.close()
    return spent


async def flood_loop() -> float:
    """Return the nanoseconds an item that the loop is called for one by one."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    items: list[Record] = []

    def take(record: Record) -> None:
        items.append(record)
        if len(items) == SLOW_FLOOD:
            done.set()

    def produce() -> None:
        for _ in range(SLOW_FLOOD):
            loop.call_soon_threadsafe(take, RECORD)

    thread, began = start(produce)
    await done.wait()
    return ended(thread, began, SLOW_FLOOD)


def start(produce: Callable[[], None]) -> tuple[threading.Thread, int]:
    """Start a producer; return it and when."""
    thread, began = threading.Thread(target=produce), time.process_time_ns()
    thread.start()
    return thread, began


def ended(thread: threading.Thread, began: int, count: int) -> float:
    """Return the nanoseconds an item since a producer was started."""
    taken_ns = time.process_time_ns() - began
    thread.join()
    return taken_ns / count


def middle(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


if __name__ == "__main__":
    main()
