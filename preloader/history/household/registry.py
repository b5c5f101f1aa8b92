"""The household's components as a component registry's file."""

from __future__ import annotations

from collections.abc import Sequence

from preloader.history.household.home import SimulatedComponent
from preloader.history.household.simulation import Household


def components_toml(household: Household) -> str:
    """Return a component registry in TOML, whose components only pretend to load."""
    title = f"# The components of a simulated household, seed {household.seed}; sizes in bytes, times in seconds.\n"
    return "\n".join([title, *map(_table, household.components)])


def _table(component: SimulatedComponent) -> str:
    lines = [
        f"[components.{component.name}]",
        'loader = "simulated"',
        f"bytes = {component.bytes:_}",
        f"load_s = {component.load_s}",
    ]
    lines += [f"requires = {_array(component.requires)}"] if component.requires else []
    lines += [f"conflicts = {_array(component.conflicts)}"] if component.conflicts else []
    lines += [f"priority = {component.priority}"] if component.priority != 1.0 else []
    return "\n".join(lines) + "\n"


def _array(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
