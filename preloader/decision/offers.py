"""What has been offered lately: how sure the best of it is."""

from __future__ import annotations

import math

_SHARE = 0.1
_STEP = 0.2  # of log-odds
_SUREST = 12.0  # log-odds beyond which all are alike
_FIRST = 2.0  # log-odds


class Offers:
    """Follows the probability that one offer in ten exceeds.

    The quantile is tracked by stochastic approximation (Robbins and Monro 1951) in log-odds, with steps that do not
    shrink: so it forgets, and a hundred offers suffice to find it.
    """

    def __init__(self) -> None:
        self._log_odds = _FIRST

    @property
    def best(self) -> float:
        """The probability that one offer in ten exceeds."""
        return 1.0 / (1.0 + math.exp(-self._log_odds))

    def enter(self, probability: float) -> None:
        """Enter an offer: what a policy would preload, by the probability that it is used, from 0 to 1."""
        surest = 1.0 / (1.0 + math.exp(-_SUREST))
        kept = min(max(probability, 1.0 - surest), surest)
        self._log_odds += _STEP * ((1.0 - _SHARE) if math.log(kept / (1.0 - kept)) > self._log_odds else -_SHARE)
