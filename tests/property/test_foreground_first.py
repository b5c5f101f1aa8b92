"""A need never waits longer for speculation than it would without: random graphs, needs and guesses, virtual time.

The one step that nothing interrupts is a loader's own, from one ``await`` to the next: here it takes no time. Needs
that compete with each other may change places, so each is compared alone, or where no loads compete, or all at once.
"""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.decision import NoPreload
from preloader.events import Event
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction

EPSILON_S = 1e-6
keys = [f"component:{name}" for name in "abcdefgh"]
pauses = st.sampled_from([0.0, 0.1, 0.7, 1.5, 4.0])
guesses = st.dictionaries(st.sampled_from(keys), st.sampled_from([0.4, 0.75, 0.95, 1.0]), max_size=6)


@st.composite
def graphs(draw):
    return {
        key: draw(st.lists(st.sampled_from(keys[:at]), unique=True, max_size=3)) if at else []
        for at, key in enumerate(keys)
    }


@st.composite
def worlds(draw):
    seconds = {key: draw(st.sampled_from([0.0, 0.3, 1.0, 2.5])) for key in keys}
    script = draw(st.lists(st.tuples(pauses, guesses, pauses, st.sampled_from(keys)), min_size=1, max_size=6))
    return draw(graphs()), seconds, script


def manager_of(graph, seconds, loaders, *, speculative):
    provider = FakeProvider({key: Cost(seconds[key], 1) for key in keys}, graph)
    return PreloadManager(
        {"component": provider},
        predictor=FakePredictor(lambda context, steps: guessed(context)),
        policy=None if speculative else NoPreload(),
        settings=Settings(loaders=loaders, waste_budget=None),
    )


def guessed(context):
    told = context.recent[-1].context["guesses"].split()
    return [fake_prediction(told[at], float(told[at + 1])) for at in range(0, len(told), 2)]


def observe(manager, expected):
    told = " ".join(f"{key} {p}" for key, p in expected.items())
    manager.observe(Event(user="u", session="s", time_s=0.0, action="go", context={"guesses": told}))


async def waits(manager, script):
    """Return how long each need waited, one after another."""
    loop, waited = asyncio.get_running_loop(), []
    async with manager:
        for before_s, expected, after_s, key in script:
            await asyncio.sleep(before_s)
            observe(manager, expected)
            await asyncio.sleep(after_s)
            asked_s = loop.time()
            await manager.get(key)
            waited.append(loop.time() - asked_s)
    return waited


async def ends(manager, script):
    """Return when each need was served, asked for whether the others were served or not."""
    loop, tasks, served = asyncio.get_running_loop(), [], {}

    async def need(at, key):
        await manager.get(key)
        served[at] = loop.time()

    async with manager:
        for at, (before_s, expected, after_s, key) in enumerate(script):
            await asyncio.sleep(before_s)
            observe(manager, expected)
            await asyncio.sleep(after_s)
            tasks.append(asyncio.create_task(need(at, key)))
        await asyncio.gather(*tasks)
    return [served[at] for at in range(len(script))]


def both(world, loaders, play):
    graph, seconds, script = world
    return [
        run_virtual(play(manager_of(graph, seconds, loaders, speculative=speculative), script))
        for speculative in (True, False)
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(worlds(), st.sampled_from([1, 2, None]))
def test_a_need_alone_waits_no_longer_than_without_speculation(world, loaders):
    with_, without = both(world, loaders, waits)
    assert all(one <= other + EPSILON_S for one, other in zip(with_, without, strict=True)), (with_, without)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(worlds())
def test_where_loads_do_not_compete_no_need_waits_longer(world):
    with_, without = both(world, None, ends)
    assert all(one <= other + EPSILON_S for one, other in zip(with_, without, strict=True)), (with_, without)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(worlds())
@example(({key: [] for key in keys}, dict.fromkeys(keys, 1.0), [(0.0, {keys[0]: 1.0}, 0.5, keys[0])]))
def test_with_one_loader_all_needs_together_are_served_no_later(world):
    with_, without = both(world, 1, ends)
    assert max(with_) <= max(without) + EPSILON_S, (with_, without)


def test_a_preload_that_lost_its_need_is_preempted_like_any_other():
    provider = FakeProvider({"component:a": Cost(10.0, 1), "component:b": Cost(1.0, 1)})
    manager = PreloadManager(
        {"component": provider},
        predictor=FakePredictor({"go": [fake_prediction("component:a", 0.95)]}),
        settings=Settings(loaders=1, waste_budget=None),
    )

    async def main():
        async with manager:
            manager.observe(Event(user="u", session="s", time_s=0.0, action="go"))
            await asyncio.sleep(1)
            given_up = asyncio.create_task(manager.get("component:a"))
            await asyncio.sleep(1)
            given_up.cancel()
            await asyncio.sleep(1)
            asked_s = asyncio.get_running_loop().time()
            await manager.get("component:b")
            assert asyncio.get_running_loop().time() - asked_s <= 1.0 + EPSILON_S

    run_virtual(main())


@pytest.mark.parametrize("turns", range(8))
def test_a_need_that_joins_what_has_just_lost_a_dependency_is_served_all_the_same(turns):
    provider = FakeProvider(
        {"component:d": Cost(5.0, 1), "component:t": Cost(1.0, 1), "component:x": Cost(1.0, 1)},
        {"component:t": ["component:d"]},
    )
    manager = PreloadManager(
        {"component": provider},
        predictor=FakePredictor({"go": [fake_prediction("component:t", 0.95)]}),
        settings=Settings(loaders=1, waste_budget=None),
    )

    async def main():
        async with manager:
            manager.observe(Event(user="u", session="s", time_s=0.0, action="go"))
            await asyncio.sleep(1)
            first = asyncio.create_task(manager.get("component:x"))  # takes the slot of d, for which t waits
            for _ in range(turns):
                await asyncio.sleep(0)
            assert (await manager.get("component:t")).key == "component:t"
            await first

    run_virtual(main())
