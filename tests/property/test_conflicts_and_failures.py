"""Random graphs with conflicts and faults, random needs, uses, predictions and cancellations, on virtual time.

Whatever happens: what conflicts is never alive together, what stands on something never outlives it, every need ends,
errors are only those that were caused, and in the end everything is unloaded.
"""

import asyncio
import contextlib
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, ConflictError, LoadError
from preloader.manager import PreloadManager
from preloader.ports import Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, fake_prediction
from tests.unit.manager_scene import event


class World:
    """Components that check, as they come and go, that they are in order."""

    def __init__(self, rng, count, faulty):
        self.rng = rng
        self.alive = Counter()
        self.wrong = []
        names = [f"n{at}" for at in range(count)]
        self.requires = {name: rng.sample(names[:at], rng.randint(0, min(3, at))) for at, name in enumerate(names)}
        self.registry = ComponentRegistry()
        self.faulty = {name for name in self.requires if rng.random() < faulty}
        pairs = [tuple(rng.sample(sorted(self.requires), 2)) for _ in range(count // 3)] if count > 1 else []
        self.conflicts = self.possible(pairs)
        for name, needed in self.requires.items():
            self.add(name, needed)

    def possible(self, pairs):
        """Return the conflicts that the registry would let pass."""
        accepted = []
        for pair in pairs:
            trial = ComponentRegistry()
            for name, needed in self.requires.items():
                rivals = [b for a, b in [*accepted, pair] if a == name]
                trial.simulated(name, bytes=1, load_s=1.0, requires=needed, conflicts=rivals)
            try:
                trial.graph()
            except ConfigurationError:
                continue
            accepted.append(pair)
        return accepted

    def add(self, name, needed):
        load_s = self.rng.choice([0.0, 0.5, 1.0, 3.0])
        rivals = {b for a, b in self.conflicts if a == name} | {a for a, b in self.conflicts if b == name}

        async def load():
            if not all(self.alive[one] for one in needed):
                self.wrong.append(f"{name} stands on nothing")
            self.alive[name] += 1
            try:
                self.check(name, rivals)
                await asyncio.sleep(load_s)
                self.check(name, rivals)
                if name in self.faulty and self.rng.random() < 0.5:
                    raise OSError("broken")
            except BaseException as error:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(self.rng.choice([0.0, 0.4]))  # what was begun takes time to clear away
                if isinstance(error, asyncio.CancelledError) and self.rng.random() < 0.3:
                    return Loaded(name, 10)  # it was ready by then
                self.alive[name] -= 1
                raise
            return Loaded(name, 10)

        async def unload(value):
            dependents = [other for other, its in self.requires.items() if name in its]
            if self.alive[name] == 1 and any(self.alive[other] for other in dependents):
                self.wrong.append(f"{name} goes before what stands on it")
            await asyncio.sleep(self.rng.choice([0.0, 0.2]))
            self.alive[name] -= 1

        declared = [b for a, b in self.conflicts if a == name]
        register = self.registry.component
        register(name, bytes=10, load_s=load_s, requires=needed, conflicts=declared, unload=unload)(load)

    def check(self, name, rivals):
        together = [one for one in rivals if self.alive[one]]
        if together:
            self.wrong.append(f"{name} is there together with {together}")


async def act(world, manager, rng, ended):
    name = rng.choice(sorted(world.requires))
    key = f"component:{name}"
    await asyncio.sleep(rng.uniform(0.0, 10.0))
    if rng.random() < 0.2:
        manager.observe(event(name, session=f"s{rng.randrange(3)}"))
        return
    try:
        async with asyncio.timeout(rng.choice([None, None, None, 0.7])):
            if rng.random() < 0.4:
                async with manager.use(key):
                    assert world.alive[name] >= 1
                    await asyncio.sleep(rng.choice([0.0, 2.0]))
                    assert world.alive[name] >= 1
            else:
                assert await manager.get(key) == name
    except TimeoutError:
        ended["timeout"] += 1
    except ConflictError as error:
        ended["conflict" if "conflicts with" in str(error) else str(error)] += 1
    except LoadError as error:
        ended["broken" if "OSError: broken" in str(error) else str(error)] += 1
    else:
        ended["served"] += 1


def play(seed, count, faulty, loaders):
    rng = random.Random(seed)
    world = World(rng, count, faulty)
    ended = Counter()
    keys = [f"component:{name}" for name in world.requires]
    answers = {
        name: [fake_prediction(key, rng.uniform(0.3, 1.0)) for key in rng.sample(keys, min(3, count))]
        for name in world.requires
    }

    async def main():
        async with PreloadManager(
            {"component": world.registry.provider()},
            predictor=FakePredictor(answers),
            settings=Settings(loaders=loaders, waste_budget=None, load_attempts=1, quarantine_after=1_000),
            executor=InlineExecutor(),
        ) as manager:
            async with asyncio.timeout(5_000):
                await asyncio.gather(*(act(world, manager, rng, ended) for _ in range(40)))
        return manager.statistics()

    statistics = run_virtual(main())
    assert world.wrong == []
    assert ended.keys() <= {"served", "timeout", "conflict", "broken"}
    assert not +world.alive
    assert statistics.ledger.open_preloads == 0
    return ended, statistics


@given(st.integers(0, 2**32), st.integers(1, 14), st.sampled_from([0.0, 0.2]), st.sampled_from([1, 2, None]))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_nothing_that_conflicts_is_ever_alive_together_and_everything_ends(seed, count, faulty, loaders):
    play(seed, count, faulty, loaders)


def test_the_worlds_above_do_have_conflicts_faults_and_successes():
    ended, conflicts = Counter(), 0
    for seed in range(12):
        outcome, statistics = play(seed, 12, 0.2, 2)
        ended += outcome
        conflicts += statistics.counts.get("conflicts", 0)
    assert min(ended["served"], ended["conflict"], ended["broken"], ended["timeout"], conflicts) > 3
