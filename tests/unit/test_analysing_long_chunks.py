"""Long chunks are analysed off the loop, in order, and a cancelled one leaves nothing behind."""

import asyncio
import threading

import pytest

from preloader.errors import BusyError
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.workspace.stream import INLINE, StreamAnalyzer

LONG = "".join(f"see src/f{number}.py and\n" for number in range(12_000))
assert len(LONG) > 3 * INLINE


class Gate:
    """An executor that runs nothing before it is opened, and notes what it was given."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.given = 0
        self.threads = ThreadExecutor()

    async def run(self, function, *args):
        self.given += 1
        await self.opened.wait()
        return await self.threads.run(function, *args)

    async def aclose(self):
        await self.threads.aclose()


def texts(mentions):
    return [one.text for one in mentions]


@pytest.mark.parametrize("make", [ThreadExecutor, InlineExecutor, lambda: None])
@pytest.mark.parametrize("encode", [str, str.encode])
def test_a_long_chunk_names_what_it_does_at_once(make, encode):
    async def body():
        executor = make()
        analyzer = StreamAnalyzer(executor)
        mentions = await analyzer.analyse(encode("é" + LONG), "tool_output")
        mentions += await analyzer.analyse("src/last.py", "tool_output", last=True)
        if executor:
            await executor.aclose()
        return mentions

    assert asyncio.run(body()) == StreamAnalyzer().feed("é" + LONG + "src/last.py", "tool_output", last=True)


def test_the_loop_goes_on_meanwhile_and_the_work_is_on_other_threads():
    async def body():
        seen = set()

        class Watched(ThreadExecutor):
            async def run(self, function, *args):
                def watched(*given):
                    seen.add(threading.get_ident())
                    return function(*given)

                return await super().run(watched, *args)

        executor = Watched()
        work = asyncio.create_task(StreamAnalyzer(executor).analyse(LONG, "tool_output"))
        turns = 0
        while not work.done():
            turns += 1
            await asyncio.sleep(0)
        await executor.aclose()
        assert turns > 1
        assert seen
        assert threading.get_ident() not in seen

    asyncio.run(body())


def test_chunks_of_one_stream_keep_their_order():
    async def body():
        gate = Gate()
        analyzer = StreamAnalyzer(gate)
        first = asyncio.create_task(analyzer.analyse(LONG + "src/sp", "tool_output"))
        await asyncio.sleep(0)
        second = asyncio.create_task(analyzer.analyse("lit.py ", "tool_output"))
        third = asyncio.create_task(analyzer.analyse("src/end.py", "tool_output", last=True))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            analyzer.feed("x", "tool_output")
        assert texts(analyzer.feed("src/other.py ", "assistant")) == ["src/other.py"]
        gate.opened.set()
        found = await asyncio.gather(first, second, third)
        await gate.aclose()
        return [texts(mentions)[-1] for mentions in found], texts(analyzer.feed("src/new.py ", "tool_output"))

    assert asyncio.run(body()) == (["src/f11999.py", "src/split.py", "src/end.py"], ["src/new.py"])


def test_a_cancelled_chunk_is_dropped_whole():
    async def body():
        gate = Gate()
        analyzer = StreamAnalyzer(gate)
        analyzer.feed("src/begun", "tool_output")
        work = asyncio.create_task(analyzer.analyse(LONG, "tool_output"))
        while not gate.given:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(analyzer.analyse("src/waiting.py ", "tool_output"))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        gate.opened.set()
        assert texts(await waiting) == ["src/waiting.py"]
        assert texts(analyzer.feed("src/new.py ", "tool_output")) == ["src/new.py"]
        await gate.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(body())


def test_a_waiting_chunk_can_be_cancelled_without_harm():
    async def body():
        gate = Gate()
        analyzer = StreamAnalyzer(gate)
        work = asyncio.create_task(analyzer.analyse(LONG + "src/sp", "tool_output"))
        while not gate.given:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(analyzer.analyse("src/never.py ", "tool_output"))
        await asyncio.sleep(0)
        waiting.cancel()
        gate.opened.set()
        assert texts(await work)[-1] == "src/f11999.py"
        assert texts(analyzer.feed("lit.py ", "tool_output")) == ["src/split.py"]
        await gate.aclose()

    asyncio.run(body())


def test_what_is_forgotten_meanwhile_names_nothing():
    async def body():
        gate = Gate()
        analyzer = StreamAnalyzer(gate)
        work = asyncio.create_task(analyzer.analyse(LONG + "src/sp", "tool_output"))
        while not gate.given:
            await asyncio.sleep(0)
        analyzer.forget()
        gate.opened.set()
        assert await work == []
        assert texts(analyzer.feed("lit/a.py ", "tool_output")) == ["lit/a.py"]
        await gate.aclose()

    asyncio.run(body())


def test_what_the_executor_refuses_reaches_the_caller_and_the_stream_is_not_stuck():
    async def body():
        executor = ThreadExecutor()
        await executor.aclose()
        analyzer = StreamAnalyzer(executor)
        with pytest.raises(Exception, match="closed"):
            await analyzer.analyse(LONG, "tool_output")
        assert texts(analyzer.feed("src/a.py ", "tool_output")) == ["src/a.py"]

    asyncio.run(body())
