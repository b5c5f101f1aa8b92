"""The store against a model, under every policy and whatever is done to it: sums, pins, promises, single unloads."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from preloader.cache import Entry, Store, make_eviction
from preloader.cache.eviction import EVICTIONS
from preloader.events import Decision, Prediction, Tier
from preloader.ports import Loaded, Resident
from preloader.telemetry import OpenPreload
from preloader.testing import FakeProvider

KEYS = [f"component:{name}" for name in "abcdefgh"]
PROVIDER = FakeProvider({})
SIZES = st.integers(0, 40)
SECONDS = st.sampled_from([0.0, 0.1, 1.0, 5.0])


class StoreModel(RuleBasedStateMachine):
    """Loads, uses, pins and removals in any order, as a loader could ask for them."""

    policy: str

    @initialize(capacity=st.integers(1, 120))
    def start(self, capacity):
        self.capacity = capacity
        self.store = Store(capacity, make_eviction(self.policy))
        self.resident = {}
        self.reserved = {}
        self.released = []  # values given back by the store: each once
        self.loaded = 0
        self.predictions = {}
        self.ahead = set()

    @rule(chances=st.dictionaries(st.sampled_from(KEYS), st.floats(0.0, 1.0)))
    def predict(self, chances):
        self.predictions = {key: Prediction(key, (p,), p, p) for key, p in chances.items()}

    @rule(key=st.sampled_from(KEYS))
    def need(self, key):
        if (entry := self.store.get(key)) is not None:
            assert entry is self.resident[key]
            self.store.used(entry)
            entry.speculative = False
            self.ahead.discard(key)
        else:
            assert key not in self.resident
            self.store.missed(key)

    @rule(key=st.sampled_from(KEYS), size=SIZES, load_s=SECONDS, ahead=st.booleans(), pinned=st.booleans())
    def load(self, key, size, load_s, ahead, pinned):
        """What a loader does: make room and set it aside, then store what came."""
        if key in self.resident or key in self.reserved:
            return
        candidate = Resident(key, size, load_s, speculative=True) if ahead else None
        victims = self.store.victims(size, self.predictions, candidate)
        if victims is None:
            loose = sum(entry.bytes for entry in self.resident.values() if not entry.pins)
            assert ahead or size > self.store.free_bytes + loose
            return
        self.give_up(victims)
        assert size <= self.store.free_bytes
        preload = OpenPreload(Decision(key, Tier.BACKGROUND, 0.5, 1, ""), Tier.BACKGROUND, None, 0.0) if ahead else None
        self.loaded += 1
        entry = Entry(key, Loaded(self.loaded, size), PROVIDER, load_s, preload)
        self.store.admit(entry)
        self.resident[key] = entry
        if ahead:
            self.ahead.add(key)
        entry.pins += pinned

    @rule(key=st.sampled_from(KEYS), size=SIZES)
    def reserve(self, key, size):
        if key in self.reserved or size > self.store.free_bytes:
            with pytest.raises(ValueError, match=r"reserved already|cannot reserve"):
                self.store.reserve(key, size)
        else:
            self.store.reserve(key, size)
            self.reserved[key] = size

    @rule(key=st.sampled_from(KEYS))
    def release(self, key):
        self.store.release(key)
        self.reserved.pop(key, None)

    @precondition(lambda self: self.resident)
    @rule(data=st.data())
    def pin(self, data):
        data.draw(st.sampled_from(sorted(self.resident.items())))[1].pins += 1

    @precondition(lambda self: any(entry.pins for entry in self.resident.values()))
    @rule(data=st.data())
    def unpin(self, data):
        held = sorted(key for key, entry in self.resident.items() if entry.pins)
        self.resident[data.draw(st.sampled_from(held))].pins -= 1
        self.give_up(self.store.excess(self.predictions))

    @precondition(lambda self: self.resident)
    @rule(data=st.data())
    def drop(self, data):
        """It went stale, or was cleared."""
        self.take_out(self.resident[data.draw(st.sampled_from(sorted(self.resident)))], self.store.remove)

    @rule(capacity=st.integers(1, 120))
    def resize(self, capacity):
        self.store.resize(capacity)
        self.capacity = capacity
        before = set(self.resident)
        victims = self.store.excess(self.predictions)
        assert set(self.resident) == before  # naming victims removes nothing
        self.give_up(victims)

    def give_up(self, victims):
        assert len({victim.key for victim in victims}) == len(victims)
        for victim in victims:
            assert not victim.pins
            self.take_out(victim, self.store.evict)

    def take_out(self, entry, how):
        how(entry)
        assert not entry.stored
        del self.resident[entry.key]
        self.ahead.discard(entry.key)
        self.released.append(entry.value)

    @invariant()
    def sums_hold(self):
        occupied = sum(entry.bytes for entry in self.resident.values())
        assert self.store.occupied_bytes == occupied
        assert self.store.free_bytes == self.capacity - occupied - sum(self.reserved.values())
        assert self.store.capacity_bytes == self.capacity
        assert {entry.key: entry for entry in self.store.entries()} == self.resident

    @invariant()
    def the_budget_holds_but_for_pins_and_promises(self):
        pinned = sum(entry.bytes for entry in self.resident.values() if entry.pins)
        if self.store.free_bytes < 0:
            assert not any(entry.bytes and not entry.pins for entry in self.resident.values())
            assert pinned + sum(self.reserved.values()) > self.capacity

    @invariant()
    def every_value_is_here_or_was_released_once(self):
        here = [entry.value for entry in self.resident.values()]
        assert sorted(here + self.released) == list(range(1, self.loaded + 1))

    @invariant()
    def speculative_entries_are_those_loaded_ahead_and_not_used(self):
        assert {entry.key for entry in self.store.speculative()} == self.ahead


def machine_of(name):
    case = type(f"{name}StoreModel", (StoreModel,), {"policy": name}).TestCase
    case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
    return case


TestLRU, TestPredictive, TestLFU, TestGDSF, TestARC = map(machine_of, EVICTIONS)
