"""Sources of memory pressure that fail or hang: the watching goes on, and the level does not fall because of them."""

import asyncio
import threading
import time

import pytest

from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.scheduling.pressure import Pressure, Reading, SimulatedPressure
from preloader.scheduling.pressure_gauge import HOLD_S, READ_TIMEOUT_S, Gauge, readable
from preloader.scheduling.pressure_monitor import PressureMonitor
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import Scene, costs, event, run

LOW, MEDIUM, HIGH, CRITICAL, EMERGENCY = Pressure
OPTIONS = {"interval_s": 1.0, "calm_s": 2.0, "used": (0.8, 0.9, 0.95, 0.98), "stalled": (0.1, 0.25, 0.5, 0.75)}


class Source(SimulatedPressure):
    """Says what it is told, fails while ``is_broken``, and is read off the loop."""

    is_blocking = True

    def __init__(self, name, used):
        super().__init__(Reading(used=used))
        self.name = name
        self.is_broken = False
        self.reads = 0

    def read(self):
        self.reads += 1
        if self.is_broken:
            raise OSError("gone")
        return super().read()


class HangingExecutor(InlineExecutor):
    """Has calls wait, in virtual time, while ``hangs``; ``let_go`` ends them, as their threads would."""

    def __init__(self):
        super().__init__()
        self.hangs = False
        self.hung = []

    async def run(self, function, *args):
        if self.hangs:
            self.hung.append(function)
            await asyncio.Event().wait()
        return await super().run(function, *args)

    def let_go(self):
        while self.hung:
            self.hung.pop()()


def monitor_of(*sources, executor=None, told=None):
    def respond(level, before):
        if told is not None:
            told.append((asyncio.get_running_loop().time(), level))

    return PressureMonitor(sources, executor or InlineExecutor(), respond=respond, **OPTIONS)


async def looks(monitor, seconds):
    """Look once a second, and return the levels."""
    levels = []
    for _ in range(int(seconds)):
        levels.append(await monitor.look())
        await asyncio.sleep(1.0)
    return levels


def test_one_source_of_two_that_fails_does_not_let_the_level_fall_for_a_minute():
    async def main():
        tight, roomy = Source("tight", 0.96), Source("roomy", 0.1)
        monitor = monitor_of(tight, roomy)
        assert await looks(monitor, 1) == [CRITICAL]
        tight.is_broken = True
        assert set(await looks(monitor, HOLD_S - 1)) == {CRITICAL}
        statistics = monitor.statistics()
        assert statistics.held == {"tight": Reading(used=0.96)}
        assert (set(statistics.readings), statistics.errors) == ({"roomy"}, HOLD_S - 1)
        levels = await looks(monitor, 10)
        assert levels == [CRITICAL] * 2 + [LOW] * 8  # after calm_s more
        assert monitor.statistics().held == {}

    run_virtual(main())


def test_a_source_that_comes_back_says_itself_again():
    async def main():
        tight, roomy = Source("tight", 0.96), Source("roomy", 0.1)
        monitor = monitor_of(tight, roomy)
        await looks(monitor, 1)
        tight.is_broken = True
        await looks(monitor, 5)
        tight.is_broken, tight.reading = False, Reading(used=0.2)
        assert await looks(monitor, 4) == [CRITICAL] * 2 + [LOW] * 2
        assert monitor.statistics().held == {}

    run_virtual(main())


def test_what_failed_from_the_first_holds_nothing():
    async def main():
        broken, roomy = Source("broken", 0.99), Source("roomy", 0.85)
        broken.is_broken = True
        monitor = monitor_of(broken, roomy)
        assert await looks(monitor, 3) == [MEDIUM] * 3

    run_virtual(main())


