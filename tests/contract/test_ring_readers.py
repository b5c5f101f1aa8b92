"""What awaiting promises over every ring: one wake-up for many records, no record lost, nobody left asleep."""

import asyncio
import contextlib
import gc
import importlib
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from preloader.errors import ClosedError
from preloader.replay.clock import run_virtual
from preloader.ring import DTYPE, Reader, Record, twin

try:
    native = importlib.import_module("preloader.ring._native")
except ImportError:
    native = None

compiled = pytest.mark.skipif(native is None, reason="the compiled ring was not built")
every_ring = pytest.mark.parametrize(
    "make", [pytest.param(native and native.Ring, marks=compiled, id="c"), pytest.param(twin.Ring, id="python")]
)


def numbered(numbers):
    return [Record(number, 1.0, 1) for number in numbers]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@every_ring
def test_what_is_there_is_taken_at_once(make):
    async def main():
        ring, out = make(8), np.zeros(3, DTYPE)
        with Reader(ring) as reader:
            ring.put_many(numbered(range(6)))
            assert await reader.get() == Record(0, 1.0, 1)
            assert await reader.get_many(3, out) is out
            assert (await reader.get_many(64))["resource"].tolist() == [4, 5]

    asyncio.run(main())


@every_ring
def test_a_thread_wakes_the_loop(make):
    async def main():
        ring = make(8)
        with Reader(ring) as reader:
            for number in range(20):
                waiting = asyncio.create_task(reader.get())
                await asyncio.sleep(0)
                await asyncio.to_thread(ring.try_put, number, 1.0, 1)
                async with asyncio.timeout(20):
                    assert (await waiting).resource == number

    asyncio.run(main())


@every_ring
def test_many_records_are_one_wake_up(make):
    async def main():
        ring = make(64)
        with Reader(ring) as reader:
            waiting = asyncio.create_task(reader.get_many(64))
            await asyncio.sleep(0)
            for number in range(50):
                ring.try_put(number, 1.0, 1)
            assert os.read(ring.fileno(0), 8) == (1).to_bytes(8, "little")
            os.write(ring.fileno(0), (1).to_bytes(8, "little"))
            assert len(await waiting) == 50

    if hasattr(os, "eventfd"):
        asyncio.run(main())


@every_ring
def test_it_works_in_virtual_time(make):
    async def main():
        ring = make(4)
        with Reader(ring) as reader:
            waiting = asyncio.create_task(reader.get())
            await asyncio.sleep(3_600)
            ring.try_put(5, 1.0, 1)
            return (await waiting).resource

    assert run_virtual(main()) == 5


@every_ring
def test_several_tasks_are_served_in_turn(make):
    async def main():
        ring, got = make(8), []

        async def take(name):
            got.append((name, (await reader.get()).resource))

        with Reader(ring) as reader:
            tasks = [asyncio.create_task(take(name)) for name in "abc"]
            await asyncio.sleep(0)
            ring.put_many(numbered(range(3)))
            await asyncio.gather(*tasks)
        assert got == [("a", 0), ("b", 1), ("c", 2)]

    asyncio.run(main())


@every_ring
@pytest.mark.parametrize("seed", range(3))
def test_cancelling_loses_no_record(make, seed):
    rng = random.Random(seed)

    async def main():
        ring, got, put = make(4), [], 0
        with Reader(ring) as reader:
            tasks = set()

            async def take():
                got.append((await reader.get()).resource)

            while put < 300:
                tasks |= {asyncio.create_task(take()) for _ in range(rng.randrange(3))}
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
                put += ring.try_put(put, 1.0, 1)
                for _ in range(rng.randrange(3)):  # so that some are cancelled when they were woken already
                    await asyncio.sleep(0)
                if tasks and rng.random() < 0.6:
                    rng.choice(sorted(tasks, key=id)).cancel()
                tasks = {task for task in tasks if not task.done()}
            await until(lambda: not len(ring) or not any(not task.done() for task in tasks))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        got += [record.resource for record in ring.get_records(9)]
        assert sorted(got) == list(range(put))

    asyncio.run(main())


