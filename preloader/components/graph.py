"""What requires what among components, and what may not be resident together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from preloader.components.component import Component
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.toml import did_you_mean


class ComponentGraph:
    """The relations of a whole registry, checked.

    Args:
        components: All there are, by name.

    Raises:
        ConfigurationError: A component that is required or conflicted with does not exist; components require each
            other in a circle; one conflicts with itself, or requires what cannot be resident together.
    """

    def __init__(self, components: Mapping[str, Component]) -> None:
        self._components = components
        self._dependencies: dict[str, tuple[str, ...]] = {}
        self._conflicts: dict[str, set[str]] = {name: set() for name in components}
        self._check_names()
        self._check_cycles()
        self._dependents = self._reversed()
        self._check_conflicts()

    def dependencies(self, name: str) -> tuple[str, ...]:
        """Return all that ``name`` requires, transitively, each after what it requires itself.

        The first call takes time linear in the part of the graph that it looks at; further ones nothing.

        Raises:
            UnknownResourceError: There is no such component.
        """
        if name not in self._components:
            raise UnknownResourceError(f"there is no component {name!r}; {did_you_mean(name, list(self._components))}")
        if name not in self._dependencies:
            needed = _reachable(name, self._requires)
            order = TopologicalSorter({each: self._requires(each) for each in needed}).static_order()
            self._dependencies[name] = tuple(each for each in order if each != name)
        return self._dependencies[name]

    def conflicts(self, name: str) -> frozenset[str]:
        """Return what may not be resident together with ``name``, whichever of the two says so."""
        return frozenset(self._conflicts[name])

    def _requires(self, name: str) -> tuple[str, ...]:
        return self._components[name].requires

    def _check_names(self) -> None:
        for name, component in self._components.items():
            for field, others in (("requires", component.requires), ("conflicts", component.conflicts)):
                for index, other in enumerate(others):
                    if other not in self._components:
                        known = [each for each in self._components if each != name]
                        reason = f"there is no component {other!r}; {did_you_mean(other, known)}"
                        raise _error(component.at(field, index), reason)

    def _check_cycles(self) -> None:
        sorter = TopologicalSorter({name: component.requires for name, component in self._components.items()})
        try:
            sorter.prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1][::-1]  # graphlib lists what is required first
            first, second = cycle[:2]
            at = self._components[first].at("requires", self._requires(first).index(second))
            raise _error(at, f"components require each other in a circle: {_arrows(cycle)}") from None

    def _reversed(self) -> dict[str, list[str]]:
        dependents: dict[str, list[str]] = {name: [] for name in self._components}
        for name, component in self._components.items():
            for required in component.requires:
                dependents[required].append(name)
        return dependents

    def _check_conflicts(self) -> None:
        for name, other, at in self._conflict_pairs():
            self._conflicts[name].add(other)
            self._conflicts[other].add(name)
            if name == other:
                raise _error(at, f"{name!r} conflicts with itself")
            dependents = _reachable(name, self._dependents.__getitem__)
            both = dependents.keys() & _reachable(other, self._dependents.__getitem__).keys()
            if both:
                raise self._conflict_error(name, other, at, both)

    def _conflict_pairs(self) -> Iterator[tuple[str, str, str]]:
        for name, component in self._components.items():
            for index, other in enumerate(component.conflicts):
                yield name, other, component.at("conflicts", index)

    def _conflict_error(self, name: str, other: str, at: str, both: set[str]) -> ConfigurationError:
        """Blame the conflict where one of its two sides requires the other, else the lowest one that requires both."""
        if name in both:
            return _error(at, f"{name!r} requires what it conflicts with: {_arrows(self._path(name, other))}")
        if other in both:
            return _error(at, f"{name!r} conflicts with what requires it: {_arrows(self._path(other, name))}")
        lowest = next(each for each in self._components if each in both and both.isdisjoint(self._requires(each)))
        paths = f"{_arrows(self._path(lowest, name))} and {_arrows(self._path(lowest, other))}"
        at = self._components[lowest].at("requires")
        return _error(at, f"{name!r} and {other!r} conflict, and both are required: {paths}")

    def _path(self, start: str, end: str) -> list[str]:
        """Return a shortest way along requirements."""
        came_from = {start: start}
        for name in (queue := [start]):
            for required in self._requires(name):
                if required not in came_from:
                    came_from[required] = name
                    queue.append(required)
        path = [end]
        while path[-1] != start:
            path.append(came_from[path[-1]])
        return path[::-1]


def _reachable(start: str, following: Callable[[str], Iterable[str]]) -> dict[str, None]:
    """Return ``start`` and all that can be reached from it, in an order that is the same in every run."""
    reached = {start: None}
    for name in (queue := [start]):
        for new in following(name):
            if new not in reached:
                reached[new] = None
                queue.append(new)
    return reached


def _arrows(names: list[str]) -> str:
    if len(names) > 12:
        names = [*names[:6], f"… {len(names) - 11} more …", *names[-5:]]
    return " → ".join(names)


def _error(at: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{at}: {reason}")
