"""Random graphs of components: every order can be loaded, every circle is found, every conflict is real."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from preloader.components.component import Component
from preloader.components.graph import ComponentGraph
from preloader.components.loaders import Simulated, SimulatedLoader
from preloader.errors import ConfigurationError

NODES = st.integers(1, 12)
Edges = dict[str, list[str]]


def build(requires: Edges, conflicts: Edges | None = None) -> ComponentGraph:
    return ComponentGraph({name: component(name, requires[name], (conflicts or {}).get(name, ())) for name in requires})


def component(name, requires, conflicts):
    return Component(
        name=name,
        loader=SimulatedLoader(Simulated(name, 1), 0.0),
        bytes=1,
        load_s=0.0,
        requires=tuple(requires),
        conflicts=tuple(conflicts),
        at=lambda *keys: f"{name}.{'.'.join(map(str, keys))}",
    )


@st.composite
def digraphs(draw, acyclic):
    count = draw(NODES)
    names = draw(st.permutations([f"n{number}" for number in range(count)]))
    pairs = [(a, b) for a in range(count) for b in range(count) if not acyclic or b < a]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []
    order = draw(st.permutations(names))
    return {name: [names[b] for a, b in chosen if names[a] == name] for name in order}


def closure(requires: Edges, start: str) -> set[str]:
    """Return all that ``start`` requires, by the definition: the least fixed point."""
    reached: set[str] = set()
    while (larger := reached | set(requires[start]).union(*(requires[name] for name in reached))) != reached:
        reached = larger
    return reached


@given(digraphs(acyclic=True))
def test_orders_are_complete_and_loadable(requires):
    graph = build(requires)
    for name in requires:
        order = graph.dependencies(name)
        assert len(order) == len(set(order))
        assert set(order) == closure(requires, name)
        for position, needed in enumerate(order):
            assert set(requires[needed]) <= set(order[:position])


@given(digraphs(acyclic=False))
def test_a_circle_is_found_whenever_there_is_one_and_is_a_real_one(requires):
    has_circle = any(name in closure(requires, name) for name in requires)
    try:
        build(requires)
    except ConfigurationError as error:
        assert has_circle
        at, _, shown = str(error).partition(": components require each other in a circle: ")
        cycle = shown.split(" → ")
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        if not any("more" in name for name in cycle):
            assert all(second in requires[first] for first, second in itertools.pairwise(cycle))
        assert at == f"{cycle[0]}.requires.{requires[cycle[0]].index(cycle[1])}"
    else:
        assert not has_circle


@given(digraphs(acyclic=True), st.data())
def test_conflicts_are_refused_exactly_where_both_sides_are_required(requires, data):
    names = sorted(requires)
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=3))
    conflicts = {name: [other for first, other in pairs if first == name] for name in names}
    needed = {name: closure(requires, name) | {name} for name in names}
    impossible = any({first, other} <= together for first, other in pairs for together in needed.values())
    try:
        graph = build(requires, conflicts)
    except ConfigurationError:
        assert impossible
    else:
        assert not impossible
        for name in names:
            others = {b for a, b in pairs if a == name} | {a for a, b in pairs if b == name}
            assert graph.conflicts(name) == others
