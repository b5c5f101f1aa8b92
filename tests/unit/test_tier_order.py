"""What leaves a tier first, how many of it load, what never starts, and what is said about that. Virtual time."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.events import Decision, Preload, PreloadOutcome, Tier
from preloader.ports import Cost
from preloader.scheduling.drops import Drops
from preloader.scheduling.pressure import Pressure
from preloader.scheduling.tiers import Tiers, by_density, by_urgency
from preloader.scheduling.workers import STEP_S, Workers
from preloader.telemetry import OpenPreload
from preloader.testing import FakeProvider, fake_prediction
from tests.property.preload_sample import ended
from tests.unit.manager_scene import Scene, costs, event, run


def preload(key, probability=0.5, seconds=1.0, bytes_=100, steps=1, queued_s=0.0):
    decision = Decision(key, Tier.DELAYED, probability, steps, "test")
    return OpenPreload(decision, Tier.DELAYED, ("u", "s"), queued_s, Cost(seconds, bytes_))


def tiers(rest=(3, 3, 3), most=(6, 6, 6), cpu=lambda: 0.0):
    return Tiers((10, 20, 50), (2.0, 10.0, 60.0), Workers(rest, most, cpu))


def keys(queue):
    return [one.key for one in queue]


@pytest.mark.parametrize("order", [by_urgency, by_density])
@given(st.floats(0.01, 1.0), st.floats(0.1, 10.0), st.integers(1, 100), st.floats(1.5, 4.0))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_cheap_goes_before_the_dear_of_equal_worth(order, p, seconds, bytes_, factor):
    cheap = preload("cheap", p, seconds, bytes_)
    dear = preload("dear", p, seconds, round(bytes_ * factor) + 1)
    assert order(cheap) < order(dear)
    if order is by_urgency:
        assert order(preload("quick", p, seconds, bytes_)) < order(preload("slow", p, seconds * factor, bytes_))


def test_under_pressure_what_saves_most_for_its_bytes_goes_first_and_afterwards_the_nearest_again():
    held = tiers()
    for one in (preload("near", 0.9, 1.0, 100), preload("dense", 0.6, 4.0, 50), preload("far", 0.95, 2.0, 10, steps=2)):
        held.push(one)
    assert keys(held) == ["near", "dense", "far"]
    assert held.restrain(Pressure.HIGH) == []
    assert keys(held) == ["far", "dense", "near"]
    held.restrain(Pressure.LOW)
    held.adapt(0.0)
    assert keys(held) == ["near", "dense", "far"]


def test_a_tier_whose_oldest_has_waited_long_goes_by_density_until_that_is_over():
    held = tiers()
    old, dense = preload("old", 0.9, 1.0, 100), preload("dense", 0.6, 4.0, 50, queued_s=9.0)
    held.push(old)
    held.push(dense)
    held.adapt(9.5)
    assert keys(held) == ["old", "dense"]
    held.adapt(10.5)
    assert keys(held) == ["dense", "old"]
    held.remove(old)
    held.push(preload("near", 0.9, 1.0, 100, queued_s=11.0))
    held.adapt(12.0)
    assert keys(held) == ["near", "dense"]


def grown(workers, steps, queued=20, age_s=99.0):
    for at in range(steps):
        workers.adapt(Tier.DELAYED, at * STEP_S, queued, age_s, 10.0)
    return workers.count(Tier.DELAYED)


def test_workers_grow_one_at_a_time_with_an_old_queue_and_go_back_when_it_is_empty():
    workers = Workers((3, 3, 3), (6, 5, 6), lambda: 0.0)
    assert grown(workers, 1) == 4
    workers.adapt(Tier.DELAYED, 0.1, 20, 99.0, 10.0)
    assert workers.count(Tier.DELAYED) == 4
    assert grown(workers, 9) == 5
    for at in range(9):
        workers.adapt(Tier.DELAYED, 100 + at * STEP_S, 0, 0.0, 10.0)
    assert workers.count(Tier.DELAYED) == 3


def test_workers_follow_measured_load_times():
    workers = Workers((1, 1, 1), (9, 9, 9), lambda: 0.0)
    assert grown(workers, 9, age_s=0.0) == 1
    for _ in range(20):
        workers.took(Tier.DELAYED, 2.0)
    assert grown(workers, 20, age_s=0.0) == 4  # 20 loads of 2 s within 10 s


@pytest.mark.parametrize(("cpu", "count"), [(0.5, 6), (0.8, 3), (0.99, 1)])
def test_busy_processors_take_workers_away_and_half_busy_ones_add_none(cpu, count):
    assert grown(Workers((3, 3, 3), (6, 6, 6), lambda: cpu), 9) == count


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 200), st.floats(0, 2), st.floats(0, 100)), max_size=60),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_workers_stay_within_their_bounds(steps, rest, most):
    busy = 0.0
    workers = Workers(rest, most, lambda: busy)
    for at, (queued, age_s, cpu, load_s) in enumerate(steps):
        busy = cpu
        for tier in Tier:
            workers.took(tier, load_s)
            workers.adapt(tier, at * 0.3, queued, age_s, 10.0)
            assert 1 <= workers.count(tier) <= max(rest[tier], most[tier])


def test_a_manager_gives_a_tier_that_waits_more_workers():
    names = [f"n{at}" for at in range(8)]
    scene = Scene(
        FakeProvider(costs(*names, seconds=20.0)),
        {"go": [fake_prediction(f"component:{name}", 0.95) for name in names]},
        cpu_load=lambda: 0.0,
    )

    async def script(manager):
        manager.observe(event("go"))
        await asyncio.sleep(1)
        assert manager.statistics().tiers["immediate"].loading == 3
        await asyncio.sleep(5)
        assert manager.statistics().tiers["immediate"].loading == 6

    run(scene, script)


def hinted(provider, script, **options):
    scene = Scene(provider, settings={"tier_workers": (1, 1, 1), "most_tier_workers": (1, 1, 1), **options})
    run(scene, script)
    return [(one.key[-1], one.outcome, one.reason) for one in scene.ended if isinstance(one, Preload)]


def test_what_cannot_be_ready_before_its_deadline_is_not_started():
    provider = FakeProvider(costs("a", "b", seconds=3.0))

    async def script(manager):
        manager.hint("component:a", 0.95, ttl_s=10.0)
        manager.hint("component:b", 0.95, ttl_s=5.0)
        await asyncio.sleep(20)
        assert manager.statistics().drops == {"immediate": {"cannot be ready before its deadline": 1}}

    assert hinted(provider, script) == [
        ("b", PreloadOutcome.DROPPED, "cannot be ready before its deadline"),
        ("a", PreloadOutcome.WASTED, "expired unused"),
    ]
    assert provider.started == ["component:a"]


def test_a_deadline_ends_what_still_waits():
    async def script(manager):
        manager.hint("component:a", 0.95, ttl_s=100.0)
        manager.hint("component:b", 0.95, ttl_s=5.0)
        await asyncio.sleep(6)
        assert manager.statistics().tiers["immediate"].queued == 0

    ends = hinted(FakeProvider(costs("a", "b", seconds=8.0)), script)
    assert ends[0] == ("b", PreloadOutcome.DROPPED, "expired unused")


def test_a_hint_that_is_repeated_lives_longer_and_never_shorter():
    async def script(manager):
        manager.hint("component:a", 0.95, ttl_s=5.0)
        await asyncio.sleep(4)
        manager.hint("component:a", 0.95, ttl_s=5.0)
        manager.hint("component:a", 0.95, ttl_s=2.0)
        await asyncio.sleep(4)
        assert manager.statistics().ledger.open_preloads == 1
        await asyncio.sleep(2)
        assert manager.statistics().ledger.open_preloads == 0

    hinted(FakeProvider(costs("a")), script)


def test_drops_are_counted_by_few_reasons_and_the_latest_are_kept():
    drops = Drops()
    for at in range(500):
        drops.note(ended(f"fake:{at}", PreloadOutcome.DROPPED), f"reason {at}")
    counts = drops.by_tier()["immediate"]
    assert len(counts) == 65
    assert counts["other"] == 436
    assert [drop.key for drop in drops.recent()] == [f"fake:{at}" for at in range(436, 500)]


def test_what_is_unknown_is_dropped_under_one_reason():
    async def script(manager):
        manager.hint("component:nope", 0.95)
        manager.hint("component:neither", 0.95)
        await asyncio.sleep(1)
        assert manager.statistics().drops == {"immediate": {"no such resource": 2}}

    hinted(FakeProvider(costs("a")), script)
