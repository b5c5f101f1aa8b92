"""What the cache keeps, for how long, for whom, and what it says of it. Virtual time."""

import asyncio

import pytest

from preloader.components import ComponentRegistry
from preloader.events import NeedOutcome, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Loaded
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction
from tests.unit.manager_scene import MB, Scene, costs, event, run


class Perishable(FakeProvider):
    """Gives some of its values a time to live."""

    def __init__(self, *args, ttl_s, **options):
        super().__init__(*args, **options)
        self.ttl_s = {f"component:{name}": seconds for name, seconds in ttl_s.items()}

    async def load(self, key):
        loaded = await super().load(key)
        return Loaded(loaded.value, loaded.bytes, self.ttl_s.get(key))


def test_a_value_is_served_until_its_time_to_live_is_over_and_never_after():
    provider = Perishable(costs("a"), ttl_s={"a": 10.0})
    scene = Scene(provider)

    async def script(manager):
        first = await manager.get("component:a")
        await asyncio.sleep(9.5)
        assert await manager.get("component:a") is first
        await asyncio.sleep(0.5)
        assert manager.statistics().residents == 0  # nor does it occupy anything
        second = await manager.get("component:a")
        assert second is not first
        await asyncio.sleep(5)
        assert await manager.get("component:a") is second  # the first one's end is not the second one's

    run(scene, script)
    assert scene.needs == [("a", outcome) for outcome in ("miss", "hit", "miss", "hit")]
    provider.assert_all_unloaded()


def test_a_value_whose_time_ends_while_it_is_in_use_is_unloaded_after_that():
    provider = Perishable(costs("a"), ttl_s={"a": 10.0})
    scene = Scene(provider)

    async def script(manager):
        async with manager.use("component:a") as old:
            await asyncio.sleep(20)
            assert old in provider.live
            assert await manager.get("component:a") is not old

    run(scene, script)
    provider.assert_all_unloaded()


def test_a_preload_whose_time_ends_unused_is_wasted_and_may_be_loaded_again():
    provider = Perishable(costs("a"), ttl_s={"a": 10.0})
    scene = Scene(provider, {"go": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(20)
        manager.observe(event("go"))
        await asyncio.sleep(2)
        await manager.get("component:a")

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.WASTED), ("a", PreloadOutcome.USED)]
    assert scene.reasons()[0] == "its time to live ended before it was used"


def test_a_time_to_live_that_is_none_is_an_error_of_the_provider():
    provider = Perishable(costs("a"), ttl_s={"a": 0.0})
    scene = Scene(provider, settings={"load_attempts": 1})

    async def script(manager):
        with pytest.raises(Exception, match=r"a ttl_s above 0 seconds, or None, not 0\.0"):
            await manager.get("component:a")

    run(scene, script)


def test_a_dependent_of_a_stale_dependency_is_stale():
    provider = FakeProvider(costs("base", "top"), {"component:top": ["component:base"]}, immutable=False)
    scene = Scene(provider)

    async def script(manager):
        old = await manager.get("component:top")
        provider.change("component:base")
        new = await manager.get("component:top")
        assert new is not old
        assert (await manager.get("component:base")).version == 1
        assert await manager.get("component:top") is new

    run(scene, script)
    assert scene.needs == [("top", "miss"), ("top", "miss"), ("base", "hit"), ("top", "hit")]
    provider.assert_all_unloaded()


def test_a_dependent_is_not_built_on_a_stale_dependency():
    provider = FakeProvider(costs("base", "top"), {"component:top": ["component:base"]}, immutable=False)
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:base")
        provider.change("component:base")
        await manager.get("component:top")
        assert [value.version for value in provider.loaded if value.key == "component:base"] == [0, 1]
        await manager.get("component:top")

    run(scene, script)
    assert scene.needs[-1] == ("top", NeedOutcome.HIT)
    provider.assert_all_unloaded()


def test_a_dependent_of_an_expired_dependency_is_stale():
    provider = Perishable(costs("base", "top"), {"component:top": ["component:base"]}, ttl_s={"base": 10.0})
    scene = Scene(provider)

    async def script(manager):
        await manager.get("component:top")
        await asyncio.sleep(5)
        await manager.get("component:top")
        await asyncio.sleep(10)
        await manager.get("component:top")

    run(scene, script)
    assert [outcome for _, outcome in scene.needs] == ["miss", "hit", "miss"]
    assert len([value for value in provider.loaded if value.key == "component:base"]) == 2
    provider.assert_all_unloaded()


