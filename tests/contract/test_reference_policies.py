"""The published policies at unit sizes: the very misses of a reference library, and of the papers' pseudo-code.

The library is libCacheSim (GPL-3, so that it is a tool of these tests and of nothing else). Its LRU, LFU and ARC evict
and then insert. Its GDSF and the paper's insert first: what ranks last may be the new object, which then is refused.
The library lets the clock advance by that and the paper does not, so the latter has a transcript of its own here.
"""

import random
from bisect import bisect
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.cache import Entry, Store, make_eviction
from preloader.ports import Loaded, Resident
from preloader.testing import FakeProvider

libcachesim = pytest.importorskip("libcachesim", reason="libcachesim has no wheel for this platform")

PROVIDER = FakeProvider({})
LENGTH = 4_000


def uniform(seed):
    rng = random.Random(seed)
    return [rng.randrange(60) for _ in range(LENGTH)]


def zipf(seed):
    rng = random.Random(seed)
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(300)))
    return [bisect(weights, rng.random() * weights[-1]) for _ in range(LENGTH)]


def scans(seed):
    """Popular objects, and now and then a long walk over ones that never come again."""
    rng = random.Random(seed)
    trace, fresh = [], 1_000
    while len(trace) < LENGTH:
        trace += [min(int(rng.expovariate(0.15)), 40) for _ in range(rng.randrange(20, 120))]
        scan = rng.randrange(10, 60)
        trace += range(fresh, fresh + scan)
        fresh += scan
    return trace


def loops(seed):
    """Rounds over working sets that change in size and place."""
    rng = random.Random(seed)
    trace = []
    while len(trace) < LENGTH:
        first, size = rng.randrange(40), rng.randrange(3, 40)
        trace += list(range(first, first + size)) * rng.randrange(1, 8)
    return trace


TRACES = {maker.__name__: maker for maker in (uniform, zipf, scans, loops)}
REFERENCES = {"lru": libcachesim.LRU, "lfu": libcachesim.LFU, "arc": libcachesim.ARC}
short_traces = st.lists(st.integers(0, 12), max_size=300)


def entry_of(key):
    return Entry(key, Loaded(None, 1), PROVIDER, 1.0, None)


def misses(name, trace, capacity):
    """Return which accesses of a trace miss in a store of unit entries."""
    store = Store(capacity, make_eviction(name))
    missed = []
    for at, number in enumerate(trace):
        key = f"unit:{number}"
        if (entry := store.get(key)) is not None:
            store.used(entry)
            continue
        missed.append(at)
        store.missed(key)
        for victim in store.victims(1, {}):
            store.evict(victim)
        store.admit(entry_of(key))
    return missed


def reference_misses(cache_type, trace, capacity):
    cache = cache_type(cache_size=capacity, hashpower=12)
    return [at for at, number in enumerate(trace) if not cache.get(libcachesim.Request(obj_id=number + 1, obj_size=1))]


@pytest.mark.parametrize("capacity", [3, 12, 40])
@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("name", REFERENCES)
def test_the_misses_are_those_of_the_reference(name, trace, capacity):
    accesses = TRACES[trace](seed=capacity)
    assert misses(name, accesses, capacity) == reference_misses(REFERENCES[name], accesses, capacity)


@pytest.mark.parametrize("name", REFERENCES)
@given(short_traces, st.integers(2, 9))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_misses_are_those_of_the_reference_on_any_trace(name, trace, capacity):
    assert misses(name, trace, capacity) == reference_misses(REFERENCES[name], trace, capacity)


def gdsf_misses(trace, capacity, *, refusal_moves_clock):
    """Insert first, then give up the lowest, which may be what was just inserted: that one is refused."""
    policy, resident, missed = make_eviction("gdsf"), set(), []
    for at, number in enumerate(trace):
        key = f"unit:{number}"
        if key in resident:
            policy.used(key)
            continue
        missed.append(at)
        policy.admitted(Resident(key, 1, 1.0))
        resident.add(key)
        if len(resident) > capacity:
            (victim,) = policy.victims(1, (), {})
            if victim != key or refusal_moves_clock:
                policy.evicted(victim)
            policy.removed(victim)
            resident.remove(victim)
    return missed


def cherkasova_misses(trace, capacity):
    """The steps of the paper, for files of size and cost 1; of equal priorities the least recently used goes."""
    clock, frequency, priority, last, missed = 0.0, {}, {}, {}, []
    for at, file in enumerate(trace):
        last[file] = at
        if file in priority:
            frequency[file] += 1
            priority[file] = clock + frequency[file]
            continue
        missed.append(at)
        frequency[file] = 1
        priority[file] = clock + 1
        if len(priority) > capacity:
            lowest = min(priority, key=lambda file: (priority[file], last[file]))
            if lowest != file:
                clock = priority[lowest]
            del priority[lowest], frequency[lowest]
    return missed


def check_gdsf(trace, capacity):
    as_library = gdsf_misses(trace, capacity, refusal_moves_clock=True)
    assert as_library == reference_misses(libcachesim.GDSF, trace, capacity)
    assert gdsf_misses(trace, capacity, refusal_moves_clock=False) == cherkasova_misses(trace, capacity)


@pytest.mark.parametrize("capacity", [3, 12, 40])
@pytest.mark.parametrize("trace", TRACES)
def test_gdsf_misses_what_the_reference_and_the_paper_miss(trace, capacity):
    check_gdsf(TRACES[trace](seed=capacity), capacity)


@given(short_traces, st.integers(2, 9))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_gdsf_misses_what_the_reference_and_the_paper_miss_on_any_trace(trace, capacity):
    check_gdsf(trace, capacity)
