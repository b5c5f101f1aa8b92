"""Whatever happens, the books balance: random schedules of needs, predictions, hints, faults and cancellations."""

import asyncio
import logging
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.errors import ClosedError, LoadError
from preloader.events import Event, Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, Hang, fake_prediction

NAMES = "abcdef"
KEYS = [f"component:{name}" for name in NAMES]


class FaultyProvider(FakeProvider):
    """Errs about sizes, may swallow a cancellation, and takes its time to unload."""

    def __init__(self, costs, dependencies, script, *, immutable, growth, stubborn, unload_s):
        super().__init__(costs, dependencies, script, immutable=immutable)
        self.growth, self.stubborn, self.unload_s = growth, stubborn, unload_s

    async def load(self, key):
        try:
            loaded = await super().load(key)
        except asyncio.CancelledError:
            if key not in self.stubborn:
                raise
            loaded = await super().load(key)
        return Loaded(loaded.value, loaded.bytes + self.growth[key])

    async def unload(self, key, value):
        await super().unload(key, value)
        await asyncio.sleep(self.unload_s)
        if key in self.stubborn:
            raise OSError("cannot unload")

    async def is_fresh(self, key, value):
        await asyncio.sleep(self.unload_s)
        return await super().is_fresh(key, value)


class AuditedPolicy:
    """Checks the policy port from below: what was accepted is outstanding until exactly one outcome comes."""

    def __init__(self, inner):
        self.inner = inner
        self.name = inner.name
        self.outstanding = set()
        self.outcomes = 0

    def decide(self, predictions, residents, budget):
        decisions = self.inner.decide(predictions, residents, budget)
        self.outstanding |= {decision.key for decision in decisions if decision.tier is not None}
        return decisions

    def outcome(self, preload):
        self.outstanding.remove(preload.key)
        self.outcomes += 1
        self.inner.outcome(preload)


names = st.sampled_from(KEYS)
moments = st.sampled_from([0.0, 0.0, 0.05, 0.3, 1.0, 4.0])
probabilities = st.sampled_from([0.05, 0.4, 0.75, 0.95, 1.0])
faults = st.lists(st.sampled_from([OSError("x"), Hang(), 0.0, 0.4, 3.0, asyncio.CancelledError()]), max_size=4)

steps = st.one_of(
    st.tuples(st.just("sleep"), moments),
    st.tuples(st.just("observe"), st.sampled_from("st"), st.dictionaries(names, probabilities, max_size=4)),
    st.tuples(st.just("get"), names),
    st.tuples(st.just("use"), names, moments),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("hint"), names, probabilities, st.integers(1, 4), st.sampled_from([None, 0.2, 2.0])),
    st.tuples(st.just("change"), names),
    st.tuples(st.just("end_session"), st.sampled_from("st")),
    st.tuples(st.just("clear")),
)


@st.composite
def worlds(draw):
    requires = {
        key: draw(st.lists(st.sampled_from(KEYS[:at]), unique=True, max_size=2)) if at else []
        for at, key in enumerate(KEYS)
    }
    provider = FaultyProvider(
        {key: Cost(draw(st.sampled_from([0.0, 0.1, 1.0])), draw(st.integers(0, 60))) for key in KEYS},
        requires,
        {key: draw(faults) for key in KEYS},
        immutable=draw(st.booleans()),
        growth={key: draw(st.sampled_from([0, 0, 30])) for key in KEYS},
        stubborn=draw(st.frozensets(names, max_size=2)),
        unload_s=draw(st.sampled_from([0.0, 0.1])),
    )
    options = Settings(
        budget_bytes=draw(st.integers(1, 200)),
        tier_capacity=draw(st.sampled_from([(1, 1, 1), (10, 20, 50)])),
        tier_workers=draw(st.sampled_from([(1, 1, 1), (3, 3, 3)])),
        loaders=draw(st.sampled_from([1, 2, 3, None])),
        load_timeout_s=2.0,
        load_attempts=draw(st.integers(1, 2)),
        quarantine_after=2,
        quarantine_s=5.0,
        waste_budget=draw(st.sampled_from([None, 0.0, 0.1, 0.5])),
        eviction=draw(st.sampled_from(["lru", "predictive"])),
    )
    return provider, options, draw(st.lists(steps, max_size=30))


