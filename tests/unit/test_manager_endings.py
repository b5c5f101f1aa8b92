"""What is under way when a manager, a hint or a load ends: shutdown, unloading, late hints. Virtual time."""

import asyncio

import pytest

from preloader.errors import ClosedError, LoadError
from preloader.events import Event, NeedOutcome, PreloadOutcome
from preloader.replay.clock import run_virtual
from preloader.testing import FakeProvider
from tests.unit.race_scene import Scene, costs, manager_count, sure


def test_what_is_in_use_at_shutdown_is_unloaded_with_its_last_use():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider)

    async def main():
        async def hold():
            async with scene.manager.use("component:t"):
                await asyncio.sleep(100)
                assert len(provider.live) == 2

        async with scene.manager:
            holder = asyncio.create_task(hold())
            await asyncio.sleep(5)
        assert len(provider.live) == 2
        await holder
        assert [value.key[-1] for value in provider.unloaded] == ["t", "b"]

    run_virtual(main())


class SlowToUnload(FakeProvider):
    async def unload(self, key, value):
        await asyncio.sleep(1)
        await super().unload(key, value)


def test_a_dependency_is_unloaded_only_when_its_dependent_has_been():
    provider = SlowToUnload(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:t")
        before_s = asyncio.get_running_loop().time()
        await manager.clear()
        assert asyncio.get_running_loop().time() - before_s == pytest.approx(2.0)
        assert [value.key[-1] for value in provider.unloaded] == ["t", "b"]

    scene.run(script)


class Unloadable(FakeProvider):
    def __init__(self, *args, how):
        super().__init__(*args)
        self.how = how

    async def unload(self, key, value):
        await super().unload(key, value)
        if isinstance(self.how, BaseException):
            raise self.how
        while True:  # ignores being cancelled, for an hour
            try:
                await asyncio.sleep(3_600)
                return
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize("how", [OSError("x"), SystemExit(1), asyncio.CancelledError(), "hangs"])
def test_an_unload_that_goes_wrong_is_counted_and_holds_nothing_up(how):
    scene = Scene(Unloadable(costs("a"), how=how))

    async def script(manager):
        await manager.get("component:a")
        await manager.clear()
        assert manager_count(scene, "unload_errors") == 1
        await manager.get("component:a")

    scene.run(script)
    assert manager_count(scene, "unload_errors") == 2


def test_a_need_that_waits_at_shutdown_is_told():
    scene = Scene(FakeProvider(costs("a", seconds=100.0)))

    async def main():
        async with scene.manager as manager:
            need = asyncio.create_task(manager.get("component:a"))
            await asyncio.sleep(1)
        with pytest.raises(LoadError, match="shutdown"):
            await need

    run_virtual(main())
    assert scene.needs() == [("a", NeedOutcome.MISS)]


def test_a_hint_on_its_way_at_shutdown_opens_nothing():
    scene = Scene(FakeProvider(costs("a", seconds=100.0)))

    async def script(manager):
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(1)
        manager.hint("component:b", 0.95)
        need.cancel()

    scene.run(script)
    assert scene.preloads() == []
    assert scene.manager.statistics().ledger.open_preloads == 0


def test_a_hint_writes_off_only_what_it_started():
    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(2)
        manager.hint("component:a", 0.95, ttl_s=1.0)
        await asyncio.sleep(5)
        await manager.get("component:a")

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "used")]


def test_the_timer_of_a_hint_ends_with_its_preload():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        manager.hint("component:a", 0.95, ttl_s=1e6)
        await asyncio.sleep(2)
        timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        assert len(timers) == 1
        await manager.get("component:a")
        assert timers[0].cancelled()

    scene.run(script)


def test_a_hint_belongs_to_no_session_not_even_one_without_a_name():
    scene = Scene(FakeProvider(costs("a", seconds=5.0)))

    async def script(manager):
        manager.hint("component:a", 0.95)
        await asyncio.sleep(1)
        manager.observe(Event(user="", session="", time_s=0.0, action="go"))
        manager.end_session("", "")
        await asyncio.sleep(10)
        await manager.get("component:a")

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "used")]


def test_a_manager_runs_once():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        with pytest.raises(ClosedError, match="entered before"):
            await manager.__aenter__()
        await manager.get("component:a")

    scene.run(script)
    with pytest.raises(ClosedError, match="entered before"):
        scene.run(script)
