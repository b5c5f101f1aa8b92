"""What happens when two things happen at once: joins, withdrawals, dependencies, staleness. Virtual time."""

import asyncio

import pytest

from preloader.errors import ClosedError
from preloader.events import NeedOutcome, Preload, PreloadOutcome
from preloader.replay.clock import run_virtual
from preloader.testing import FakeProvider
from tests.unit.race_scene import Growing, Scene, costs, manager_count, sure


def test_a_queued_preload_that_became_ready_as_a_dependency_is_not_loaded_again():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t"), sure("b", 0.94)]}, settings={"tier_workers": (1, 1, 1), "loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5)
        await manager.get("component:b")

    scene.run(script)
    assert provider.started == ["component:b", "component:t"]
    assert ("b", PreloadOutcome.DROPPED, "ready already, as a dependency") in scene.preloads()
    provider.assert_all_unloaded()


def test_a_preload_that_is_loading_as_a_dependency_is_not_loaded_beside_it():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")], "on": [sure("t"), sure("b")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        scene.observe("on")
        await asyncio.sleep(5)

    scene.run(script)
    assert provider.started.count("component:b") == 1
    assert ("b", PreloadOutcome.DROPPED, "loading already, as a dependency") in scene.preloads()


def test_a_withdrawn_preload_leaves_its_load_to_the_need_that_waits_for_it():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("b")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        need = asyncio.create_task(manager.get("component:t"))
        await asyncio.sleep(0.1)
        manager.end_session("u", "s")
        assert (await need).key == "component:t"

    scene.run(script)
    assert scene.preloads() == [("b", PreloadOutcome.WASTED, "unused at session end")]
    assert provider.started == ["component:b", "component:t"]
    provider.assert_all_unloaded()


def test_a_dependency_loads_with_one_loader_and_a_need_takes_it_from_speculation():
    provider = FakeProvider(costs("b", "t", "x", seconds=10.0), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("x")]}, settings={"loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(1)
        await manager.get("component:t")
        assert asyncio.get_running_loop().time() == pytest.approx(21.0)

    scene.run(script)
    assert scene.preloads() == [("x", PreloadOutcome.WASTED, "cancelled in flight: a need took its slot")]


def test_a_preempted_dependency_ends_the_preload_that_waited_for_it():
    provider = FakeProvider(costs("b", "t", "x", seconds=10.0), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")]}, settings={"loaders": 1})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(1)
        await manager.get("component:x")
        assert asyncio.get_running_loop().time() == pytest.approx(11.0)

    scene.run(script)
    assert scene.preloads() == [("t", PreloadOutcome.WASTED, "cancelled in flight: a need took its slot")]
    provider.assert_all_unloaded()


def test_what_a_need_has_joined_is_used_even_if_its_session_ends_meanwhile():
    scene = Scene(FakeProvider(costs("a")), {"go": [sure("a")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.1)
        manager.end_session("u", "s")
        await need

    scene.run(script)
    assert scene.preloads() == [("a", PreloadOutcome.USED, "joined in flight")]


def test_what_turns_out_not_to_fit_is_used_if_joined_and_wasted_if_not():
    provider = Growing(costs("a", "b"))
    scene = Scene(provider, {"go": [sure("a"), sure("b")]}, settings={"budget_bytes": 500})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(0.5)
        await manager.get("component:a")
        await asyncio.sleep(1)

    scene.run(script)
    assert sorted(scene.preloads()) == [
        ("a", PreloadOutcome.USED, "joined in flight"),
        ("b", PreloadOutcome.WASTED, "larger than expected: it did not fit"),
    ]
    assert [value.key for value in provider.live] == ["component:a"]  # handed over for good


def test_a_dependency_that_was_needed_by_itself_is_not_counted_as_its_dependents_waste():
    provider = FakeProvider(costs("b", "t"), {"component:t": ["component:b"]})
    scene = Scene(provider, {"go": [sure("t")]})

    async def script(manager):
        scene.observe("go")
        await asyncio.sleep(5)
        await manager.get("component:b")
        manager.end_session("u", "s")

    scene.run(script)
    (preload,) = [end for end in scene.ended if isinstance(end, Preload)]
    assert (preload.outcome, preload.bytes) == (PreloadOutcome.WASTED, 100)


class SlowToTell(FakeProvider):
    """Takes a second to say whether a value is fresh; the first time it never says."""

    def __init__(self, *args, hangs=0, **options):
        super().__init__(*args, immutable=False, **options)
        self.hangs = hangs

    async def is_fresh(self, key, value):
        self.hangs -= 1
        await asyncio.sleep(1e6 if self.hangs >= 0 else 1.0)
        return await super().is_fresh(key, value)


def test_two_needs_that_find_one_value_stale_load_once():
    provider = SlowToTell(costs("a", seconds=0.1))
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:a")
        first = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.5)
        provider.change("component:a")
        second = asyncio.create_task(manager.get("component:a"))  # finds out after the first one has loaded anew
        assert await first is await second

    scene.run(script)
    assert len(provider.started) == 2
    assert scene.needs() == [("a", NeedOutcome.MISS), ("a", NeedOutcome.MISS), ("a", NeedOutcome.HIT)]
    provider.assert_all_unloaded()


def test_a_freshness_check_that_hangs_counts_as_stale():
    provider = SlowToTell(costs("a"), hangs=1)
    scene = Scene(provider, settings={"load_timeout_s": 5.0})

    async def script(manager):
        await manager.get("component:a")
        await manager.get("component:a")
        assert asyncio.get_running_loop().time() == pytest.approx(1.0 + 5.0 + 1.0)

    scene.run(script)
    assert manager_count(scene, "freshness_errors") == 1


def test_a_need_that_is_cancelled_while_freshness_is_checked_is_counted_and_pins_nothing():
    provider = SlowToTell(costs("a"))
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:a")
        need = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(0.5)
        need.cancel()
        await asyncio.wait([need])
        await manager.clear()
        assert manager.statistics().residents == 0

    scene.run(script)
    assert len(scene.needs()) == 2


@pytest.mark.parametrize("is_stale", [True, False])
def test_a_freshness_check_that_outlives_the_manager_starts_nothing_and_leaks_nothing(is_stale):
    provider = SlowToTell(costs("a"))
    scene = Scene(provider)

    async def main():
        async with scene.manager as manager:
            await manager.get("component:a")
            need = asyncio.create_task(manager.get("component:a"))
            await asyncio.sleep(0.5)
            if is_stale:
                provider.change("component:a")
        if is_stale:
            with pytest.raises(ClosedError):
                await need
        else:
            await need
        await asyncio.sleep(1)

    run_virtual(main())
    assert len(provider.started) == 1
    provider.assert_all_unloaded()
