"""The component registry: which components there are, what each costs, and what it requires.

A registry is filled from a TOML file (`preloader.components.registry_file` shows its schema), by decorators, or both::

    registry = ComponentRegistry.from_toml("components.toml")

    @registry.component("tts", bytes=210_000_000, load_s=1.4, requires=["audio_base"])
    def load_tts() -> Voice:
        return Voice.open("de-DE")

    manager = PreloadManager(providers={"component": registry.provider()})
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from preloader.checks import did_you_mean, dotted
from preloader.components.component import At, Component
from preloader.components.graph import ComponentGraph
from preloader.components.loaders import Estimating, Loader, PythonLoader, Simulated, SimulatedLoader
from preloader.components.provider import RegistryProvider
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.ports import Cost, Executor

F = TypeVar("F", bound=Callable[..., Any])


class ComponentRegistry:
    """Holds components. How they relate is checked when it is read from a file, and again when it is first asked."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._checked: ComponentGraph | None = None
        self._is_served = False

    @classmethod
    def from_toml(cls, path: Path | str) -> ComponentRegistry:
        """Return the registry that a TOML file describes, complete in itself.

        Raises:
            ConfigurationError: The file is wrong; the message names file, line and field.
        """
        from preloader.components.registry_file import read_components  # with TOML and every loader: 15 ms

        registry = cls()
        for component in read_components(path):
            registry._add(component)
        registry.graph()
        return registry

    def component(
        self,
        name: str,
        *,
        bytes: int,  # noqa: A002 — the field's name everywhere
        load_s: float,
        requires: Sequence[str] = (),
        conflicts: Sequence[str] = (),
        priority: float = 1.0,
        unload: Callable[[Any], Any] | None = None,
    ) -> Callable[[F], F]:
        """Return a decorator that registers a function without parameters, sync or async, as a component's loader.

        Args:
            name: The component's name.
            bytes: What it is expected to occupy; a loader that knows better returns a `preloader.ports.Loaded`.
            load_s: Seconds that loading is expected to take.
            requires: Components that must be ready before it; they may be registered later.
            conflicts: Components that may not be resident together with it; likewise.
            priority: Weight of having it ready, relative to others.
            unload: Called with the value to release it; not async unless the loader is.

        Raises:
            ConfigurationError: The name is taken, a value is wrong, or a provider was made already.
        """
        at = _caller(name)

        def register(function: F) -> F:
            self._register(name, PythonLoader(function, unload), bytes, load_s, requires, conflicts, priority, at)
            return function

        return register

    def simulated(
        self,
        name: str,
        *,
        bytes: int,  # noqa: A002
        load_s: float,
        requires: Sequence[str] = (),
        conflicts: Sequence[str] = (),
        priority: float = 1.0,
    ) -> None:
        """Register a component that takes ``load_s`` and only claims its bytes. Arguments and errors: `component`."""
        loader = SimulatedLoader(Simulated(name, bytes), load_s)
        self._register(name, loader, bytes, load_s, requires, conflicts, priority, _caller(name))

    def add(
        self,
        name: str,
        loader: Loader,
        *,
        bytes: int | None = None,  # noqa: A002
        load_s: float | None = None,
        requires: Sequence[str] = (),
        conflicts: Sequence[str] = (),
        priority: float = 1.0,
    ) -> None:
        """Register a component with a loader: one of this package's for models, connections and programs, or your own.

        Args:
            name: The component's name.
            loader: What makes it.
            bytes: What it is expected to occupy; may be left out where the loader can tell (`Estimating`).
            load_s: Seconds that loading is expected to take; likewise.
            requires: As for `component`.
            conflicts: As for `component`.
            priority: As for `component`.

        Raises:
            ConfigurationError: As for `component`; or a figure is missing that the loader cannot tell.
        """
        at = _caller(name)
        cost = _expected(loader, bytes, load_s, at)
        self._register(name, loader, cost.bytes, cost.seconds, requires, conflicts, priority, at)

    def provider(self, kind: str = "component", executor: Executor | None = None) -> RegistryProvider:
        """Return the provider of these components; none can be added after that.

        Args:
            kind: Kind of the resources.
            executor: Where sync loaders run; ``None`` takes the manager's.

        Raises:
            ConfigurationError: The components do not fit together.
        """
        graph = self.graph()
        self._is_served = True
        return RegistryProvider(self._components, graph, kind, executor)

    def graph(self) -> ComponentGraph:
        """Return how the components relate, checked.

        Raises:
            ConfigurationError: They do not fit together.
        """
        if self._checked is None:
            self._checked = ComponentGraph(dict(self._components))
        return self._checked

    def dependencies(self, name: str) -> tuple[str, ...]:
        """Return all that ``name`` requires, transitively, in a loadable order.

        Raises:
            ConfigurationError: The components do not fit together.
            UnknownResourceError: There is no such component.
        """
        return self.graph().dependencies(name)

    def __getitem__(self, name: str) -> Component:
        try:
            return self._components[name]
        except KeyError:
            known = did_you_mean(name, list(self._components))
            raise UnknownResourceError(f"there is no component {name!r}; {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

    def _register(
        self,
        name: str,
        loader: Loader,
        size: int,
        load_s: float,
        requires: Sequence[str],
        conflicts: Sequence[str],
        priority: float,
        at: At,
    ) -> None:
        self._add(
            Component(
                name=name,
                loader=loader,
                bytes=size,
                load_s=load_s,
                requires=_names(requires),
                conflicts=_names(conflicts),
                priority=priority,
                at=at,
            )
        )

    def _add(self, component: Component) -> None:
        if self._is_served:
            raise ConfigurationError(f"{component.at()}: this registry has a provider already, and takes no more")
        if component.name in self._components:
            first = self._components[component.name].at()
            raise ConfigurationError(f"{component.at()}: the name is taken by {first}")
        self._components[component.name] = component
        self._checked = None


def _expected(loader: Loader, size: int | None, load_s: float | None, at: At) -> Cost:
    """Return what loading is expected to cost: what was declared, and what the loader can tell for the rest.

    Raises:
        ConfigurationError: It cannot tell.
    """
    if size is not None and load_s is not None:
        return Cost(load_s, size)
    if not isinstance(loader, Estimating):
        raise ConfigurationError(f"{at()}: bytes and load_s must be given, for its loader cannot tell them")
    try:
        expected = loader.expected(size)
    except (OSError, UnknownResourceError) as error:
        raise ConfigurationError(f"{at()}: it cannot be looked at: {error}") from error
    return Cost(expected.seconds if load_s is None else load_s, expected.bytes if size is None else size)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple; a lone string, an easy slip, is left for the check to refuse."""
    return names if isinstance(names, str) else tuple(names)  # type: ignore[return-value]


def _caller(name: str) -> At:
    """Return how messages name what the caller of the calling method has written."""
    frame = sys._getframe(2)
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}, component {name!r}"
    return lambda *keys: f"{place}, {dotted(keys)}" if keys else place
