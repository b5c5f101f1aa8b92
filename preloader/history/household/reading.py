"""Reads a household as if it were a file: its path is a *spec* such as ``household:seed=7,users=4,days=28``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history.household.simulation import KIND, Household
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

_SCHEME = "household"
_TYPES = {"seed": int, "users": int, "days": int, "drift": float}


def read_household(spec: str) -> Household:
    """Return the household that a spec describes; settings that it leaves out keep their defaults.

    Args:
        spec: ``household``, or ``household:`` and settings, as in ``household:seed=7,users=4,days=28,drift=0.15``.

    Raises:
        HistoryError: The spec is malformed, or a setting is unknown, given twice or of a wrong type.
        ConfigurationError: A setting is out of range.
    """
    scheme, _, settings = spec.partition(":")
    if scheme != _SCHEME:
        raise HistoryError(f"{spec!r} is no household; write household:seed=7,users=4,days=28")
    values: dict[str, int | float] = {}
    for setting in filter(None, settings.split(",")):
        name, _, value = setting.partition("=")
        if name not in _TYPES or name in values:
            known = ", ".join(_TYPES)
            raise HistoryError(f"{spec!r}: {setting!r} must be one of {known}, each at most once, and its value")
        try:
            values[name] = _TYPES[name](value)
        except ValueError:
            kind = "a whole number" if _TYPES[name] is int else "a number"
            raise HistoryError(f"{spec!r}: {name} must be {kind}, not {value!r}") from None
    return Household(**values)  # type: ignore[arg-type]  # each has the type of its setting


def household_name(spec: str) -> str:
    """Return what a household's sessions have in common, whatever else their spec says: ``household:seed=7``.

    People are drawn one after the other, and their days too: more of either leaves what the first ones do as it is.

    Raises:
        HistoryError, ConfigurationError: As for `read_household`.
    """
    return f"{_SCHEME}:seed={read_household(spec).seed}"


class HouseholdReader:
    """Simulates the household that a spec describes; nothing is read."""

    name = _SCHEME
    kinds: tuple[str, ...] = (KIND,)
    rule = SplitRule()

    def detects(self, path: Path) -> bool:
        """Return whether the path is a spec."""
        return str(path).partition(":")[0] == _SCHEME and not path.exists()

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield what happens in the household; see `Reader.read`."""
        for event in read_household(str(path)).events():
            report.ok()
            yield event
