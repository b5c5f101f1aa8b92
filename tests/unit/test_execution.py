import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest

from preloader.errors import ClosedError, LoadError
from preloader.scheduling import execution
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor

EXECUTORS = [ThreadExecutor, InlineExecutor]


@pytest.fixture(params=EXECUTORS)
def executor(request):
    return request.param()


async def settled(executor):
    """Wait until no call of ``executor`` is alive."""
    while executor.live:
        await asyncio.sleep(0.001)


def test_returns_what_the_function_returns(executor):
    assert asyncio.run(executor.run(divmod, 7, 2)) == (3, 1)


def test_raises_what_the_function_raises(executor):
    error = ValueError("broken")

    def fail():
        raise error

    with pytest.raises(ValueError, match="broken") as caught:
        asyncio.run(executor.run(fail))
    assert caught.value is error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), StopIteration(1), asyncio.CancelledError()])
def test_what_would_stop_the_loop_comes_as_a_load_error(executor, error):
    def fail():
        raise error

    async def main():
        with pytest.raises(LoadError, match=f"raised {type(error).__name__}") as caught:
            await executor.run(fail)
        assert caught.value.__cause__ is error
        return await executor.run(lambda: "the loop lives")

    assert asyncio.run(main()) == "the loop lives"


def test_ctrl_c_on_a_thread_is_the_loaders_doing():
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(LoadError, match="KeyboardInterrupt"):
        asyncio.run(ThreadExecutor().run(fail))


def test_ctrl_c_on_the_loop_passes_through():
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(InlineExecutor().run(fail))


def test_a_closed_executor_takes_no_work(executor):
    async def main():
        await executor.aclose()
        await executor.aclose()
        with pytest.raises(ClosedError):
            await executor.run(int)

    asyncio.run(main())


def test_context_variables_are_the_callers(executor):
    variable = contextvars.ContextVar("variable", default="unset")

    async def main():
        variable.set("the caller's")
        return await executor.run(variable.get)

    assert asyncio.run(main()) == "the caller's"


def test_cancelling_returns_while_the_function_still_runs():
    executor, release = ThreadExecutor(), threading.Event()

    async def main():
        call = asyncio.create_task(executor.run(release.wait))
        await asyncio.sleep(0)
        assert (executor.live, executor.abandoned) == (1, 0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (executor.live, executor.abandoned) == (1, 1)
        release.set()
        await settled(executor)
        assert executor.abandoned == 0

    asyncio.run(main())


def test_a_call_that_ended_just_before_its_caller_left_is_not_abandoned():
    executor = ThreadExecutor()

    async def main():
        call = asyncio.create_task(executor.run(int))
        await asyncio.sleep(0)
        while executor.live:
            threading.Event().wait(0.001)  # holds the loop up, so that the result waits in its queue
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    asyncio.run(main())
    assert (executor.live, executor.abandoned) == (0, 0)


def test_an_error_after_cancellation_disturbs_nobody():
    executor, release = ThreadExecutor(), threading.Event()

    def fail_late():
        release.wait()
        raise OSError("too late")

    async def main():
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))
        call = asyncio.create_task(executor.run(fail_late))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        release.set()
        await settled(executor)
        await asyncio.sleep(0)
        return reported

    assert asyncio.run(main()) == []


def test_a_bound_on_threads_counts_the_abandoned_ones():
    executor, release = ThreadExecutor(max_threads=2), threading.Event()

    async def main():
        calls = [asyncio.create_task(executor.run(release.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        with pytest.raises(LoadError, match=r"all 2 threads are busy, 1 of them .* given up"):
            await executor.run(int)
        release.set()
        await calls[1]
        await settled(executor)
        assert await executor.run(int) == 0

    asyncio.run(main())


def test_a_thread_that_cannot_start_is_one_clear_error(monkeypatch):
    executor = ThreadExecutor()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LoadError, match="grants no thread"):
        asyncio.run(executor.run(int))
    assert executor.live == 0


def test_one_executor_serves_loops_in_turn():
    executor = ThreadExecutor()
    assert [asyncio.run(executor.run(len, "ab")) for _ in range(2)] == [2, 2]


def test_a_loop_closed_before_its_thread_ends_stays_silent(capfd):
    executor, release = ThreadExecutor(), threading.Event()

    async def main():
        call = asyncio.create_task(executor.run(release.wait))
        await asyncio.sleep(0)
        call.cancel()

    asyncio.run(main())
    release.set()
    asyncio.run(settled(executor))
    assert capfd.readouterr() == ("", "")


def test_a_hung_call_does_not_keep_the_interpreter_from_exiting():
    program = """
import asyncio, threading
from preloader.scheduling.execution import ThreadExecutor
async def main():
    call = asyncio.create_task(ThreadExecutor().run(threading.Event().wait))
    await asyncio.sleep(0)
    call.cancel()
asyncio.run(main())
print("done")
"""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, env=os.environ)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


async def threads_end(before):
    while set(threading.enumerate()) - before:
        await asyncio.sleep(0.001)


def test_a_thread_whose_call_has_ended_takes_the_next_one():
    async def script():
        executor = ThreadExecutor()
        first = await executor.run(threading.get_ident)
        while not executor._parked:
            await asyncio.sleep(0.001)
        assert await executor.run(threading.get_ident) == first
        await executor.aclose()

    asyncio.run(script())


def test_calls_at_once_have_threads_of_their_own_of_which_few_wait_afterwards():
    async def script():
        before = set(threading.enumerate())
        executor = ThreadExecutor()
        together = threading.Barrier(10)
        await asyncio.gather(*(executor.run(together.wait, 20) for _ in range(10)))
        while len(set(threading.enumerate()) - before) > 4:
            await asyncio.sleep(0.001)
        await executor.aclose()
        await threads_end(before)

    asyncio.run(script())


def test_a_thread_that_waits_keeps_nothing_of_its_last_call_alive():
    class Value:
        pass

    async def script():
        executor = ThreadExecutor()
        held = weakref.ref(await executor.run(Value))
        while not executor._parked:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        gc.collect()
        assert held() is None
        await executor.aclose()

    asyncio.run(script())


def test_a_thread_that_nobody_wants_ends(monkeypatch):
    monkeypatch.setattr(execution, "_PARKED_S", 0.01)

    async def script():
        before = set(threading.enumerate())
        executor = ThreadExecutor()
        await executor.run(int)
        await threads_end(before)
        assert executor._parked == []
        assert await executor.run(int) == 0
        await executor.aclose()

    asyncio.run(script())
