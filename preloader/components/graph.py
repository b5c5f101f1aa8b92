"""What requires what among components, and what may not be resident together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from preloader.checks import did_you_mean
from preloader.components.component import Component
from preloader.components.plan import Plan, make_plan, stages_of
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.stages import CircleError, arrows, in_order


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
        self._check_known(name)
        if name not in self._dependencies:
            needed = _reachable(name, self._requires)
            order = in_order({each: self._requires(each) for each in needed})
            self._dependencies[name] = tuple(each for each in order if each != name)
        return self._dependencies[name]

    def stages(self, names: Iterable[str] | None = None) -> tuple[tuple[str, ...], ...]:
        """Return components in stages: each is in the first one that comes after all that it requires.

        Args:
            names: What is to be ready in the end, with all that it requires; everything unless given.

        Raises:
            UnknownResourceError: There is no such component.
        """
        requires = self._closure(names)
        return stages_of(in_order(requires), requires)

    def plan(self, names: Iterable[str] | None = None, *, workers: int) -> Plan:
        """Return when what would be loaded, by so many workers, with the declared times.

        The manager loads in the same way, with the times that it has learned.

        Args:
            names: What is to be ready in the end, with all that it requires; everything unless given.
            workers: How many loads may run at once.

        Raises:
            UnknownResourceError: There is no such component.
            ConfigurationError: ``workers`` is not at least 1.
        """
        requires = self._closure(names)
        plan = make_plan(requires, {name: self._components[name].load_s for name in requires}, workers)
        pairs = ((one, other) for one in requires for other in sorted(self._conflicts[one]) if one < other)
        return msgspec.structs.replace(plan, conflicts=tuple(pair for pair in pairs if pair[1] in requires))

    def _closure(self, names: Iterable[str] | None) -> dict[str, tuple[str, ...]]:
        """Return what each of ``names`` and of all that they require requires directly."""
        wanted = list(self._components if names is None else names)
        for name in wanted:
            self._check_known(name)
        needed = dict.fromkeys(wanted)
        for name in (queue := list(needed)):
            new = [each for each in self._requires(name) if each not in needed]
            needed.update(dict.fromkeys(new))
            queue += new
        return {name: self._requires(name) for name in needed}

    def conflicts(self, name: str) -> frozenset[str]:
        """Return what may not be resident together with ``name``, whichever of the two says so."""
        return frozenset(self._conflicts[name])

    def _check_known(self, name: str) -> None:
        if name not in self._components:
            raise UnknownResourceError(f"there is no component {name!r}; {did_you_mean(name, list(self._components))}")

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
        try:
            in_order({name: component.requires for name, component in self._components.items()})
        except CircleError as error:
            first, second = error.circle[:2]
            at = self._components[first].at("requires", self._requires(first).index(second))
            raise _error(at, f"components require each other in a circle: {arrows(error.circle)}") from None

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
            return _error(at, f"{name!r} requires what it conflicts with: {arrows(self._path(name, other))}")
        if other in both:
            return _error(at, f"{name!r} conflicts with what requires it: {arrows(self._path(other, name))}")
        lowest = next(each for each in self._components if each in both and both.isdisjoint(self._requires(each)))
        paths = f"{arrows(self._path(lowest, name))} and {arrows(self._path(lowest, other))}"
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


def _error(at: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{at}: {reason}")
