"""A storm of cancellations: each value that a thread makes reaches its caller or is released, and never both."""

import asyncio
import random
import threading
import time

import pytest

from preloader.components.blocking import make_or_release
from preloader.scheduling.execution import ThreadExecutor

CALLS = 400
AT_ONCE = 20


@pytest.mark.parametrize("seed", range(3))
def test_no_value_is_lost_or_given_twice(seed):
    rng = random.Random(seed)
    lock, made, released, received = threading.Lock(), [], [], []
    executor = ThreadExecutor(max_threads=CALLS)

    def make(number, work_s):
        time.sleep(work_s)
        with lock:
            made.append(number)
        return number

    def release(number):
        with lock:
            released.append(number)

    async def call(number):
        work_s, patience_s = rng.choice((0.0, 0.001, 0.002)), rng.choice((0.0, 0.0005, 0.001, 0.002, 1.0))
        try:
            async with asyncio.timeout(patience_s):
                received.append(await make_or_release(executor, lambda: make(number, work_s), release))
        except TimeoutError:
            pass

    async def main():
        for first in range(0, CALLS, AT_ONCE):
            await asyncio.gather(*map(call, range(first, first + AT_ONCE)))
        while executor.live:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert sorted(received + released) == sorted(made)
    assert received
    assert released
    assert (executor.live, executor.abandoned) == (0, 0)
