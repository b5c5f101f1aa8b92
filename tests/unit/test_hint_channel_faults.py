"""Channels of hints whose producers die, flood or write what they like: nothing is believed, and nothing stops."""

import asyncio
import contextlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from preloader.hint_channel import HintChannel
from preloader.hints import HintClock
from preloader.ring import BACKEND, Record
from preloader.ring import channel as layout
from preloader.ring.channel import HintSender
from tests.unit.channel_scene import KEYS, counts, opened, resident, ring_of, until

pytestmark = pytest.mark.skipif(BACKEND != "c", reason="the compiled ring was not built")


def test_what_others_write_is_not_believed():
    async def main():
        async with opened() as (manager, channel):
            _, ring = ring_of(channel)
            ring.put_many([Record(3, 0.9, 1), Record(2**32 - 1, 0.9, 1), Record(0, 0.9, 1, generation=7)])
            ring.put_many(struct.pack("<IHBBII", 0, 65_535, 0, 255, 0, 0))  # no steps
            await until(lambda: not len(ring) and counts(manager).get("hints_invalid"))
            assert {name: counts(manager)[name] for name in ("hints_unknown", "hints_stale", "hints_invalid")} == {
                "hints_unknown": 2,
                "hints_stale": 1,
                "hints_invalid": 1,
            }
            assert resident(manager) == 0
            ring.put_many(struct.pack("<IHBBII", 0, 65_535, 255, 255, 0, 0))  # certain, far ahead: the last step
            ring.put_many([Record(1, 0.97, 1)])
            await until(lambda: resident(manager) >= 1)

    asyncio.run(main())


DIES_IN_MID_PUT = r"""
import mmap, os, signal, struct, sys
from pathlib import Path
with (Path(sys.argv[1]) / "hints").open("r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
(tail,) = struct.unpack_from("<Q", memory, 4096 + 128)
struct.pack_into("<Q", memory, 4096 + 128, tail + 2)  # two slots claimed, none published
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_producer_killed_in_mid_put_is_skipped():
    async def main():
        async with opened() as (manager, channel):
            killed = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES_IN_MID_PUT, str(channel.path))
            assert await killed.wait() == -signal.SIGKILL
            with HintSender(channel.path) as sender:
                assert sender.post("component:tts", 0.97)
                await until(lambda: resident(manager) == 1)
            assert counts(manager)["hints_stalled"] == 2

    asyncio.run(main())


@contextlib.asynccontextmanager
async def alone(capacity):
    """A channel without a manager, and its ring as another process has it."""
    clock = HintClock()
    clock.start(asyncio.get_running_loop())
    channel = HintChannel(KEYS, capacity, clock)
    try:
        yield channel, *ring_of(channel)
    finally:
        channel.close()


def test_all_that_was_claimed_a_while_ago_is_skipped_at_once_and_nothing_newer():
    def claim(memory, slots):
        (tail,) = struct.unpack_from("<Q", memory, layout.RING_OFFSET + 128)
        struct.pack_into("<Q", memory, layout.RING_OFFSET + 128, tail + slots)

    async def main():
        async with alone(64) as (channel, memory, _):
            skipped = []
            for newer in (30, 5, 0):
                claim(memory, newer)
                channel._skip_stalled()
                skipped.append(channel.counts["hints_stalled"])
            assert skipped == [0, 30, 35]

    asyncio.run(main())


def test_a_flood_is_taken_in_turn_with_the_loops_other_work():
    async def main():
        async with alone(256) as (channel, _, ring):
            ring.put_many([Record(0, 0.9, 1)] * 256)
            taken = []
            draining = asyncio.create_task(channel.drain(3, lambda hints: taken.append(len(hints))))
            for turn in range(1, 5):
                await asyncio.sleep(0)
                assert taken == [64] * turn
            draining.cancel()
            await asyncio.wait({draining})

    asyncio.run(main())


FLOODS = """
import os, signal, sys, time
from preloader.ring.channel import HintSender

def flood():
    with HintSender(sys.argv[1]) as sender:
        while True:
            sender.post("component:stt", 0.97)

for _ in range(20):
    flooding = []
    for _ in range(2):
        flooding.append(os.fork())
        if not flooding[-1]:
            flood()
    time.sleep(0.02)
    for one in flooding:
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)
"""


def test_producers_killed_at_any_moment_leave_a_channel_that_works():
    async def main():
        async with opened(capacity=8) as (manager, channel):
            run = await asyncio.create_subprocess_exec(sys.executable, "-c", FLOODS, str(channel.path))
            assert await run.wait() == 0
            with HintSender(channel.path) as sender:
                await until(lambda: sender.post("component:tts", 0.97))
                await until(lambda: resident(manager) == 2)

    asyncio.run(main())


LEAVES = """
import asyncio, os, signal
from preloader.hint_channel import HintChannel
from preloader.hints import HintClock

async def main():
    clock = HintClock()
    clock.start(asyncio.get_running_loop())
    print(HintChannel(["component:a"], 8, clock).path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_what_a_killed_manager_left_is_removed_and_what_is_in_use_is_not():
    killed = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())

    def there(*folders):
        return [folder.exists() for folder in folders]

    async def main():
        async with opened() as (_, young):
            assert there(left, young.path) == [True, True]  # for a minute, since it might be about to be locked
            for path in (left, young.path):
                os.utime(path / layout.MEMORY_NAME, (0, 0))
            async with opened():
                assert there(left, young.path) == [False, True]

    asyncio.run(main())


def test_memory_that_was_written_over_gives_the_channel_up(caplog):
    async def main():
        async with opened() as (manager, channel):
            memory, ring = ring_of(channel)
            struct.pack_into("<Q", memory, layout.RING_OFFSET + 512, 12_345)
            os.write(os.open(channel.path / layout.WAKE_NAME, os.O_WRONLY), b"wake up!")
            ring.try_put(0, 0.9, 1)
            await until(lambda: counts(manager).get("hints_damaged") == 1)
            assert manager.hint("component:tts", 0.97)
            await until(lambda: resident(manager) == 1)

    asyncio.run(main())
    assert "written over and is given up" in caplog.text
