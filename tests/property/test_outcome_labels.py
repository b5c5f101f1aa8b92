"""Labels worked out backwards are those that looking ahead anew from every event gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from preloader.events import Event
from preloader.history import Session
from preloader.learning.outcomes import outcome_labels
from preloader.ports import Cost
from preloader.replay.outcomes import reuses
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider

NAMES = "abcdef"
KEYS = tuple(f"tool:{name}" for name in NAMES)


@given(
    used=st.lists(st.lists(st.sampled_from(NAMES), max_size=3), min_size=1, max_size=25),
    sizes=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    dependencies=st.dictionaries(
        st.sampled_from(KEYS), st.lists(st.sampled_from(("lib:x", "lib:y", *KEYS[:2])), max_size=2)
    ),
    capacity=st.integers(0, 20),
    repeats=st.sampled_from(("dropped", "kept")),
)
def test_labels_are_those_of_replay(used, sizes, dependencies, capacity, repeats):
    events = tuple(
        Event(user="u", session="s", time_s=float(at), action="do", resources=tuple(f"tool:{name}" for name in names))
        for at, names in enumerate(used)
    )
    session = Session("u", "s", events)
    costs = dict(zip(KEYS, sizes, strict=True))
    provider = SimulatedProvider(lambda key: Cost(1.0, costs.get(key, 2)), lambda key: dependencies.get(key, ()))
    columns = (*KEYS, "tool:never")
    (script,) = write_script([session], "tool", repeats)
    expected = np.zeros((len(events), len(columns)), bool)
    for step in range(len(events)):
        for key, reuse in reuses(script, step, provider, capacity).items():
            expected[step, columns.index(key)] = reuse.fits(provider.cost(key).bytes, capacity)
    assert np.array_equal(outcome_labels(session, "tool", provider, capacity, columns, repeats), expected)