def test_a_source_that_hangs_is_given_up_once_counted_and_read_again_when_that_has_ended(caplog):
    async def main():
        source, executor, told = Source("slow", 0.92), HangingExecutor(), []
        loud = SimulatedPressure(Reading(used=0.1))
        monitor = monitor_of(source, loud, executor=executor, told=told)
        watching = asyncio.create_task(monitor.run())
        await asyncio.sleep(0.1)
        executor.hangs = True
        await asyncio.sleep(5.0)
        statistics = monitor.statistics()
        assert statistics.hangs == 1 == len(executor.hung)  # no thread more is sent after the one that hangs
        assert statistics.errors > 1
        assert {level for _, level in told} == {HIGH}
        assert told[-1][0] - told[0][0] > 4.0  # the watching goes on
        loud.reading = Reading(used=0.99)
        await asyncio.sleep(0.3)
        assert monitor.level is EMERGENCY
        executor.hangs = False
        source.reading = Reading(used=0.5)
        loud.reading = Reading()
        executor.let_go()
        await asyncio.sleep(5.0)
        assert monitor.statistics().readings["slow"] == Reading(used=0.5)
        assert monitor.level is LOW
        watching.cancel()

    run_virtual(main())
    assert [record.levelname for record in caplog.records if "hangs" in record.message] == ["WARNING"]


def test_a_look_waits_for_a_source_that_hangs_no_longer_than_its_limit():
    async def main():
        executor = HangingExecutor()
        monitor = monitor_of(Source("one", 0.1), executor=executor)
        executor.hangs = True
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        await monitor.look()
        assert loop.time() - before_s == READ_TIMEOUT_S
        await monitor.look()
        assert loop.time() - before_s == READ_TIMEOUT_S

    run_virtual(main())


def test_a_timeout_of_the_sources_own_is_a_failure_and_no_hang():
    class Late(Source):
        def read(self):
            raise TimeoutError("the system took too long")

    async def main():
        gauge = Gauge(Late("late", 0.1), InlineExecutor())
        await gauge.look()
        await gauge.look()
        assert (gauge.errors, gauge.hangs) == (2, 0)

    run_virtual(main())


def test_being_cancelled_while_a_source_hangs_ends_the_watching():
    async def main():
        executor = HangingExecutor()
        executor.hangs = True
        watching = asyncio.create_task(monitor_of(Source("one", 0.1), executor=executor).run())
        await asyncio.sleep(0.5)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    run_virtual(main())


def test_what_cannot_be_read_at_first_is_left_out_and_what_hangs_is_not():
    class Stuck(Source):
        pass

    class Executor(HangingExecutor):
        async def run(self, function, *args):
            self.hangs = isinstance(function._read.__self__, Stuck)
            return await super().run(function, *args)

    async def main():
        broken, stuck, sound = Source("broken", 0.1), Stuck("stuck", 0.1), Source("sound", 0.1)
        broken.is_broken = True
        assert await readable([broken, stuck, sound], Executor()) == [stuck, sound]

    run_virtual(main())


def test_a_thread_that_really_hangs_leaves_the_loop_and_the_other_sources_alone():
    class Hanging(Source):
        def read(self):
            gate.wait(30)
            return super().read()

    async def main():
        executor = ThreadExecutor()
        hanging, sound = Gauge(Hanging("hanging", 0.1), executor), Gauge(Source("sound", 0.92), executor)
        await asyncio.gather(hanging.look(), sound.look())
        assert (hanging.reading, sound.reading) == (None, Reading(used=0.92))
        assert executor.abandoned == 1
        gate.set()
        deadline = time.monotonic() + 20.0
        while executor.abandoned and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await hanging.look()
        assert hanging.reading == Reading(used=0.1)
        await executor.aclose()

    gate = threading.Event()
    asyncio.run(main())


def test_a_manager_sheds_on_another_source_while_one_hangs_and_restores_afterwards():
    executor, stuck, told = HangingExecutor(), Source("stuck", 0.1), SimulatedPressure()
    options = {"pressure_calm_s": 2.0, "pressure_interval_s": 1.0}
    scene = Scene(
        FakeProvider(costs("a", seconds=0.5)),
        {"x": [fake_prediction("component:a", 0.95)]},
        settings=options,
        executor=executor,
        pressure_sources=[stuck, told],
    )

    async def script(manager):
        await asyncio.sleep(0.5)
        executor.hangs = True
        manager.observe(event("x"))
        await asyncio.sleep(3.0)
        assert manager.statistics().speculative == 1
        told.reading = Reading(used=0.96)
        await asyncio.sleep(1.5)
        assert (manager.pressure, manager.statistics().speculative) == (CRITICAL, 0)
        assert manager.statistics().pressure.hangs == 1
        told.reading = Reading(used=0.1)
        await asyncio.sleep(4.0)
        assert manager.pressure is LOW
        executor.hangs = False
        assert (await manager.get("component:a")) is not None

    run(scene, script)
