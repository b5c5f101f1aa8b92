"""Ratios of sums over sessions, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from preloader.evaluation.metrics import CONFIDENCE


def ratio_interval(
    above: Sequence[float], below: Sequence[float], seed: int = 0, bootstraps: int = 1_000
) -> tuple[float, float] | None:
    """Return the 95 % interval of ``sum(above) / sum(below)`` when sessions are drawn anew.

    Args:
        above: One number a session.
        below: Likewise.
        seed: Of the draws.
        bootstraps: How many resamples; those whose ``below`` sums to nothing are left out.
    """
    sessions = len(above)
    if not sessions:
        return None
    draws = np.random.default_rng(seed).multinomial(sessions, np.full(sessions, 1 / sessions), size=bootstraps)
    tops, bottoms = draws @ np.asarray(above, float), draws @ np.asarray(below, float)
    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    if not len(ratios):
        return None
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
