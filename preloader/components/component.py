"""What a component is: how it is made, what it costs, and how it relates to others."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from preloader.checks import Rule, check, is_name, is_names, is_number, is_whole
from preloader.components.loaders import Loader
from preloader.errors import ConfigurationError

At = Callable[..., str]
"""Returns where a field was written, given its name and perhaps an index into it: ``file:line, field …``."""


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One component.

    Attributes:
        name: Its name; the resource is ``component:name``.
        loader: What makes it.
        bytes: What it is expected to occupy; what is measured at loading goes before that.
        load_s: Seconds that loading is expected to take.
        requires: Components that must be ready before it.
        conflicts: Components that may not be resident together with it.
        priority: Weight of having it ready, relative to others.
        at: Where each of its fields was written.

    Raises:
        ConfigurationError: A value is of the wrong type or out of its range.
    """

    name: str
    loader: Loader
    bytes: int
    load_s: float
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    priority: float = 1.0
    at: At

    def __post_init__(self) -> None:
        try:
            check(self, _RULES)
        except ConfigurationError as error:
            reason = str(error).removeprefix(f"{error.field} ")
            raise ConfigurationError(f"{self.at(error.field)}: {reason}", field=error.field) from None


_RULES: dict[str, Rule] = {
    "name": (is_name, "a name that is not empty"),
    "bytes": (lambda value: is_whole(value, 0), "a whole number of at least 0"),
    "load_s": (lambda value: is_number(value) and value >= 0, "a number of seconds of at least 0"),
    "requires": (is_names, "a list of component names"),
    "conflicts": (is_names, "a list of component names"),
    "priority": (lambda value: is_number(value) and value > 0, "a number above 0"),
}
