"""Hints from other processes: what is posted arrives, what cannot be is refused, and nothing is left behind."""

import asyncio
import contextlib
import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from preloader import ConfigurationError, PreloadManager, UnknownResourceError
from preloader.errors import ClosedError
from preloader.hint_channel import HintChannel
from preloader.ring import BACKEND, Ring
from preloader.ring import channel as layout
from preloader.ring.channel import HintSender
from tests.unit.channel_scene import KEYS, counts, fake, opened, resident, ring_of, until

pytestmark = pytest.mark.skipif(BACKEND != "c", reason="the compiled ring was not built")


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
