import asyncio
import socket
import threading

import pytest

from preloader.replay.clock import VirtualTimeError, VirtualTimeLoop, run_virtual


def test_a_month_of_sleeping_passes_at_once():
    async def sleep_a_month():
        loop = asyncio.get_running_loop()
        assert loop.time() == 0.0
        await asyncio.sleep(30 * 86_400)
        return loop.time()

    assert run_virtual(sleep_a_month()) == 30 * 86_400


def test_timers_fire_in_order_of_time_whatever_order_they_were_set_in():
    fired = []

    async def wait(seconds):
        await asyncio.sleep(seconds)
        fired.append((seconds, asyncio.get_running_loop().time()))

    async def main():
        await asyncio.gather(*(wait(seconds) for seconds in (3.0, 1.0, 2.0, 1.0, 0.5)))

    run_virtual(main())
    assert fired == [(0.5, 0.5), (1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_time_stands_still_while_something_is_ready():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: None)
        for _ in range(100):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(main()) == 0.0


def test_timeouts_are_virtual_too():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3_600


def test_small_steps_far_from_the_start_are_not_lost():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(86_400 * 365 * 10)
        for _ in range(1_000):
            await asyncio.sleep(0.001)
        for _ in range(1_000):
            await asyncio.sleep(1e-12)
        return loop.time()

    assert run_virtual(main()) == pytest.approx(86_400 * 365 * 10 + 1.0, abs=1e-3)


def test_waiting_for_what_cannot_happen_is_an_error_and_not_a_hang():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(VirtualTimeError, match="deadlock in virtual time"):
        run_virtual(main())


def test_a_thread_is_refused_by_name():
    def load_model():
        pytest.fail("the thread ran")

    async def main():
        await asyncio.to_thread(load_model)

    with pytest.raises(VirtualTimeError, match=r"load_model wants a thread"):
        run_virtual(main())


def test_a_descriptor_that_was_written_within_the_loop_wakes_its_reader():
    left, right = socket.socketpair()

    async def main():
        loop = asyncio.get_running_loop()
        read = asyncio.Event()
        loop.add_reader(left, read.set)
        loop.call_later(5.0, right.send, b"x")
        await read.wait()
        loop.remove_reader(left)
        return loop.time()

    with left, right:
        assert run_virtual(main()) == 5.0


def test_a_descriptor_that_nobody_will_write_is_an_error_and_not_a_hang():
    left, right = socket.socketpair()

    async def main():
        asyncio.get_running_loop().add_reader(left, lambda: None)
        await asyncio.Event().wait()

    with left, right, pytest.raises(VirtualTimeError):
        run_virtual(main())


def test_closing_leaves_no_descriptor_and_no_thread_behind():
    threads = threading.active_count()
    loop = VirtualTimeLoop()
    loop.run_until_complete(asyncio.sleep(1.0))
    loop.close()
    assert loop.is_closed()
    assert threading.active_count() == threads


def test_what_the_coroutine_raises_comes_out():
    async def main():
        await asyncio.sleep(1.0)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main())
