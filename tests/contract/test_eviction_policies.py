"""What every eviction policy promises, and what each of them does in particular."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from preloader.cache import Entry, Store, make_eviction
from preloader.cache.eviction import EVICTIONS, LRUEviction, PredictiveEviction
from preloader.errors import ConfigurationError
from preloader.events import Prediction
from preloader.ports import EvictionPolicy, Loaded, Resident
from preloader.testing import FakeProvider

KEYS = [f"component:{name}" for name in "abcdefgh"]
PROVIDER = FakeProvider({})

every_policy = pytest.mark.parametrize("name", EVICTIONS)


def expected(**probabilities):
    return {f"component:{name}": Prediction(f"component:{name}", (p,), p, p) for name, p in probabilities.items()}


def policy_with(policy, **residents):
    for name, (size, load_s) in residents.items():
        policy.admitted(Resident(f"component:{name}", size, load_s))
    return policy


residents = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(0, 50), st.floats(0.0, 10.0)), min_size=1, max_size=8
)
chances = st.dictionaries(st.sampled_from(KEYS), st.floats(0.0, 1.0))


@every_policy
def test_it_keeps_the_port(name):
    policy = make_eviction(name)
    assert policy.name == name
    methods = {method for method in vars(EvictionPolicy) if not method.startswith("_")}
    assert methods == {"admitted", "used", "removed", "victims"}
    assert all(callable(getattr(policy, method)) for method in methods)


@every_policy
@given(residents, st.integers(1, 300), st.frozensets(st.sampled_from(KEYS)), chances)
@settings(deadline=None, derandomize=True)
def test_victims_free_enough_without_pins_and_without_excess(name, present, needed, pinned, chances):
    policy = make_eviction(name)
    for key, (size, load_s) in present.items():
        policy.admitted(Resident(key, size, load_s))
    predictions = {key: Prediction(key, (p,), p, p) for key, p in chances.items()}
    victims = policy.victims(needed, pinned, predictions)
    possible = sum(size for key, (size, _) in present.items() if key not in pinned)
    if possible < needed:
        assert victims is None
        return
    sizes = [present[victim][0] for victim in victims]
    assert len(set(victims)) == len(victims)
    assert set(victims) <= set(present) - pinned
    assert sum(sizes) >= needed
    assert all(sum(sizes) - size < needed for size in sizes)  # none could have been spared
    assert policy.victims(needed, pinned, predictions) == victims  # asking changes nothing


@every_policy
def test_what_was_removed_is_no_victim_and_may_come_back(name):
    policy = policy_with(make_eviction(name), a=(10, 1.0), b=(10, 1.0))
    policy.removed("component:a")
    assert policy.victims(10, (), {}) == ["component:b"]
    assert policy.victims(11, (), {}) is None
    policy.admitted(Resident("component:a", 10, 1.0))
    assert policy.victims(20, (), {}) == ["component:b", "component:a"]


@every_policy
def test_of_equals_the_least_recently_used_goes_first(name):
    policy = policy_with(make_eviction(name), a=(10, 1.0), b=(10, 1.0), c=(10, 1.0))
    policy.used("component:a")
    assert policy.victims(30, (), {}) == ["component:b", "component:c", "component:a"]


@every_policy
def test_a_need_always_wins(name):
    policy = policy_with(make_eviction(name), a=(10, 100.0))
    assert policy.victims(10, (), expected(a=1.0)) == ["component:a"]


def test_an_unknown_policy_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="unknown eviction policy 'fifo': choose one of lru, predictive"):
        make_eviction("fifo")


def test_predictive_refuses_a_candidate_that_is_worth_no_more_than_its_victims():
    policy = policy_with(PredictiveEviction(), a=(10, 2.0), b=(10, 2.0))
    chances = expected(a=0.2, b=0.3, c=0.5)
    assert policy.victims(10, (), chances, Resident("component:c", 10, 2.0)) == ["component:a"]
    assert policy.victims(20, (), chances, Resident("component:c", 20, 2.0)) is None  # 0.5 against 0.2 + 0.3
    assert policy.victims(20, (), chances, Resident("component:c", 20, 2.1)) == ["component:a", "component:b"]
    assert policy.victims(10, (), chances, Resident("component:nope", 10, 2.0)) is None


def test_lru_has_no_opinion_on_candidates():
    policy = policy_with(LRUEviction(), a=(10, 2.0))
    assert policy.victims(10, (), expected(a=1.0), Resident("component:c", 10, 0.0)) == ["component:a"]


@given(residents, st.floats(0.01, 1.0))
@settings(deadline=None, derandomize=True)
def test_with_equal_predictions_predictive_evicts_by_seconds_per_byte(present, p):
    policy = PredictiveEviction()
    for key, (size, load_s) in present.items():
        policy.admitted(Resident(key, size, load_s))
    predictions = {key: Prediction(key, (p,), p, p) for key in present}
    densities = sorted((p * load_s / max(1, size), at, key) for at, (key, (size, load_s)) in enumerate(present.items()))
    worst = next((key for _, _, key in densities if present[key][0] > 0), None)
    if worst is not None:
        assert policy.victims(1, (), predictions) == [worst]


class UnitLRU(RuleBasedStateMachine):
    """The store with LRU against an `OrderedDict`, at unit sizes: the same residents, and the same misses, always."""

    @initialize(capacity=st.integers(1, 5))
    def start(self, capacity):
        self.store = Store(capacity, LRUEviction())
        self.reference = OrderedDict()
        self.capacity = capacity
        self.misses = self.reference_misses = 0

    @rule(key=st.sampled_from(KEYS))
    def access(self, key):
        if key in self.reference:
            self.reference.move_to_end(key)
        else:
            self.reference_misses += 1
            if len(self.reference) == self.capacity:
                self.reference.popitem(last=False)
            self.reference[key] = None
        if (entry := self.store.get(key)) is not None:
            self.store.used(entry)
            return
        self.misses += 1
        for victim in self.store.victims(1, {}):
            self.store.remove(victim)
        self.store.admit(Entry(key, Loaded(None, 1), PROVIDER, 1.0, None))

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key):
        self.reference.pop(key, None)
        if (entry := self.store.get(key)) is not None:
            self.store.remove(entry)

    @invariant()
    def they_agree(self):
        assert self.misses == self.reference_misses
        assert list(self.store._eviction._residents) == list(self.reference)
        assert self.store.keys() == self.reference.keys()
        assert self.store.occupied_bytes == len(self.reference)


TestUnitLRU = UnitLRU.TestCase
TestUnitLRU.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True)
