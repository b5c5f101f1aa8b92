"""Random graphs of components, loaded by the real manager on the virtual clock: how long it takes, against the bounds.

List scheduling ends within 2 − 1/m of max(critical path, total ÷ m) (Graham 1969); with the longest remaining path
first it comes within 1.25 of it on graphs of a hundred components and more.
"""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preloader.components.registry import ComponentRegistry
from preloader.manager import PreloadManager
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor

SLACK = 1 + 1e-6  # timers on the virtual clock are due within 1 µs


def registry_of(requires, seconds):
    """A registry whose last component requires, in the end, all the others."""
    registry = ComponentRegistry()
    for name, needed in requires.items():
        registry.simulated(name, bytes=1, load_s=seconds[name], requires=needed)
    required = {each for needed in requires.values() for each in needed}
    registry.simulated("all", bytes=1, load_s=0.0, requires=[name for name in requires if name not in required])
    return registry


def loaded_in_s(registry, workers):
    """Load everything with the real manager; return how long that took, and what it counted."""

    async def main():
        loop = asyncio.get_running_loop()
        async with PreloadManager(
            {"component": registry.provider()},
            predictor=FakePredictor({}),
            settings=Settings(loaders=workers, load_timeout_s=1e9, retry_wait_s=0.0),
            executor=InlineExecutor(),
        ) as manager:
            began_s = loop.time()
            await manager.get("component:all")
            took_s = loop.time() - began_s
            assert manager.statistics().residents == len(registry)
            return took_s

    return run_virtual(main())


def check(requires, seconds, workers, factor):
    registry = registry_of(requires, seconds)
    plan = registry.graph().plan(["all"], workers=workers)
    most_s = factor * plan.bound_s * SLACK + 1e-5 * len(registry)
    assert plan.bound_s <= plan.makespan_s * SLACK
    assert plan.makespan_s <= most_s
    assert loaded_in_s(registry, workers) <= most_s
    return plan


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 60) | st.sampled_from([200, 500, 2_000]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    fan, reach = draw(st.integers(0, 4)), draw(st.sampled_from([1, 5, 10_000]))
    names = [f"n{number}" for number in range(count)]
    requires = {
        name: sorted({names[rng.randrange(max(0, at - reach), at)] for _ in range(rng.randint(0, fan))} if at else ())
        for at, name in enumerate(names)
    }
    longest = draw(st.sampled_from([0.0, 1.0, 1_000.0]))
    return requires, {name: rng.choice([0.0, 1.0, rng.random(), longest]) for name in names}


@given(graphs(), st.integers(1, 16))
@settings(deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_any_graph_loads_within_grahams_bound(graph, workers):
    check(*graph, workers, 2 - 1 / workers)


def layered(rng, count):
    """Layers that require a few of the layer before: bases, models, skills, assistants."""
    width = max(2, round(count**0.5))
    names = [f"n{at}" for at in range(count)]
    return {
        name: rng.sample(names[max(0, at - at % width - width) : at - at % width], rng.randint(1, min(3, width)))
        if at >= width
        else []
        for at, name in enumerate(names)
    }


def shared_bases(rng, count):
    """A tenth are bases; each of the others requires some of them, and now and then another one."""
    bases = count // 10
    requires = {f"n{at}": [] for at in range(bases)}
    for at in range(bases, count):
        others = [f"n{rng.randrange(bases, at)}"] if at > bases and rng.random() < 0.3 else []
        requires[f"n{at}"] = [f"n{base}" for base in rng.sample(range(bases), rng.randint(1, 3))] + others
    return requires


def chains(rng, count):
    """Chains side by side, of very different lengths."""
    requires = {}
    while len(requires) < count:
        length = min(rng.randint(1, max(2, count // 8)), count - len(requires))
        first = len(requires)
        requires |= {f"n{at}": [f"n{at - 1}"] if at > first else [] for at in range(first, first + length)}
    return requires


def scattered(rng, count):
    """Anything may require up to three of what was before it."""
    return {
        f"n{at}": sorted({f"n{rng.randrange(at)}" for _ in range(rng.randint(0, min(3, at)))}) for at in range(count)
    }


SHAPES = (layered, shared_bases, chains, scattered)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize(("count", "workers"), [(100, 2), (100, 4), (300, 3), (300, 8), (1_000, 4), (2_000, 16)])
def test_seeded_graphs_of_a_hundred_components_and_more_load_within_a_quarter_of_the_bound(shape, count, workers):
    rng = random.Random(f"{shape.__name__} {count} {workers}")
    requires = shape(rng, count)
    check(requires, {name: rng.lognormvariate(0.0, 1.0) for name in requires}, workers, 1.25)


def test_with_workers_enough_it_takes_as_long_as_the_critical_path():
    rng = random.Random(7)
    requires = layered(rng, 400)
    seconds = {name: rng.uniform(0.1, 2.0) for name in requires}
    plan = check(requires, seconds, 400, 1.0)
    assert len(plan.stages) == 21
    assert sum(seconds.get(name, 0.0) for name in plan.critical_path) == pytest.approx(plan.critical_path_s)


def test_one_worker_is_never_idle():
    rng = random.Random(8)
    requires = scattered(rng, 150)
    plan = check(requires, {name: rng.random() for name in requires}, 1, 1.0)
    assert plan.makespan_s == pytest.approx(plan.total_s)


def test_a_chain_of_two_thousand_is_loaded_and_unloaded():
    requires = {f"n{at}": [f"n{at - 1}"] if at else [] for at in range(2_000)}
    check(requires, dict.fromkeys(requires, 0.5), 4, 1.0)
