"""The provider over a component registry."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from preloader.checks import did_you_mean
from preloader.components.blocking import Blocking
from preloader.components.component import Component
from preloader.components.graph import ComponentGraph
from preloader.components.learned import LearnedCosts
from preloader.components.loaders import measured_bytes
from preloader.errors import UnknownResourceError
from preloader.events import resource_key
from preloader.ports import Cost, Executor, Loaded


class RegistryProvider(Blocking):
    """Makes the components of a registry ready; `ComponentRegistry.provider` makes one.

    A component occupies what its loader states (`Loaded`), else what is measured (buffers, arrays, mappings), else what
    was declared. What it is expected to cost is learned from its loads, and from those of its like, and kept where the
    manager keeps its state (`LearnedCosts`).
    """

    def __init__(
        self, components: Mapping[str, Component], graph: ComponentGraph, kind: str, executor: Executor | None
    ) -> None:
        super().__init__(executor)
        self.kind = kind
        self.immutable = all(component.loader.immutable for component in components.values())
        self._components = {resource_key(kind, name): component for name, component in components.items()}
        self._graph = graph
        self.kept = LearnedCosts(f"costs-{kind}.json")
        self._dependencies: dict[str, tuple[str, ...]] = {}

    async def load(self, key: str) -> Loaded:
        """Make a component ready.

        Raises:
            UnknownResourceError: There is no such component.
            LoadError: Its loader cannot be found, or its file cannot be read.
            Exception: Whatever its loader raises.
        """
        component = self._component(key)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        made = await component.loader.load(self.executor)
        took_s = loop.time() - began_s
        measured = made.bytes if isinstance(made, Loaded) else measured_bytes(made)
        self.kept.loaded(key, _sort(component), _declared(component), took_s, measured)
        if isinstance(made, Loaded):
            return made
        return Loaded(made, component.bytes if measured is None else measured)

    async def unload(self, key: str, value: Any) -> None:
        """Release a component."""
        await self._component(key).loader.unload(self.executor, value)

    async def is_fresh(self, key: str, value: Any) -> bool:
        """Return whether the component is what loading would make now: asked of files only."""
        return await self._component(key).loader.is_fresh(self.executor, value)

    def cost(self, key: str) -> Cost:
        """Return what loading a component is expected to cost, by what was declared and what was learned.

        Raises:
            UnknownResourceError: There is no such component.
        """
        component = self._component(key)
        return self.kept.expected(key, _sort(component), _declared(component))

    def priority(self, key: str) -> float:
        """Return the component's declared priority.

        Raises:
            UnknownResourceError: There is no such component.
        """
        return self._component(key).priority

    def dependencies(self, key: str) -> Sequence[str]:
        """Return all components that must be ready before this one, transitively, in a loadable order.

        Raises:
            UnknownResourceError: There is no such component.
        """
        component = self._component(key)
        if key not in self._dependencies:
            required = self._graph.dependencies(component.name)
            self._dependencies[key] = tuple(resource_key(self.kind, name) for name in required)
        return self._dependencies[key]

    def requires(self, key: str) -> Sequence[str]:
        """Return the components that this one requires, directly.

        Raises:
            UnknownResourceError: There is no such component.
        """
        component = self._component(key)
        return [resource_key(self.kind, name) for name in component.requires]

    def conflicts(self, key: str) -> Collection[str]:
        """Return the components that may not be resident together with this one, whichever of the two says so.

        Raises:
            UnknownResourceError: There is no such component.
        """
        return [resource_key(self.kind, name) for name in self._graph.conflicts(self._component(key).name)]

    def _component(self, key: str) -> Component:
        try:
            return self._components[key]
        except KeyError:
            raise UnknownResourceError(f"there is no {key!r}; {did_you_mean(key, list(self._components))}") from None


def _declared(component: Component) -> Cost:
    return Cost(component.load_s, component.bytes)


def _sort(component: Component) -> str:
    return type(component.loader).__name__
