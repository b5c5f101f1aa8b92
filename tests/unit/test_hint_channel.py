"""Hints from other processes: shared memory, a table of keys, and nothing believed that somebody writes there."""

import asyncio
import contextlib
import gc
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from preloader import ConfigurationError, PreloadManager, Settings, UnknownResourceError
from preloader.errors import ClosedError
from preloader.hint_channel import HintChannel
from preloader.hints import HintClock
from preloader.ports import Cost
from preloader.ring import BACKEND, Record, Ring
from preloader.ring import channel as layout
from preloader.ring.channel import HintSender
from preloader.testing import FakeProvider

pytestmark = pytest.mark.skipif(BACKEND != "c", reason="the compiled ring was not built")

KEYS = ["component:stt", "component:tts", "component:größe"]


def fake():
    return FakeProvider({key: Cost(0.0, 1_000) for key in KEYS})


@contextlib.asynccontextmanager
async def opened(keys=KEYS, **options):
    making = PreloadManager({"component": fake()}, settings=Settings(waste_budget=None))
    async with making as manager, manager.hint_channel(keys, **options) as channel:
        yield manager, channel


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def resident(manager):
    return manager.statistics().residents


def counts(manager):
    return manager.statistics().counts


def ring_of(channel):
    """Open the channel as one who respects nothing would."""
    with (channel.path / layout.MEMORY_NAME).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    header = layout.Header(*layout.HEADER.unpack_from(memory))
    part = memoryview(memory)[header.ring_offset : header.ring_offset + header.ring_bytes]
    wake_fd = layout.open_wake(channel.path)
    try:
        return memory, Ring.attach(part, wake_fd=wake_fd)
    finally:
        os.close(wake_fd)


def test_a_hint_from_a_sender_preloads():
    async def main():
        async with opened() as (manager, channel):
            with HintSender(channel.path) as sender:
                assert sender.keys == channel.keys == tuple(KEYS)
                assert sender.post("component:größe", 0.97)
                await until(lambda: resident(manager) == 1)
                assert sender.post("component:tts", 0.97, 1, ttl_s=None)
                await until(lambda: resident(manager) == 2)
                await manager.get("component:tts")
            assert manager.statistics().ledger.needs["hit"] == 1

    asyncio.run(main())


def test_a_hint_from_another_process_preloads():
    post = (
        "import sys; from preloader.ring.channel import HintSender\n"
        "with HintSender(sys.argv[1]) as sender: assert sender.post('component:tts', 0.95, ttl_s=30)"
    )

    async def main():
        async with opened() as (manager, channel):
            run = await asyncio.create_subprocess_exec(sys.executable, "-c", post, str(channel.path))
            assert await run.wait() == 0
            await until(lambda: resident(manager) == 1)

    asyncio.run(main())


def test_a_hint_from_c_preloads(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine")
    root, program = Path(__file__).parents[2], tmp_path / "post_to_manager"
    sources = [root / "native" / name for name in ("examples/post_to_manager.c", "post.c", "ring.c")]
    strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, *strict, f"-I{root / 'native'}", *sources, "-o", program], check=True)

    async def run(*words):
        running = await asyncio.create_subprocess_exec(program, *words, stderr=subprocess.PIPE)
        _, said = await running.communicate()
        return running.returncode, said.decode()

    async def main():
        async with opened() as (manager, channel):
            assert await run(channel.path, "component:größe", "0.97") == (0, "")
            await until(lambda: resident(manager) == 1)
            assert counts(manager).get("hints_expired", 0) == 0
            assert await run(channel.path, "component:other", "0.97") == (
                1,
                f"{channel.path}: the channel was not opened for this key\n",
            )
            assert (await run(channel.path, "component:tts", "1.5"))[1].endswith("must lie between 0 and 1\n")
        assert (await run(tmp_path, "component:tts", "0.97"))[1].endswith("there is no channel of hints\n")

    asyncio.run(main())


def test_what_cannot_be_posted_is_refused_by_name():
    async def main():
        async with opened(capacity=2) as (_, channel):
            sender = HintSender(channel.path)
            with pytest.raises(UnknownResourceError, match="not opened for 'component:other'"):
                sender.post("component:other", 0.9)
            for wrong in ({"probability": 1.1}, {"probability": 0.9, "steps": 0}, {"probability": 0.9, "ttl_s": 0.0}):
                with pytest.raises(ValueError, match="must lie"):
                    sender.post(KEYS[0], **wrong)
            assert [sender.post(KEYS[0], 0.9) for _ in range(3)] == [True, True, False]
            sender.close()
            with pytest.raises(ClosedError, match="sender of hints was closed"):
                sender.post(KEYS[0], 0.9)

    asyncio.run(main())


