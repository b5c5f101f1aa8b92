"""Hours of virtual time under faults of every sort: the books balance, and nothing grows."""

import asyncio
import logging
import random
from collections import Counter

import pytest

from preloader.decision import ThresholdPolicy, WasteBudget
from preloader.errors import ClosedError, LoadError
from preloader.events import Event, Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, fake_prediction

NAMES = [f"component:{at}" for at in range(40)]


class Unreliable(FakeProvider):
    """Fails, hangs, ignores cancellation, lies about sizes and goes stale, all by the dice."""

    def __init__(self, rng):
        requires = {NAMES[at]: rng.sample(NAMES[: at // 2], 2) for at in range(10, 40, 3)}
        costs = {key: Cost(rng.choice([0.0, 0.3, 2.0]), rng.randrange(1, 120)) for key in NAMES}
        super().__init__(costs, requires, immutable=False)
        self.rng = rng

    async def load(self, key):
        dice = self.rng.random()
        if dice < 0.1:
            raise self.rng.choice([OSError("x"), ValueError("y"), SystemExit(1), asyncio.CancelledError()])
        if dice < 0.14:
            await asyncio.sleep(1e9)
        try:
            loaded = await super().load(key)
        except asyncio.CancelledError:
            if dice < 0.9:
                raise
            loaded = await super().load(key)
        return Loaded(loaded.value, loaded.bytes + (30 if dice > 0.85 else 0))

    async def unload(self, key, value):
        await super().unload(key, value)
        if self.rng.random() < 0.05:
            raise OSError("cannot unload")

    async def is_fresh(self, key, value):
        if self.rng.random() < 0.02:
            raise OSError("cannot tell")
        await asyncio.sleep(self.rng.choice([0.0, 0.1]))
        return await super().is_fresh(key, value)

    def forget_history(self):
        """Drop what is over from the fake's own lists, which are not what is tested here."""
        over = Counter(self.unloaded)
        self.loaded[:] = [value for value in self.loaded if value not in over]
        for noted in (self.started, self.cancelled, self.unloaded):
            noted.clear()


class Chaos:
    """Drives one manager through rounds of random calls, each of which ends in silence."""

    def __init__(self, seed, loaders):
        self.rng = random.Random(seed)
        self.provider = Unreliable(self.rng)
        self.ended = Counter()
        self.asked = 0
        self.expected = NAMES
        self.manager = PreloadManager(
            {"component": self.provider},
            predictor=FakePredictor(self.predict),
            settings=Settings(
                budget_bytes=600,
                loaders=loaders,
                load_timeout_s=5.0,
                load_attempts=2,
                quarantine_s=20.0,
            ),
            policy=WasteBudget(ThresholdPolicy(), 0.5, burst=1e4),
            listeners=[self.note],
        )
        self.manager._predictor.learned = _Nowhere()

    def note(self, ended):
        self.ended[type(ended), ended.outcome] += 1
        store = self.manager._store
        assert store.free_bytes >= 0

    def predict(self, context, steps):
        self.expected = self.rng.sample(NAMES, 6)
        return [fake_prediction(key, self.rng.choice([0.2, 0.5, 0.8, 0.95, 1.0]), 0.2, 0.1) for key in self.expected]

    async def need(self, key, held_s):
        self.asked += 1
        try:
            if held_s is None:
                await self.manager.get(key)
            else:
                async with self.manager.use(key) as value:
                    await asyncio.sleep(held_s)
                    assert value not in self.provider.unloaded
        except (LoadError, ClosedError):
            pass

    async def act(self, tasks, session):
        rng, manager = self.rng, self.manager
        match rng.randrange(10):
            case 0 | 1 | 2:
                manager.observe(Event(user="u", session=session, time_s=0.0, action="go"))
            case 3 | 4 | 5:
                key = rng.choice(self.expected)
                tasks.append(asyncio.create_task(self.need(key, rng.choice([None, None, 0.0, 3.0]))))
            case 6 if tasks:
                rng.choice(tasks).cancel()
            case 7:
                manager.hint(rng.choice(NAMES), rng.random(), rng.randrange(1, 5), ttl_s=rng.choice([None, 0.5, 10.0]))
            case 8:
                self.provider.change(rng.choice(NAMES))
            case 9:
                await asyncio.sleep(rng.choice([0.0, 0.2, 1.0]))

    async def round(self, number):
        tasks = []
        session = f"s{number}"
        for _ in range(60):
            await self.act(tasks, session)
        await asyncio.gather(*tasks, return_exceptions=True)
        self.manager.end_session("u", session)
        await asyncio.sleep(60)
        await self.manager.clear()
        await asyncio.sleep(60)
        self.audit()

    def audit(self):
        """Check that all is quiet: nothing open, nothing held, and no table that remembers."""
        speculation, loader, hints = self.manager._speculation, self.manager._loader, self.manager._hints
        quiet = (
            speculation._open, speculation._pending(), loader.flights, loader._unloading, loader.slots._holders,
            loader.slots._foreground, loader.slots._speculative, loader.guard._running, loader.guard._sweeping,
            self.manager._store.entries(), self.manager._store._reserved, self.manager._foresight._contexts._contexts,
            self.manager._outlook._sessions, hints._keys._ids, speculation._policy._charges,
        )  # fmt: skip
        assert not any(quiet), quiet
        assert len(loader.guard._strikes) <= len(NAMES)
        assert len(loader.guard._quarantined_until_s) <= len(NAMES)
        assert not asyncio.get_running_loop()._scheduled or len(asyncio.get_running_loop()._scheduled) < 200
        unloaded_twice = [value for value, times in Counter(self.provider.unloaded).items() if times > 1]
        assert not unloaded_twice
        self.provider.forget_history()


class _Nowhere(list):
    def append(self, item):
        pass


@pytest.mark.parametrize("loaders", [1, 3, None])
def test_hours_of_faults_leave_balanced_books_and_nothing_behind(loaders, caplog):
    chaos = Chaos(seed=7, loaders=loaders)

    async def main():
        async with chaos.manager:
            for number in range(150):
                await chaos.round(number)
            totals = chaos.manager.statistics().ledger
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return totals

    with caplog.at_level(logging.ERROR):
        totals = run_virtual(main())
    assert caplog.text == ""
    assert totals.open_preloads == 0
    for kind, counted in ((Need, totals.needs), (Preload, totals.preloads)):
        assert {outcome: count for (of, outcome), count in chaos.ended.items() if of is kind} == +Counter(counted)
        assert sum(counted.values()) > 100
        assert all(counted.values()), "a fault that never happened proves nothing"
    assert sum(totals.needs.values()) <= chaos.asked
