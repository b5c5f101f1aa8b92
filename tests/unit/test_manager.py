"""The manager's behaviour, on virtual time: what is served, what is loaded when, and how each preload ends."""

import asyncio
import threading

import pytest

from preloader.errors import ClosedError, ConfigurationError, UnknownResourceError
from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome, Tier
from preloader.manager import PreloadManager
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction
from tests.unit.manager_scene import Scene, costs, event, run


def test_a_miss_is_loaded_once_and_then_hit():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        first = await manager.get("component:a")
        assert await manager.get("component:a") is first

    run(scene, script)
    assert scene.needs == [("a", NeedOutcome.MISS), ("a", NeedOutcome.HIT)]
    assert scene.provider.started == ["component:a"]
    scene.provider.assert_all_unloaded()


def test_a_prediction_is_loaded_ahead_and_hit():
    scene = Scene(FakeProvider(costs("a")), {"wake": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        (decision,) = manager.observe(event("wake"))
        assert decision.tier is Tier.IMMEDIATE
        assert decision.reason == "P(next) 0.95 > 0.9: immediate"
        await asyncio.sleep(2)
        await manager.get("component:a", user="u", session="s")

    run(scene, script)
    assert scene.needs == [("a", NeedOutcome.HIT)]
    assert scene.preloads == [("a", PreloadOutcome.USED)]


def test_a_need_joins_the_preload_in_flight_and_waits_only_for_the_rest():
    scene = Scene(FakeProvider(costs("a", seconds=3.0)), {"wake": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        await manager.get("component:a")

    run(scene, script)
    (need,) = [ended for ended in scene.ended if isinstance(ended, Need)]
    assert need.outcome is NeedOutcome.LATE_HIT
    assert need.waited_s == pytest.approx(2.0)
    assert scene.preloads == [("a", PreloadOutcome.USED)]
    assert scene.provider.started == ["component:a"]


def test_concurrent_needs_share_one_load():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        values = await asyncio.gather(*(manager.get("component:a") for _ in range(5)))
        assert len(set(map(id, values))) == 1

    run(scene, script)
    assert scene.provider.started == ["component:a"]
    assert [outcome for _, outcome in scene.needs].count(NeedOutcome.MISS) == 1


def test_a_preload_that_session_end_finds_unused_is_wasted_but_stays_ready():
    scene = Scene(FakeProvider(costs("a")), {"wake": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(2)
        manager.end_session("u", "s")
        assert scene.preloads == [("a", PreloadOutcome.WASTED)]
        await manager.get("component:a")

    run(scene, script)
    assert scene.needs == [("a", NeedOutcome.HIT)]
    assert scene.preloads == [("a", PreloadOutcome.WASTED)]


def test_a_prediction_that_turns_out_wrong_is_cancelled_in_flight():
    scene = Scene(
        FakeProvider(costs("a", "b", seconds=5.0)),
        {"wake": [fake_prediction("component:a", 0.95)], "turn": [fake_prediction("component:b", 0.95)]},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        manager.observe(event("turn"))
        await asyncio.sleep(0.1)
        assert scene.provider.cancelled == ["component:a"]
        assert scene.preloads == [("a", PreloadOutcome.WASTED)]
        assert scene.reasons() == ["cancelled in flight: no longer expected"]

    run(scene, script)


def test_a_prediction_that_turns_out_wrong_leaves_the_queue():
    names = [f"n{i}" for i in range(5)]
    scene = Scene(
        FakeProvider(costs(*names, seconds=5.0)),
        {"wake": [fake_prediction(f"component:{name}", 0.95) for name in names], "turn": []},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        assert manager.statistics().tiers["immediate"].loading == 3
        assert manager.statistics().tiers["immediate"].queued == 2
        manager.observe(event("turn"))
        await asyncio.sleep(0.1)
        assert manager.statistics().tiers["immediate"].queued == 0

    run(scene, script)
    outcomes = [outcome for _, outcome in scene.preloads]
    assert outcomes.count(PreloadOutcome.DROPPED) == 2
    assert outcomes.count(PreloadOutcome.WASTED) == 3


def test_a_prediction_that_comes_true_earlier_is_promoted():
    scene = Scene(
        FakeProvider(costs("busy", "a", seconds=5.0)),
        {
            "wake": [fake_prediction("component:busy", 0.95), fake_prediction("component:a", 0.1, 0.1, 0.3)],
            "turn": [fake_prediction("component:a", 0.95), fake_prediction("component:busy", 0.2)],
        },
        settings={"tier_workers": (1, 1, 1), "loaders": 1},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        assert manager.statistics().tiers["background"].queued == 1
        manager.observe(event("turn"))
        tiers = manager.statistics().tiers
        assert (tiers["immediate"].queued, tiers["background"].queued) == (1, 0)
        await asyncio.sleep(20)
        await manager.get("component:a")

    run(scene, script)
    assert ("a", PreloadOutcome.USED) in scene.preloads
    assert [key for key, _ in scene.preloads].count("a") == 1


def test_a_need_takes_the_only_loader_from_speculation():
    scene = Scene(
        FakeProvider(costs("a", "b", seconds=10.0)),
        {"wake": [fake_prediction("component:a", 0.95)]},
        settings={"loaders": 1},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        await manager.get("component:b")

    run(scene, script)
    (need,) = [ended for ended in scene.ended if isinstance(ended, Need)]
    assert need.waited_s == pytest.approx(10.0)
    assert scene.reasons() == ["cancelled in flight: a need took its slot"]


def test_a_joined_preload_is_not_preempted():
    scene = Scene(
        FakeProvider(costs("a", "b", seconds=10.0)),
        {"wake": [fake_prediction("component:a", 0.95)]},
        settings={"loaders": 1},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        joined = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(1)
        await asyncio.gather(joined, manager.get("component:b"))

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.USED)]
    assert {need.key: round(need.waited_s) for need in scene.ended if isinstance(need, Need)} == {
        "component:a": 9,
        "component:b": 18,
    }


def test_a_need_for_what_is_still_queued_loads_it_and_drops_the_preload():
    names = [f"n{i}" for i in range(4)]
    scene = Scene(FakeProvider(costs(*names)), {"wake": [fake_prediction(f"component:{name}", 0.95) for name in names]})

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(0.1)
        await manager.get("component:n3")

    run(scene, script)
    assert scene.needs == [("n3", NeedOutcome.MISS)]
    assert ("n3", PreloadOutcome.DROPPED) in scene.preloads


def test_a_cancelled_need_cancels_the_load_that_nobody_else_waits_for():
    scene = Scene(FakeProvider(costs("a", seconds=10.0)))

    async def script(manager):
        task = asyncio.create_task(manager.get("component:a"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.1)
        assert scene.provider.cancelled == ["component:a"]

    run(scene, script)
    assert scene.needs == [("a", NeedOutcome.MISS)]


def test_a_cancelled_need_leaves_the_load_to_the_others():
    scene = Scene(FakeProvider(costs("a", seconds=10.0)))

    async def script(manager):
        first, second = (asyncio.create_task(manager.get("component:a")) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        assert (await second).key == "component:a"

    run(scene, script)
    assert scene.provider.cancelled == []


def test_leaving_the_block_ends_everything_and_lets_the_callers_error_through():
    names = [f"n{i}" for i in range(8)]
    scene = Scene(
        FakeProvider(costs(*names, seconds=5.0)),
        {"wake": [fake_prediction(f"component:{name}", 0.95) for name in names]},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(7)
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        run(scene, script)
    assert len(scene.preloads) == 8
    assert scene.manager.statistics().ledger.open_preloads == 0
    scene.provider.assert_all_unloaded()
    with pytest.raises(ClosedError):
        scene.manager.observe(event("wake"))


def test_no_task_is_left_running():
    async def main():
        scene = Scene(FakeProvider(costs("a", seconds=5.0)), {"wake": [fake_prediction("component:a", 0.95)]})
        async with scene.manager as manager:
            manager.observe(event("wake"))
            await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


def test_unknown_resources_and_kinds_are_refused_by_name():
    scene = Scene(FakeProvider(costs("a")))

    async def script(manager):
        with pytest.raises(UnknownResourceError, match="component:nope"):
            await manager.get("component:nope")
        with pytest.raises(UnknownResourceError, match="no provider for 'file:x': the kinds with one are component"):
            await manager.get("file:x")

    run(scene, script)


@pytest.mark.parametrize("kinds", [{}, {"Component": None}, {"a:b": None}])
def test_providers_must_be_given_by_kind(kinds):
    with pytest.raises(ConfigurationError):
        PreloadManager(kinds, predictor=FakePredictor({}))


def test_hints_from_other_threads_are_loaded_and_expire():
    provider = FakeProvider(costs("a", "b", seconds=0.0))
    ended = []

    async def main():
        async with PreloadManager(
            {"component": provider},
            predictor=FakePredictor({}),
            settings=Settings(waste_budget=None),
            listeners=[ended.append],
        ) as manager:
            thread = threading.Thread(
                target=lambda: (manager.hint("component:a", 0.95), manager.hint("component:b", 0.95, ttl_s=0.05))
            )
            thread.start()
            await asyncio.to_thread(thread.join)
            while len(provider.loaded) < 2:
                await asyncio.sleep(0.001)
            await manager.get("component:a")
            await asyncio.sleep(0.1)

    asyncio.run(main())
    outcomes = {preload.key: (preload.outcome, preload.reason) for preload in ended if isinstance(preload, Preload)}
    assert outcomes == {
        "component:a": (PreloadOutcome.USED, "used"),
        "component:b": (PreloadOutcome.WASTED, "expired unused"),
    }


def test_hints_are_refused_where_they_make_no_sense():
    scene = Scene(FakeProvider(costs("a")))
    assert scene.manager.hint("component:a", 0.5) is False

    async def script(manager):
        with pytest.raises(ValueError, match="probability"):
            manager.hint("component:a", 1.5)
        with pytest.raises(ValueError, match="steps"):
            manager.hint("component:a", 0.5, 0)
        assert manager.hint("file:x", 0.95) is True
        assert manager.hint("component:nope", 0.95) is True
        await asyncio.sleep(1)

    run(scene, script)
    assert scene.manager.statistics().counts["hints_unknown"] == 1
    assert scene.preloads == [("nope", PreloadOutcome.DROPPED)]


def test_leaving_right_after_a_load_was_started_hangs_nothing():
    scene = Scene(FakeProvider(costs("a")), {"wake": [fake_prediction("component:a", 0.95)]})

    async def script(manager):
        manager.observe(event("wake"))

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.DROPPED)]
    assert scene.provider.started == []