class Run:
    """Plays one schedule and audits the manager as it goes."""

    def __init__(self, provider, options, **parts):
        self.provider = provider
        self.ended = []
        self.asked = 0
        self.manager = PreloadManager(
            {"component": provider},
            predictor=FakePredictor(lambda context, steps: self.predictions),
            settings=options,
            listeners=[self.note],
            **parts,
        )
        self.predictions = []
        self.speculation = self.manager._speculation
        self.waste_budget = self.speculation._policy
        self.policy = self.speculation._policy = AuditedPolicy(self.waste_budget)
        self.store = self.manager._store
        self.entries = []
        self._admit = self.store.admit
        self.store.admit = self.admit

    def note(self, ended):
        self.ended.append(ended)
        self.check()

    def admit(self, entry):
        self._admit(entry)
        self.entries.append(entry)
        self.check()

    def check(self):
        assert 0 <= self.store.free_bytes <= self.store.capacity_bytes
        resident = sum(entry.bytes for entry in self.store.entries())
        assert self.store.occupied_bytes == resident <= self.store.capacity_bytes

    async def play(self, schedule):
        tasks = []
        async with self.manager as manager:
            for step in schedule:
                await self.do(manager, tasks, *step)
                self.check()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(1)  # who let go only now has their value unloaded after the manager has stopped
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), LoadError | ClosedError), task.exception()

    async def do(self, manager, tasks, what, *args):
        match what:
            case "sleep":
                await asyncio.sleep(*args)
            case "observe":
                session, expected = args
                self.predictions = [fake_prediction(key, p, p / 2, p / 4) for key, p in expected.items()]
                manager.observe(Event(user="u", session=session, time_s=0.0, action="go"))
            case "get":
                tasks.append(asyncio.create_task(self.need(manager, *args)))
                await asyncio.sleep(0)
            case "use":
                tasks.append(asyncio.create_task(self.use(manager, *args)))
                await asyncio.sleep(0)
            case "cancel":
                (at,) = args
                if at < len(tasks):
                    tasks[at].cancel()
            case "hint":
                key, p, at, ttl_s = args
                manager.hint(key, p, at, ttl_s=ttl_s)
            case "change":
                self.provider.change(*args)
            case "end_session":
                manager.end_session("u", *args)
            case "clear":
                await manager.clear()

    async def need(self, manager, key):
        self.asked += 1
        value = await manager.get(key)
        assert value.key == key

    async def use(self, manager, key, seconds):
        self.asked += 1
        async with manager.use(key) as value:
            await asyncio.sleep(seconds)
            assert value not in self.provider.unloaded

    def audit(self):
        """Check that everything has ended, once."""
        totals = self.manager.statistics().ledger
        needs = Counter(end.outcome for end in self.ended if isinstance(end, Need))
        preloads = Counter(end.outcome for end in self.ended if isinstance(end, Preload))
        assert needs == +Counter(totals.needs)
        assert preloads == +Counter(totals.preloads)
        assert needs.total() == self.asked
        assert preloads.total() == self.policy.outcomes
        assert totals.open_preloads == 0
        assert not self.policy.outstanding
        for preload in (end for end in self.ended if isinstance(end, Preload)):
            assert preload.outcome == "failed" or (preload.outcome == "dropped") == (preload.started_s is None), preload
        self.audit_values()
        self.audit_leftovers()
        if self.manager.settings.waste_budget is not None:
            self.audit_waste(preloads)

    def audit_values(self):
        assert all(entry.pins == 0 and not entry.stored for entry in self.entries)
        admitted = {entry.value for entry in self.entries}
        assert not Counter(self.provider.unloaded) - Counter(self.provider.loaded)
        assert max(Counter(self.provider.unloaded).values(), default=1) == 1
        assert not admitted & set(self.provider.live)  # what `get` handed over un-stored is its caller's

    def audit_leftovers(self):
        loader = self.manager._loader
        leftovers = (
            loader.flights, loader.slots._holders, loader.slots._foreground, loader.slots._speculative,
            loader.guard._running, loader.guard._sweeping, loader._unloading, self.speculation._open,
            self.store._reserved, self.store.entries(), self.speculation._pending(),
        )  # fmt: skip
        assert not any(leftovers), leftovers
        assert self.store.free_bytes == self.store.capacity_bytes

    def audit_waste(self, preloads):
        budget = self.waste_budget
        assert not budget._charges
        assert budget.count.outstanding == budget.bytes.outstanding == 0
        assert abs(budget.count.expected_waste) < 1e-9
        assert abs(budget.bytes.expected_waste) < 1e-3
        earned = budget.share / (1 - budget.share) * preloads["used"]
        assert preloads["wasted"] <= budget.allowance + earned + 1e-9


@settings(max_examples=200, deadline=None, derandomize=True)
@given(worlds())
def test_every_need_and_every_preload_ends_exactly_once(world):
    provider, options, schedule = world
    errors = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(handler.format(record))
    logger = logging.getLogger("preloader")
    logger.addHandler(handler)
    try:
        run = Run(provider, options)
        run_virtual(run.play(schedule))
    finally:
        logger.removeHandler(handler)
    assert not errors, errors[0]
    run.audit()
