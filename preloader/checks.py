"""Ranges of settings: what a value must be, in code and in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from preloader.errors import ConfigurationError

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what would be."""

_MOST_SHOWN = 20  # names in one message


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
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= 60 else text[:59] + "…"


def dotted(keys: Sequence[str | int]) -> str:
    """Return keys as a person writes them: ``components.tts.requires[1]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return what would be right in place of ``name``: the closest known name, else those that there are."""
    import difflib  # here, since only mistakes need it

    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shortened = [*known[:_MOST_SHOWN], "…"] if len(known) > _MOST_SHOWN else known
    return f"known are {', '.join(shortened)}" if known else "none are known"


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
