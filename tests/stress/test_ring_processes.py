"""A ring in `multiprocessing.shared_memory`: exactly once between processes, and of use after producers were killed."""

import asyncio
import importlib
import os
import subprocess
import sys
import time
from multiprocessing import shared_memory

import numpy as np
import pytest

from preloader.ring import DTYPE, Reader

try:
    Ring = importlib.import_module("preloader.ring._native").Ring
except ImportError:
    pytest.skip("the compiled ring was not built", allow_module_level=True)

EACH = 1_500

PRODUCER = """
import mmap, os, sys, time
import numpy as np
from preloader.ring import DTYPE, Ring, Record

path, number, each, batch, wake_fd = sys.argv[1], *map(int, sys.argv[2:])
with open(path, "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
ring = Ring.attach(memory, wake_fd=None if wake_fd < 0 else wake_fd)
records = np.zeros(each, DTYPE)
records["resource"], records["steps"] = np.arange(each), number
print("ready", flush=True)
sys.stdin.readline()
put = 0
while put < each:
    if batch == 1:
        put += ring.try_put(put, 1.0, number)
    else:
        put += ring.put_many(records[put : put + batch])
    if len(ring) == ring.capacity:
        time.sleep(0)
"""


@pytest.fixture
def shared():
    memory = shared_memory.SharedMemory(create=True, size=Ring.size_for(1 << 10))
    yield memory
    memory.close()
    memory.unlink()


def producer(memory, number, each, batch, wake_fd=-1):
    """Start a process that waits for a line before it puts."""
    words = (f"/dev/shm/{memory.name.lstrip('/')}", number, each, batch, wake_fd)
    return subprocess.Popen(
        [sys.executable, "-c", PRODUCER, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[] if wake_fd < 0 else [wake_fd],
    )


def go(producers):
    for one in producers:
        assert one.stdout.readline() == b"ready\n"
    for one in producers:
        one.stdin.write(b"go\n")
        one.stdin.close()


def end(producers):
    for one in producers:
        one.wait(30)
        one.stdout.close()


linux = pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="shared memory has no path here")  # noqa: PTH112


@linux
@pytest.mark.parametrize(("capacity", "batches"), [(3, (1, 1)), (64, (1, 64))])
def test_every_record_crosses_once_and_in_order(shared, capacity, batches):
    ring = Ring(capacity, buffer=shared.buf)
    producers = [producer(shared, 1 + number, EACH, batch) for number, batch in enumerate(batches)]
    go(producers)
    taken, out = [], np.zeros(64, DTYPE)
    while sum(map(len, taken)) < EACH * len(batches):
        taken.append(ring.get_many(64, out).copy())
        if not len(taken[-1]):
            taken.pop()
            time.sleep(0)
    end(producers)
    every = np.concatenate(taken)
    for number in range(len(batches)):
        assert every["resource"][every["steps"] == 1 + number].tolist() == list(range(EACH))
    assert len(ring) == 0
    del ring


@linux
@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="no eventfd here")
def test_one_process_wakes_the_loop_of_another(shared):
    async def main():
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        ring = Ring(8, buffer=shared.buf, wake_fd=wake_fd)
        producers = [producer(shared, 1 + number, EACH, 3, wake_fd) for number in range(2)]
        os.close(wake_fd)
        taken = []
        with Reader(ring) as reader:
            waiting = asyncio.create_task(reader.get_many(64))
            await asyncio.to_thread(go, producers)
            async with asyncio.timeout(60):
                taken.append(await waiting)
                while sum(map(len, taken)) < 2 * EACH:
                    taken.append(await reader.get_many(64))
        await asyncio.to_thread(end, producers)
        every = np.concatenate(taken)
        for number in (1, 2):
            assert every["resource"][every["steps"] == number].tolist() == list(range(EACH))

    asyncio.run(main())


@linux
def test_producers_killed_anywhere_leave_a_ring_that_works(shared):
    """Whatever they were at: what was published arrives in order, what was claimed is seen and skipped."""
    ring, out = Ring(64, buffer=shared.buf), np.zeros(64, DTYPE)
    for round_ in range(2):
        producers = [producer(shared, 1 + number, 1_000_000, 64) for number in range(2)]
        go(producers)
        last = {1: -1, 2: -1}
        for _ in range(200 + 50 * round_):
            for resource, _, steps, *_ in ring.get_many(64, out).tolist():
                assert resource == last[steps] + 1
                last[steps] = resource
        for one in producers:
            one.kill()
        end(producers)
        while (front := ring.look())[0] != "empty":  # no producer lives any more, so what is claimed stays so
            assert front[0] != "damaged"
            assert ring.skip(front[1]) if front[0] == "claimed" else len(ring.get_many(64, out))
        assert len(ring) == 0
        assert ring.put_many(np.ones(64, DTYPE)) == 64
        assert len(ring.get_many(64, out)) == 64
    del ring
