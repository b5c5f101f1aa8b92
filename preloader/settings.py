"""Every setting of the manager, its default, and the range that it may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from preloader.checks import Rule, check, is_name, is_number, is_whole

MAX_STEPS = 32

PerTier = tuple[int, int, int]
"""One figure for each of the tiers, in the order of `preloader.events.Tier`."""

Levels = tuple[float, float, float, float]
"""Shares from which on pressure is medium, high, critical and an emergency."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a manager behaves.

    Attributes:
        budget_bytes: What resident resources may occupy in all.
        steps: How many items ahead predictions look.
        tier_capacity: How many preloads may wait in each tier; the least urgent is dropped beyond that.
        tier_patience_s: How long a preload waits in each tier until that counts as long: the tier then goes by expected
            seconds saved for each byte, and gets more workers.
        tier_workers: How many preloads each tier loads at once, while nothing waits long.
        most_tier_workers: How many it loads at once at most, with a long queue and idle processors; where
            `tier_workers` is more, that. On busy processors it goes down to one.
        loaders: How many loads may run at once in all, needs included; ``None`` sets no further limit.
        load_timeout_s: After how long a load is given up.
        load_attempts: How often a load is tried before it counts as failed.
        retry_wait_s: Wait before the second attempt; it doubles for each further one.
        quarantine_after: After how many failed loads in a row a resource is quarantined.
        quarantine_s: For how long it then is not tried.
        policy: Name of the decision policy.
        waste_budget: Largest share of preloads that may be wasted, 0 to 1; ``None`` sets no limit.
        waste_burst: How many preloads may be wasted beyond that share, before any was useful.
        eviction: Name of the eviction policy.
        warm_start: Whether what earlier sessions used at this time of day is considered for preloading when the manager
            starts, and when a user's first session begins.
        autosave_s: How often the predictor's state is saved, where it is given a place.
        inference_timeout_s: After how long a prediction that runs off the loop is given up.
        bundle_timeout_s: After how long a bundle that is being opened is given up.
        pressure: Whether to watch how short memory is, and to give way (docs/pressure.md).
        pressure_interval_s: How often to look while there is plenty; more often when there is not.
        pressure_calm_s: How long it must be better before the level of pressure falls.
        pressure_used: From which share of the memory in use on pressure is medium, high, critical and an emergency.
        pressure_stalled: The same, for the share of time in which something waits for memory.
        pressure_budget: What is left of the budget when pressure is high, critical and an emergency, as shares.
        swap_every: While a bundle is on trial, or may be rolled back, every so manieth item is scored: that asks a
            predictor without stages once more, on the loop.

    Raises:
        ConfigurationError: A value is of the wrong type or out of its range.
    """

    budget_bytes: int = 3_000_000_000
    steps: int = 3
    tier_capacity: PerTier = (10, 20, 50)
    tier_patience_s: tuple[float, float, float] = (2.0, 10.0, 60.0)
    tier_workers: PerTier = (3, 3, 3)
    most_tier_workers: PerTier = (6, 6, 6)
    loaders: int | None = None
    load_timeout_s: float = 30.0
    load_attempts: int = 3
    retry_wait_s: float = 0.1
    quarantine_after: int = 3
    quarantine_s: float = 60.0
    policy: str = "thresholds"
    waste_budget: float | None = 0.10
    waste_burst: float = 4.0
    eviction: str = "predictive"
    warm_start: bool = True
    autosave_s: float = 300.0
    inference_timeout_s: float = 5.0
    bundle_timeout_s: float = 60.0
    swap_every: int = 1
    pressure: bool = True
    pressure_interval_s: float = 1.0
    pressure_calm_s: float = 10.0
    pressure_used: Levels = (0.80, 0.90, 0.95, 0.98)
    pressure_stalled: Levels = (0.10, 0.25, 0.50, 0.75)
    pressure_budget: tuple[float, float, float] = (0.75, 0.5, 0.25)

    def __post_init__(self) -> None:
        check(self, _RULES)


def load_settings(path: Path | str) -> Settings:
    """Read settings from a TOML file; what it leaves out has its default.

    Raises:
        ConfigurationError: The file cannot be read, is not TOML, or a setting is unknown, of the wrong type or out of
            its range; the message names file, line and field.
    """
    from preloader.toml import TomlDocument  # most managers have their settings from their program

    return TomlDocument.read(path).convert((), Settings)


def _is_count(value: Any) -> bool:
    return is_whole(value, 1)


def _is_per_tier(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_count, value))


def _is_duration(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_patience(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_duration, value))


def _is_part(value: Any) -> bool:
    return is_number(value) and 0 < value <= 1


def _is_rising(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 4 and all(map(_is_part, value)) and list(value) == sorted(value)


def _is_falling(value: Any) -> bool:
    whole = isinstance(value, tuple) and len(value) == 3 and all(map(_is_part, value))
    return whole and list(value) == sorted(value, reverse=True)


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


_COUNT: Rule = (_is_count, "a whole number of at least 1")
_PER_TIER: Rule = (_is_per_tier, "three whole numbers of at least 1 (immediate, delayed, background)")
_DURATION: Rule = (_is_duration, "a number of seconds above 0")
_LEVELS: Rule = (_is_rising, "four shares above 0 up to 1, none smaller than the one before")
_NAME: Rule = (is_name, "a name")

_RULES: dict[str, Rule] = {
    "budget_bytes": _COUNT,
    "steps": (lambda value: _is_count(value) and value <= MAX_STEPS, f"a whole number from 1 to {MAX_STEPS}"),
    "tier_capacity": _PER_TIER,
    "tier_patience_s": (_is_patience, "three numbers of seconds above 0 (immediate, delayed, background)"),
    "tier_workers": _PER_TIER,
    "most_tier_workers": _PER_TIER,
    "loaders": (lambda value: value is None or _is_count(value), "a whole number of at least 1, or left out"),
    "load_timeout_s": _DURATION,
    "load_attempts": _COUNT,
    "retry_wait_s": (lambda value: is_number(value) and value >= 0, "a number of seconds of at least 0"),
    "quarantine_after": _COUNT,
    "quarantine_s": _DURATION,
    "policy": _NAME,
    "waste_budget": (lambda value: value is None or _is_share(value), "a share from 0 up to but below 1, such as 0.1"),
    "waste_burst": (lambda value: is_number(value) and value >= 0, "a number of preloads of at least 0"),
    "eviction": _NAME,
    "warm_start": (lambda value: isinstance(value, bool), "true or false"),
    "autosave_s": _DURATION,
    "inference_timeout_s": _DURATION,
    "bundle_timeout_s": _DURATION,
    "swap_every": _COUNT,
    "pressure": (lambda value: isinstance(value, bool), "true or false"),
    "pressure_interval_s": _DURATION,
    "pressure_calm_s": (lambda value: is_number(value) and value >= 0, "a number of seconds of at least 0"),
    "pressure_used": _LEVELS,
    "pressure_stalled": _LEVELS,
    "pressure_budget": (_is_falling, "three shares above 0 up to 1, none larger than the one before"),
}
