"""Ranges of settings: what a value must be, in code and in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from preloader.errors import ConfigurationError

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what would be."""


def check(struct: Any, rules: Mapping[str, Rule]) -> None:
    """Check fields of ``struct``, for its ``__post_init__``.

    Raises:
        ConfigurationError: A value breaks its rule; field, value and rule are named.
    """
    for field, (is_right, expected) in rules.items():
        value = getattr(struct, field)
        if not is_right(value):
            raise ConfigurationError(f"{field} must be {expected}, not {shown(value)}", field=field)


def shown(value: Any) -> str:
    """Return a value as it is shown in a message: shortened where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def is_whole(value: Any, least: int) -> bool:
    """Return whether ``value`` is an integer, not a boolean, of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a finite number and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_name(value: Any) -> bool:
    """Return whether ``value`` is a string that is not empty."""
    return isinstance(value, str) and value != ""


def is_names(value: Any) -> bool:
    """Return whether ``value`` is a tuple of names."""
    return isinstance(value, tuple) and all(map(is_name, value))
