"""Sequential evidence that one predictor beats another, which may be looked at after every item.

Tests that assume a fixed number of observations promote by chance sooner or later when they are repeated after each
one. An *e-process* does not: under the null hypothesis it exceeds 1/α, at any time whatever, with probability at most
α (Ville's inequality). This one bets, after Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
betting" (JRSS B, 2024), on score differences, as do Choe & Ramdas, "Comparing sequential forecasters" (Operations
Research, 2024); both build on Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence sequences" (Annals
of Statistics, 2021).
"""

from __future__ import annotations

import numpy as np

_BETS = np.array(
    [0.05, 0.1, 0.2, 0.4, 0.8]
)  # fractions of the wealth, for large, noisy and for small, steady advantages


class Evidence:
    """An e-process against "the advantage was at most ``margin`` on average so far".

    Wealth grows by ``1 + bet × (advantage − margin)`` at each item, and the evidence is the mean over some fixed bets.
    For independent, identically distributed or drifting advantages alike: with conditional means μ₁…μₙ, the product of
    ``1 + bet × (xᵢ − margin)`` over that of ``1 + bet × (μᵢ − margin)`` is a martingale that begins at 1, and where
    the μᵢ are on average at most ``margin`` the divisor is at most 1 (the means' inequality), so the evidence is at
    most the martingale.

    Args:
        margin: What the advantage must exceed on average, in the same unit.
        bound: Largest advantage, either way; what is larger is cut.
    """

    def __init__(self, margin: float, bound: float) -> None:
        self._margin = margin / bound
        self._bound = bound
        self._bets = _BETS / (1.0 + abs(self._margin))
        self._log_wealth = np.zeros(len(_BETS))

    def add(self, advantage: float) -> None:
        """Take note of one advantage."""
        scaled = min(max(advantage / self._bound, -1.0), 1.0)
        self._log_wealth += np.log1p(self._bets * (scaled - self._margin))

    @property
    def log_e(self) -> float:
        """The logarithm of the evidence; ``log(1/α)`` is enough at level α, now and at any other time."""
        return float(np.logaddexp.reduce(self._log_wealth)) - float(np.log(len(self._bets)))
