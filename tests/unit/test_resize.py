"""A budget that changes while the manager runs: what goes, what may stay, and when. Virtual time."""

import asyncio
import logging

import pytest

from preloader.cache import LRUEviction
from preloader.events import NeedOutcome, PreloadOutcome
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import MB, Scene, costs, event, run


def test_a_smaller_budget_evicts_at_once_what_is_worth_least():
    scene = Scene(FakeProvider(costs("a", "b", "c")), {"turn": [fake_prediction("component:a", 0.2)]})

    async def script(manager):
        for name in "abc":
            await manager.get(f"component:{name}")
        manager.observe(event("turn"))
        manager.resize(150 * MB)
        statistics = manager.statistics()
        assert (statistics.residents, statistics.resident_bytes, statistics.budget_bytes) == (1, 100 * MB, 150 * MB)
        await manager.get("component:a")

    run(scene, script)
    assert scene.needs[-1] == ("a", NeedOutcome.HIT)
    assert scene.manager.statistics().counts["evictions"] == 2
    scene.provider.assert_all_unloaded()


def test_what_is_in_use_exceeds_a_smaller_budget_until_it_is_released():
    scene = Scene(FakeProvider(costs("a", "b", "c")))

    async def script(manager):
        async with manager.use("component:a") as a:
            async with manager.use("component:b"):
                manager.resize(100 * MB)
                assert manager.statistics().resident_bytes == 200 * MB
                async with manager.use("component:c"):  # served, and not stored
                    assert manager.statistics().resident_bytes == 200 * MB
                assert manager.statistics().counts["not_stored"] == 1
            assert manager.statistics().resident_bytes == 100 * MB
            manager.resize(50 * MB)
            assert a in scene.provider.live
        assert manager.statistics().residents == 0

    run(scene, script)
    scene.provider.assert_all_unloaded()


def test_a_dependency_goes_after_its_dependent_when_the_budget_shrinks():
    provider = FakeProvider(costs("base", "top"), {"component:top": ["component:base"]})
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:top")
        manager.resize(50 * MB)
        await asyncio.sleep(1)
        assert manager.statistics().residents == 0

    run(scene, script)
    assert [value.key for value in provider.unloaded] == ["component:top", "component:base"]


def test_a_load_that_is_under_way_keeps_the_room_that_it_was_promised():
    scene = Scene(FakeProvider(costs("a", "b")), settings={"budget_bytes": 200 * MB})

    async def script(manager):
        await manager.get("component:a")
        loading = asyncio.create_task(manager.get("component:b"))
        await asyncio.sleep(0.5)
        manager.resize(100 * MB)
        assert manager.statistics().residents == 0
        await loading
        assert manager.statistics().resident_bytes == 100 * MB

    run(scene, script)


def test_a_preload_that_a_smaller_budget_evicts_is_wasted_and_a_larger_one_takes_more():
    scene = Scene(
        FakeProvider(costs("a", "b")),
        {"go": [fake_prediction("component:a", 0.95)]},
        settings={"budget_bytes": 100 * MB},
    )

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(2)
        manager.resize(1)
        manager.resize(200 * MB)
        await manager.get("component:a")
        await manager.get("component:b")
        assert manager.statistics().residents == 2

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.WASTED)]
    assert scene.reasons() == ["evicted unused, for a smaller budget"]


def test_a_budget_of_nothing_is_refused():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        with pytest.raises(ValueError, match="a budget must be at least 1 byte, not 0"):
            manager.resize(0)

    run(scene, script)


class Raising(LRUEviction):
    name = "raising"

    def victims(self, bytes_needed, pinned, predictions, candidate=None):
        raise ZeroDivisionError


def test_a_policy_that_fails_while_the_budget_shrinks_harms_nobody(caplog):
    caplog.set_level(logging.CRITICAL, "preloader")
    scene = Scene(FakeProvider(costs("a")), eviction=Raising())

    async def script(manager):
        async with manager.use("component:a"):
            manager.resize(1)
        assert manager.statistics().counts["eviction_errors"] == 1

    run(scene, script)
    scene.provider.assert_all_unloaded()
