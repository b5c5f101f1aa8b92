"""What the manager keeps, on virtual time: budget, eviction, dependencies, and values that became stale."""

import asyncio

from preloader.events import NeedOutcome, Preload, PreloadOutcome
from preloader.testing import FakeProvider, fake_prediction
from tests.unit.manager_scene import MB, Scene, costs, event, run


def test_what_is_in_use_is_never_evicted():
    scene = Scene(FakeProvider(costs("a", "b", "c")), settings={"budget_bytes": 200 * MB})

    async def script(manager):
        async with manager.use("component:a") as value:
            await manager.get("component:b")
            await manager.get("component:c")
            await asyncio.sleep(1)
            assert value in scene.provider.live
        await manager.get("component:a")

    run(scene, script)
    assert scene.needs[-1] == ("a", NeedOutcome.HIT)


def test_the_budget_is_never_exceeded_and_a_need_that_does_not_fit_is_served_all_the_same():
    scene = Scene(FakeProvider(costs("a", "b") | costs("huge", size=900 * MB)), settings={"budget_bytes": 200 * MB})

    async def script(manager):
        await manager.get("component:a")
        value = await manager.get("component:huge")
        assert value.key == "component:huge"
        assert manager.statistics().resident_bytes <= 200 * MB
        assert manager.statistics().counts["not_stored"] == 1
        async with manager.use("component:huge"):
            pass

    run(scene, script)
    assert len([value for value in scene.provider.unloaded if value.key == "component:huge"]) == 1


def test_eviction_ends_an_unused_preload_as_wasted():
    scene = Scene(
        FakeProvider(costs("a", "b", "c")),
        {"wake": [fake_prediction("component:a", 0.95)], "turn": [fake_prediction("component:a", 0.2)]},
        settings={"budget_bytes": 200 * MB},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(2)
        manager.observe(event("turn"))
        await manager.get("component:b")
        async with manager.use("component:b"):
            await manager.get("component:c")

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.WASTED)]
    assert scene.reasons() == ["evicted unused, for component:c"]


def test_dependencies_load_first_are_shared_and_outlive_nobody():
    provider = FakeProvider(
        costs("base", "left", "right"),
        {"component:left": ["component:base"], "component:right": ["component:base"]},
    )
    scene = Scene(provider)

    async def script(manager):
        await asyncio.gather(manager.get("component:left"), manager.get("component:right"))
        assert provider.started.count("component:base") == 1
        assert provider.started[0] == "component:base"

    run(scene, script)
    provider.assert_all_unloaded()
    assert provider.unloaded[-1].key == "component:base"


def test_a_dependency_is_not_evicted_before_its_dependent():
    provider = FakeProvider(costs("base", "top", "x", "y"), {"component:top": ["component:base"]})
    scene = Scene(provider, settings={"budget_bytes": 300 * MB})

    async def script(manager):
        await manager.get("component:top")
        await manager.get("component:x")
        await manager.get("component:y")
        unloaded = [value.key for value in provider.unloaded]
        assert "component:base" not in unloaded or "component:top" in unloaded

    run(scene, script)
    provider.assert_all_unloaded()


def test_a_used_preload_counts_its_dependencies_bytes():
    provider = FakeProvider(costs("base", "top"), {"component:top": ["component:base"]})
    scene = Scene(provider, {"wake": [fake_prediction("component:top", 0.95)]})

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(3)
        await manager.get("component:top")

    run(scene, script)
    (preload,) = [ended for ended in scene.ended if isinstance(ended, Preload)]
    assert (preload.outcome, preload.bytes) == (PreloadOutcome.USED, 200 * MB)


def test_a_stale_value_is_never_served():
    provider = FakeProvider(costs("a"), immutable=False)
    scene = Scene(provider, {"wake": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(2)
        provider.change("component:a")
        assert (await manager.get("component:a")).version == 1

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.WASTED)]
    assert scene.reasons() == ["stale before it was used"]
    assert scene.needs == [("a", NeedOutcome.MISS)]


def test_a_stale_value_in_use_is_unloaded_only_after_its_last_use():
    provider = FakeProvider(costs("a"), immutable=False)
    scene = Scene(provider)

    async def script(manager):
        async with manager.use("component:a") as old:
            provider.change("component:a")
            new = await manager.get("component:a")
            assert new is not old
            await asyncio.sleep(1)
            assert old in provider.live
        await asyncio.sleep(1)
        assert old not in provider.live

    run(scene, script)
    provider.assert_all_unloaded()


def test_clear_empties_the_store_but_not_what_is_in_use():
    scene = Scene(FakeProvider(costs("a", "b")))

    async def script(manager):
        await manager.get("component:b")
        async with manager.use("component:a"):
            await manager.clear()
            assert manager.statistics().residents == 1
        await manager.clear()
        assert manager.statistics().residents == 0

    run(scene, script)
    scene.provider.assert_all_unloaded()
