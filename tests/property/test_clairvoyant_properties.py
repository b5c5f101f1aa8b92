"""The clairvoyant is an upper bound: on no history does it wait longer than no preloading at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.decision import make_policy
from preloader.events import Event
from preloader.history import group_sessions
from preloader.ports import Cost
from preloader.replay.comparators import Contender, NoPredictor, compare, measure_all
from preloader.replay.run import World
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes
from preloader.testing import random_events

steps = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.sampled_from([0.0, 0.3, 1.0, 2.5, 20.0]), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


def history(steps):
    """Make events of (resource, pause before it, session) triples."""
    clocks = [0.0, 10_000.0, 20_000.0]
    for name, pause_s, session in steps:
        clocks[session] += pause_s
        yield Event(user="u", session=str(session), time_s=clocks[session], action="do", resources=(f"tool:{name}",))


def waits(script, provider, capacity, cache):
    contender = Contender(NoPredictor, lambda: make_policy("none"))
    rows = measure_all(compare(script, World(provider, "tool", capacity, cache), contender))
    return rows["clairvoyant"], rows["lru"]


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(2, 6), st.sampled_from(["cold", "warm"]))
def test_with_equal_sizes_it_never_waits_longer_than_lru(steps, slots, cache):
    provider = SimulatedProvider(lambda key: Cost(1.0, 100))
    clairvoyant, lru = waits(write_script(group_sessions(history(steps)), "tool"), provider, 100 * slots, cache)
    assert clairvoyant.waited_s <= lru.waited_s + 1e-6
    assert clairvoyant.wasted == 0 or cache == "warm"


@pytest.mark.parametrize("seed", range(8))
def test_with_drawn_sizes_it_waits_less_than_lru(seed):
    sessions = group_sessions(random_events(seed=seed, users=2, sessions=3, length=30, kind="tool"))
    script = write_script(sessions, "tool")
    provider = SimulatedProvider(lambda key: drawn_cost(key, seed))
    keys = {key for session in script for key in session.needs()}
    for budget in (3, 5):
        clairvoyant, lru = waits(script, provider, round(budget * mean_bytes(keys, provider)), "cold")
        assert clairvoyant.waited_s < lru.waited_s
