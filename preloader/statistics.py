"""What a manager says of itself, in one snapshot."""

from __future__ import annotations

import msgspec

from preloader.scheduling.pressure_monitor import PressureStatistics
from preloader.scheduling.tiers import TierStatistics
from preloader.telemetry import LedgerTotals


class Statistics(msgspec.Struct, frozen=True):
    """A snapshot of a manager.

    Attributes:
        ledger: Needs and preloads by outcome, and what follows from them.
        tiers: By tier name.
        drops: How many preloads were given up before they were ready, by tier and reason.
        pressure: How short memory is, and what says so.
        residents: How many resources are ready.
        resident_bytes: What they occupy.
        budget_bytes: What they may occupy; a lowered budget may be exceeded by what is in use.
        speculative: How many of them were loaded ahead of a need, and not used since.
        speculative_bytes: What those occupy.
        counts: Events observed, evictions, preemptions, loader errors, timeouts, quarantines, predictor errors, …
    """

    ledger: LedgerTotals
    tiers: dict[str, TierStatistics]
    drops: dict[str, dict[str, int]]
    pressure: PressureStatistics
    residents: int
    resident_bytes: int
    budget_bytes: int
    speculative: int
    speculative_bytes: int
    counts: dict[str, int]
