"""Declared costs that are wrong are corrected by what loading shows; exact ones stay as they are."""

import asyncio
import random

import pytest

from preloader.components.learned import LearnedCosts
from preloader.components.registry import ComponentRegistry
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor


def registry_that_takes(factor, size_factor, count=20):
    """Components whose loaders take ``factor`` times what is declared, and occupy ``size_factor`` times that."""
    registry = ComponentRegistry()
    for at in range(count):
        add(registry, f"n{at}", 1.0 + at, 1_000 * (at + 1), factor, size_factor)
    return registry


def add(registry, name, load_s, size, factor, size_factor):
    @registry.component(name, bytes=size, load_s=load_s)
    async def load():
        await asyncio.sleep(load_s * factor)
        return Loaded(name, round(size * size_factor))


def loads(provider, names):
    async def main():
        for name in names:
            await provider.load(f"component:{name}")

    run_virtual(main())


def test_what_was_loaded_is_expected_to_cost_that_again():
    provider = registry_that_takes(3.0, 0.5).provider(executor=InlineExecutor())
    loads(provider, ["n4"])
    cost = provider.cost("component:n4")
    assert cost.bytes == 2_500
    assert cost.seconds == pytest.approx(15.0)


def test_what_was_never_loaded_is_corrected_by_its_like():
    provider = registry_that_takes(3.0, 0.5).provider(executor=InlineExecutor())
    errors = []
    for at in range(12):
        errors.append(abs(provider.cost("component:n19").seconds - 60.0))
        loads(provider, [f"n{at}"])
    assert errors == sorted(errors, reverse=True)
    cost = provider.cost("component:n19")
    assert cost.seconds == pytest.approx(60.0, rel=0.25)
    assert cost.bytes == pytest.approx(10_000, rel=0.15)


def test_one_sort_of_loader_says_nothing_of_another():
    registry = registry_that_takes(3.0, 0.5)
    registry.simulated("simulated", bytes=777, load_s=0.1)
    provider = registry.provider(executor=InlineExecutor())
    loads(provider, [f"n{at}" for at in range(10)])
    assert provider.cost("component:simulated") == Cost(0.1, 777)


def test_exact_declarations_stay_exactly_as_they_are():
    rng = random.Random(3)
    registry, declared = ComponentRegistry(), {}
    for at in range(50):
        declared[f"n{at}"] = Cost(rng.uniform(0.01, 9.0), rng.randrange(10**9))
        registry.simulated(f"n{at}", bytes=declared[f"n{at}"].bytes, load_s=declared[f"n{at}"].seconds)
    provider = registry.provider()
    for _ in range(3):
        loads(provider, rng.sample(sorted(declared), 30))
    assert {name: provider.cost(f"component:{name}") for name in declared} == declared


def test_one_slow_load_moves_nothing_and_a_lasting_change_does():
    learned, declared = LearnedCosts(), Cost(1.0, 10)
    for seconds in (1.1, 1.0, 1.2, 1.0, 30.0):
        learned.loaded("k", "s", declared, seconds, 10)
    assert learned.expected("k", "s", declared).seconds == 1.1
    for _ in range(3):
        learned.loaded("k", "s", declared, 5.0, 80)
    assert learned.expected("k", "s", declared) == Cost(5.0, 80)


@pytest.mark.parametrize("truth", [0.25, 1.0, 4.0])
def test_noise_is_averaged_and_drift_is_followed(truth):
    rng, learned = random.Random(5), LearnedCosts()
    for at in range(400):
        factor = 1.0 if at < 200 else truth
        size = rng.randrange(10_000, 90_000)
        learned.loaded(f"k{at}", "s", Cost(1.0, size), rng.lognormvariate(0.0, 0.1), round(size * factor))
    expected = learned.expected("new", "s", Cost(1.0, 100_000))
    assert expected.bytes == pytest.approx(100_000 * truth, rel=0.3)
    assert expected.seconds == pytest.approx(1.0, rel=0.2)


def test_what_cannot_be_compared_teaches_nothing():
    learned = LearnedCosts()
    learned.loaded("a", "s", Cost(0.0, 0), 5.0, 1_000)
    learned.loaded("b", "s", Cost(1.0, 100), 0.0, None)
    assert learned.expected("new", "s", Cost(2.0, 300)) == Cost(2.0, 300)
    assert learned.expected("b", "s", Cost(1.0, 100)) == Cost(1.0, 100)
    for at in range(100):
        learned.loaded(f"slip{at}", "s", Cost(1.0, 1), 1.0, 10**9)  # bytes declared in GB
    assert learned.expected("new", "s", Cost(2.0, 300)).bytes <= 32 * 300