@every_ring
def test_who_was_woken_and_cancelled_passes_it_on(make):
    async def main():
        ring = make(4)
        with Reader(ring) as reader:
            first, second = asyncio.create_task(reader.get()), asyncio.create_task(reader.get())
            await asyncio.sleep(0)
            ring.try_put(1, 1.0, 1)
            await until(lambda: reader._waiters[0].done())
            first.cancel()
            async with asyncio.timeout(20):
                assert (await second).resource == 1
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(main())


@every_ring
@pytest.mark.parametrize("close", ["ring", "reader"])
def test_closing_wakes_all_who_wait(make, close):
    async def main():
        ring = make(4)
        reader = Reader(ring)
        tasks = [asyncio.create_task(reader.get()) for _ in range(3)]
        await asyncio.sleep(0)
        await (asyncio.to_thread(ring.close) if close == "ring" else asyncio.sleep(0, reader.close()))
        async with asyncio.timeout(20):
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ended] == [ClosedError] * 3
        with pytest.raises(ClosedError):
            await reader.get()
        reader.close()
        reader.close()

    asyncio.run(main())


@every_ring
def test_closing_wakes_every_loop(make):
    ring, ended, waiting = make(4), [], threading.Semaphore(0)

    async def main():
        with Reader(ring) as reader:
            asyncio.get_running_loop().call_later(0.01, waiting.release)
            try:
                await reader.get()
            except ClosedError:
                ended.append(True)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        waiting.acquire()
    ring.close()
    for thread in threads:
        thread.join(20)
    assert ended == [True] * 4


@every_ring
def test_a_closed_ring_is_emptied_first(make):
    async def main():
        ring = make(4)
        ring.put_many(numbered([1, 2]))
        ring.close()
        with Reader(ring) as reader:
            assert (await reader.get()).resource == 1
            assert len(await reader.get_many(9)) == 1
            with pytest.raises(ClosedError, match="the ring was closed, and is empty"):
                await reader.get()

    asyncio.run(main())


@every_ring
def test_what_cannot_be_is_refused(make):
    async def main(reader):
        with pytest.raises(ValueError, match="at least 1 record, not 0"):
            await reader.get_many(0)
        with pytest.raises(ValueError, match="at least 1 record, not 0"):
            await reader.get_many(5, np.zeros(0, DTYPE))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await reader.get()

    async def elsewhere(reader):
        with pytest.raises(RuntimeError, match="another event loop"):
            await reader.get()

    with Reader(make(4)) as reader:
        asyncio.run(main(reader))
        asyncio.run(elsewhere(reader))


@every_ring
def test_a_closed_reader_makes_room_for_another(make):
    ring = make(4)
    readers = [Reader(ring) for _ in range(32)]
    with pytest.raises(ValueError, match="32"):
        Reader(ring)
    readers[7].close()
    assert Reader(ring)


@every_ring
def test_descriptors_and_rings_do_not_pile_up(make):
    def descriptors():
        return len(list(Path("/dev/fd").iterdir()))

    async def main():
        for _ in range(30):
            ring = make(4)
            with Reader(ring) as reader:
                waiting = asyncio.create_task(reader.get())
                await asyncio.sleep(0)
                ring.try_put(1, 1.0, 1)
                await waiting
        gc.collect()
        del ring, reader
        return descriptors()

    gc.collect()
    before = descriptors()
    assert asyncio.run(main()) <= before + 4  # what the loop itself has open
    gc.collect()
    assert descriptors() == before


@every_ring
def test_it_waits_for_a_producer_that_is_just_putting(make):
    """A claimed slot is no reason to spin: the reader sleeps, and its producer wakes it."""
    import mmap
    import struct

    async def main():
        memory = mmap.mmap(-1, make.size_for(4))
        ring = make(4, buffer=memory)
        struct.pack_into("<Q", memory, 128, 1)  # claimed
        with Reader(ring) as reader:
            waiting = asyncio.create_task(reader.get())
            await asyncio.sleep(0)
            assert reader._waiters
            memory[520:536] = Record(9, 1.0, 1).pack()
            struct.pack_into("<Q", memory, 512, 1)  # published
            ring.try_put(10, 1.0, 1)
            async with asyncio.timeout(20):
                assert (await waiting).resource == 9

    asyncio.run(main())
