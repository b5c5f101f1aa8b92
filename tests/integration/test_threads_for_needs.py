"""Loaders that hang ahead of a need leave it a thread: a real manager, registry and executor."""

import asyncio
import threading

from preloader.components import ComponentRegistry
from preloader.events import Preload, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.scheduling.execution import ThreadExecutor
from preloader.settings import Settings

THREADS = 8
FOR_SPECULATION = 6


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
