"""One token bucket of the waste budget."""

from __future__ import annotations

from preloader.events import PreloadOutcome


class Account:
    """One token bucket, in units of preloads or of bytes.

    Invariant, whatever happens: wasted + outstanding ≤ allowance + earned, where each unit used earns α / (1 − α).

    Attributes:
        used: Units that preloads brought which were used.
        wasted: Units that they brought in vain.
        outstanding: Units whose end is not known.
        expected_waste: How many of the outstanding ones their probabilities let expect to be wasted.

    Args:
        share: α, the share of what is preloaded that may be wasted.
    """

    def __init__(self, share: float) -> None:
        self._earn = share / (1.0 - share)
        self.used = 0.0
        self.wasted = 0.0
        self.outstanding = 0.0
        self.expected_waste = 0.0

    def left(self, allowance: float) -> float:
        """Return how much more may be outstanding."""
        return allowance + self._earn * self.used - self.wasted - self.outstanding

    def expected(self, allowance: float) -> float:
        """Return how much is likely to be left once all outstanding ones have ended."""
        used = self.used + self.outstanding - self.expected_waste
        return allowance + self._earn * used - self.wasted - self.expected_waste

    def charge(self, units: float, probability: float) -> None:
        """Enter a preload whose end is not known."""
        self.outstanding += units
        self.expected_waste += (1.0 - probability) * units

    def settle(self, charged: float, probability: float, actual: float, outcome: PreloadOutcome) -> None:
        """Take back what was charged and enter what came of it."""
        self.outstanding -= charged
        self.expected_waste -= (1.0 - probability) * charged
        if outcome is PreloadOutcome.USED:
            self.used += actual
        elif outcome is PreloadOutcome.WASTED:
            self.wasted += actual
