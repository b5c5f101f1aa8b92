"""Loaders that hang leave threads to needs and to other kinds: a real manager, registries and executor."""

import asyncio
import threading

from preloader.components import ComponentRegistry
from preloader.components.blocking import Blocking
from preloader.events import Preload, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.scheduling.execution import ThreadExecutor
from preloader.settings import Settings

THREADS = 8
FOR_SPECULATION = 6
FOR_ONE_KIND = 7


def test_a_need_is_served_while_hung_preloads_hold_all_threads_that_they_may():
    release, hang = threading.Event(), threading.Event()
    hang.set()
    registry = ComponentRegistry()
    names = [f"hangs{number}" for number in range(FOR_SPECULATION + 1)]
    for name in names:
        registry.component(name, bytes=1, load_s=0.0)(lambda: (hang.is_set() and release.wait(30), "made")[1])
    registry.component("needed", bytes=1, load_s=0.0)(lambda: "made")
    ended = []

    async def main():
        executor = ThreadExecutor(max_threads=THREADS)
        settings = Settings(
            waste_budget=None, load_timeout_s=0.05, load_attempts=3, retry_wait_s=0.01, quarantine_after=1
        )
        listeners = [lambda end: ended.append(end) if isinstance(end, Preload) else None]
        manager = PreloadManager(
            {"component": registry.provider()}, settings=settings, executor=executor, listeners=listeners
        )
        async with manager:
            for name in names:
                before = len(ended)
                manager.hint(f"component:{name}", 0.95)
                while len(ended) == before:
                    await asyncio.sleep(0.001)
            busy = executor.live
            hang.clear()
            served = [await manager.get("component:needed"), await manager.get(f"component:{names[-1]}")]
            release.set()
        while executor.live:
            await asyncio.sleep(0.001)
        return busy, served

    busy, served = asyncio.run(main())
    assert busy == FOR_SPECULATION
    assert served == ["made", "made"]  # the one that got no thread is not in quarantine for it
    assert {preload.outcome for preload in ended} <= {PreloadOutcome.FAILED}
    assert "all 6 threads are busy, 6 of them with calls that were given up" in ended[-1].reason


def test_needs_whose_loaders_hang_leave_a_thread_to_other_kinds_and_to_saving(tmp_path):
    release = threading.Event()
    hanging, sound = ComponentRegistry(), ComponentRegistry()
    names = [f"hangs{number}" for number in range(THREADS)]
    for name in names:
        hanging.component(name, bytes=1, load_s=0.0)(lambda: release.wait(30))
    for number in range(3):
        sound.component(f"n{number}", bytes=1, load_s=0.0)(lambda: "made")

    async def main():
        executor = ThreadExecutor(max_threads=THREADS)
        settings = Settings(waste_budget=None, load_timeout_s=0.05, load_attempts=1, quarantine_after=1)
        manager = PreloadManager(
            {"remote": hanging.provider("remote"), "component": sound.provider()},
            settings=settings,
            executor=executor,
            state_dir=tmp_path,
        )
        async with manager:
            needs = [manager.get(f"remote:{name}") for name in names]
            reasons = [str(error) for error in await asyncio.gather(*needs, return_exceptions=True)]
            busy = executor.live
            served = [await manager.get(f"component:n{number}") for number in range(3)]
        release.set()
        while executor.live:
            await asyncio.sleep(0.001)
        return reasons, busy, served

    reasons, busy, served = asyncio.run(main())
    assert busy == FOR_ONE_KIND
    assert sum("took longer than 0.05 s" in reason for reason in reasons) == FOR_ONE_KIND
    assert sum("all 7 threads that kind 'remote' may have are busy" in reason for reason in reasons) == 1
    assert served == ["made"] * 3
    assert (tmp_path / "predictor").exists()


class Changing(Blocking):
    """Loads at once; whether a value is still true cannot be told before ``release`` is set."""

    immutable = False

    def __init__(self, release):
        super().__init__()
        self.release = release

    async def load(self, key):
        return Loaded(await self.executor.run(str, key), 1)

    async def unload(self, key, value):
        pass

    async def is_fresh(self, key, value):
        return await self.executor.run(self.release.wait, 30)

    def cost(self, key):
        return Cost(0.0, 1)

    def dependencies(self, key):
        return ()


def test_asking_whether_values_are_true_leaves_a_thread_to_other_kinds_when_it_hangs():
    release = threading.Event()
    sound = ComponentRegistry()
    sound.component("n", bytes=1, load_s=0.0)(lambda: "made")

    async def main():
        executor = ThreadExecutor(max_threads=THREADS)
        settings = Settings(waste_budget=None, load_timeout_s=0.05, load_attempts=1)
        providers = {"remote": Changing(release), "component": sound.provider()}
        async with PreloadManager(providers, settings=settings, executor=executor) as manager:
            await manager.get("remote:x")
            needs = [manager.get("remote:x") for _ in range(2 * THREADS)]
            await asyncio.gather(*needs, return_exceptions=True)
            busy = executor.live
            served = await manager.get("component:n")
        release.set()
        while executor.live:
            await asyncio.sleep(0.001)
        return busy, served

    assert asyncio.run(main()) == (FOR_ONE_KIND, "made")