def test_a_sender_may_be_closed_while_threads_post():
    async def main():
        async with opened() as (_, channel):
            senders = [HintSender(channel.path) for _ in range(8)]
            met, begun = [], threading.Barrier(2)

            def post_until_refused(sender):
                begun.wait()
                try:
                    while True:
                        sender.post(KEYS[0], 0.9)
                except Exception as error:  # whatever it is, it is what is tested
                    met.append(type(error))

            for sender in senders:
                posting = threading.Thread(target=post_until_refused, args=(sender,))
                posting.start()
                begun.wait()
                await asyncio.sleep(0.001)
                sender.close()
                posting.join()
            assert met == [ClosedError] * len(senders)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        asyncio.run(main())
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("keys", "capacity", "error", "message"),
    [
        ([], 8, ConfigurationError, "there are none"),
        (["component:a", "component:a"], 8, ConfigurationError, "'component:a' is there 2 times"),
        (["component:" + "a" * 70_000], 8, ConfigurationError, "longer than 65,535 bytes"),
        (["component:a"], 0, ConfigurationError, "not 0"),
        (["tool:a"], 8, UnknownResourceError, "no provider serves 'tool:a': there are component"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(keys, capacity, error, message):
    async def main():
        with pytest.raises(error, match=message):
            async with opened(keys, capacity=capacity):
                pass

    asyncio.run(main())


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


def test_a_passed_deadline_voids_a_hint():
    async def main():
        async with opened() as (manager, channel):
            _, ring = ring_of(channel)
            ring.try_put(0, 0.97, 1, 0, 2**32 - 5)  # as its milliseconds wrap
            await until(lambda: counts(manager).get("hints_expired") == 1)

    asyncio.run(main())


def test_clearing_voids_what_is_under_way():
    async def main():
        async with opened() as (manager, channel):
            with HintSender(channel.path) as sender:
                sender.post(KEYS[0], 0.97)
                await manager.clear()
                await until(lambda: counts(manager).get("hints_stale") == 1)
                sender.post(KEYS[1], 0.97)  # of the new generation
                await until(lambda: resident(manager) == 1)

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


def test_nothing_is_left_behind():
    def descriptors():
        return len(list(Path("/dev/fd").iterdir()))

    async def main():
        async with opened() as (manager, channel):
            path = channel.path
            assert path.stat().st_mode & 0o777 == 0o700
            assert {entry.name: entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {
                "hints": 0o600,
                "wake": 0o600,
            }
            with HintSender(path) as sender:
                sender.post(KEYS[0], 0.97)
                await until(lambda: resident(manager) == 1)
        return path

    asyncio.run(main())
    gc.collect()
    before = descriptors()
    path = asyncio.run(main())
    gc.collect()
    assert not path.exists()
    assert descriptors() == before


def test_the_manager_may_stop_while_a_channel_is_open():
    async def main():
        async with contextlib.AsyncExitStack() as exits:
            async with PreloadManager({"component": fake()}) as manager:
                channel = await exits.enter_async_context(manager.hint_channel(KEYS))
            with HintSender(channel.path) as sender:
                sender.post(KEYS[0], 0.97)
            with pytest.raises(ClosedError):
                async with manager.hint_channel(KEYS):
                    pass
        assert not channel.path.exists()

    asyncio.run(main())


def test_what_is_no_channel_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is no channel of hints that can be opened"):
        HintSender(tmp_path)
    os.mkfifo(tmp_path / layout.WAKE_NAME)
    good = layout.Header(layout.MAGIC, layout.LAYOUT_VERSION, 0, 0, 4_096, Ring.size_for(2), 8_000, 4, 2)
    for header, message in [
        (good._replace(magic=b"SOMETHIN"), "does not begin as one"),
        (good._replace(version=9), "its layout is 9"),
        (good._replace(ring_bytes=2**60), "claims"),
        (good._replace(keys_bytes=2**60), "claims"),
        (good._replace(keys=3), "unpack"),
        (good, "no ring in this memory"),
        (good._replace(ring_offset=4_097), "multiple of 128"),
    ]:
        (tmp_path / layout.MEMORY_NAME).write_bytes(layout.HEADER.pack(*header).ljust(8_192, b"\0"))
        with pytest.raises(ConfigurationError, match=message):
            HintSender(tmp_path)


def test_without_the_compiled_ring_a_channel_is_refused(monkeypatch):
    monkeypatch.setattr("preloader.ring.BACKEND", "python")
    with pytest.raises(ConfigurationError, match="needs the compiled ring"):
        HintChannel(KEYS, 8, None)
    with pytest.raises(ConfigurationError, match="needs the compiled ring"):
        HintSender("anywhere")


def test_under_pressure_less_is_taken():
    async def main():
        async with opened(capacity=8) as (manager, channel):
            manager._hints.restrain(0.5)
            with HintSender(channel.path) as sender:
                assert sum(sender.post(KEYS[0], 0.97) for _ in range(9)) == 4
                manager._hints.restrain(1.0)
                assert sum(sender.post(KEYS[0], 0.97) for _ in range(9)) == 4

    asyncio.run(main())