def test_what_was_preloaded_is_speculative_until_its_first_use():
    provider = FakeProvider(costs("base", "top", "other"), {"component:top": ["component:base"]})
    scene = Scene(provider, {"go": [fake_prediction("component:top", 0.95)]})

    async def script(manager):
        await manager.get("component:other")
        manager.observe(event("go"))
        await asyncio.sleep(3)
        statistics = manager.statistics()
        assert (statistics.residents, statistics.speculative) == (3, 2)
        assert statistics.speculative_bytes == 200 * MB
        manager.end_session("u", "s")
        assert manager.statistics().speculative == 2  # written off, and unused all the same
        await manager.get("component:top")
        assert manager.statistics().speculative_bytes == 0

    run(scene, script)


def test_clear_of_a_user_takes_what_was_theirs_alone():
    provider = FakeProvider(costs("base", "top", "shared", "mine", "other"), {"component:top": ["component:base"]})
    scene = Scene(provider, {"go": [fake_prediction("component:mine", 0.95)]})

    async def script(manager):
        await manager.get("component:top", user="anna", session="1")
        await manager.get("component:shared", user="anna", session="1")
        await manager.get("component:shared", user="ben", session="1")
        await manager.get("component:other", user="ben", session="1")
        manager.observe(event("go", user="anna", session="2"))
        await asyncio.sleep(2)
        await manager.clear(user="anna", session="2")
        assert residents(manager) == ["base", "other", "shared", "top"]
        await manager.clear(user="anna")
        assert residents(manager) == ["other", "shared"]
        await manager.clear(user="nobody")
        with pytest.raises(ValueError, match="needs the user whose session it is"):
            await manager.clear(session="1")

    run(scene, script)
    assert scene.preloads == [("mine", PreloadOutcome.WASTED)]
    provider.assert_all_unloaded()


def test_clear_of_a_user_withdraws_what_is_queued_or_loading_for_them():
    provider = FakeProvider(costs("a", "b"))
    answers = {"go": [fake_prediction("component:a", 0.95)], "turn": [fake_prediction("component:b", 0.95)]}
    scene = Scene(provider, answers, settings={"tier_workers": (1, 1, 1)})

    async def script(manager):
        manager.observe(event("go", user="anna"))
        manager.observe(event("turn", user="ben"))
        await asyncio.sleep(0.5)
        await manager.clear(user="anna")
        await asyncio.sleep(3)
        assert residents(manager) == ["b"]

    run(scene, script)


def test_what_very_many_use_is_nobodys_alone():
    scene = Scene(FakeProvider(costs("a", "b")))

    async def script(manager):
        for number in range(20):
            await manager.get("component:a", user=f"user{number}", session="s")
            await manager.get("component:b", user="anna", session=f"session{number}")
        await manager.clear(user="user0")
        await manager.clear(user="anna", session="session19")
        assert residents(manager) == ["a", "b"]
        await manager.clear(user="anna")
        assert residents(manager) == ["a"]

    run(scene, script)


def test_a_components_priority_keeps_it_longer():
    registry = ComponentRegistry()
    registry.simulated("dear", bytes=100, load_s=1.0, priority=3.0)
    registry.simulated("plain", bytes=100, load_s=1.0)
    registry.simulated("new", bytes=100, load_s=1.0)
    expected = [fake_prediction("component:dear", 0.2), fake_prediction("component:plain", 0.4)]

    async def main():
        manager = PreloadManager(
            {"component": registry.provider()},
            predictor=FakePredictor({"go": expected}),
            settings=Settings(budget_bytes=200, policy="none"),
        )
        async with manager:
            await manager.get("component:plain")
            await manager.get("component:dear")
            manager.observe(event("go"))
            await manager.get("component:new")
            return residents(manager)

    assert run_virtual(main()) == ["dear", "new"]


def residents(manager):
    return sorted(entry.key.removeprefix("component:") for entry in manager._store.entries())
