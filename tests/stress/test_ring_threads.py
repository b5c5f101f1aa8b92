"""Many threads put and take at once: nothing is lost, nothing doubled, and each producer's order stays."""

import asyncio
import importlib
import itertools
import sys
import threading
import time

import numpy as np
import pytest

from preloader.ring import DTYPE, Reader, Record, twin

EACH = 800

try:
    native = importlib.import_module("preloader.ring._native")
except ImportError:
    native = None

compiled = pytest.mark.skipif(native is None, reason="the compiled ring was not built")
every_ring = pytest.mark.parametrize(
    "make", [pytest.param(native and native.Ring, marks=compiled, id="c"), pytest.param(twin.Ring, id="python")]
)


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def check(taken, producers):
    """Every record was taken once, and each consumer saw each producer's in order."""
    for number in range(producers):
        seen = [[record.resource for record in into if record.steps == 1 + number] for into in taken]
        assert sorted(itertools.chain(*seen)) == list(range(EACH))  # exactly once
        assert all(part == sorted(part) for part in seen)  # in order, as far as one consumer can tell


def one_by_one(ring, number):
    for at in range(EACH):
        while not ring.try_put(Record(at, 1.0, 1 + number)):
            time.sleep(0)


def in_batches(ring, number):
    batch = np.zeros(EACH, DTYPE)
    batch["resource"], batch["steps"] = np.arange(EACH), 1 + number
    put = 0
    while put < EACH:
        put += ring.put_many(batch[put : put + 7])
        time.sleep(0)


@every_ring
@pytest.mark.parametrize(
    ("produce", "producers", "consumers", "capacity"),
    [
        (one_by_one, 1, 1, 3),
        (one_by_one, 4, 1, 3),
        (one_by_one, 1, 4, 3),
        (one_by_one, 3, 3, 64),
        (in_batches, 1, 1, 3),
        (in_batches, 3, 3, 64),
    ],
)
def test_every_record_arrives_once_and_in_its_producers_order(make, produce, producers, consumers, capacity):
    ring = make(capacity)
    done = threading.Event()
    taken = [[] for _ in range(consumers)]

    def consume(into):
        while not (done.is_set() and len(ring) == 0):
            into += ring.get_records(5)

    threads = [threading.Thread(target=produce, args=(ring, number)) for number in range(producers)]
    readers = [threading.Thread(target=consume, args=(into,)) for into in taken]
    for thread in (*threads, *readers):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    check(taken, producers)


@every_ring
@pytest.mark.parametrize(
    ("producers", "loops", "tasks", "capacity"), [(1, 1, 1, 3), (2, 1, 3, 3), (2, 3, 2, 3), (3, 2, 1, 64)]
)
def test_loops_in_several_threads_lose_no_wake_up(make, producers, loops, tasks, capacity):
    """Producers put and pause, so that the loops sleep and wake all the time; a lost wake-up would hang this."""
    ring = make(capacity)
    taken = [[] for _ in range(loops * tasks)]
    left = itertools.count(1)
    ready = threading.Barrier(loops + producers)

    async def take(reader, into):
        while True:
            record = await reader.get()
            into.append(record)
            if next(left) == producers * EACH:
                ring.close()

    async def consume(number):
        with Reader(ring) as reader:
            ready.wait()
            mine = taken[number * tasks : (number + 1) * tasks]
            await asyncio.gather(*(take(reader, into) for into in mine), return_exceptions=True)

    def produce(number):
        ready.wait()
        for at in range(EACH):
            while not ring.try_put(Record(at, 1.0, 1 + number)):
                time.sleep(0)
            if at % 7 == number:
                time.sleep(1e-5)

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(producers)]
    threads += [threading.Thread(target=asyncio.run, args=(consume(number),)) for number in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(taken, producers)
