"""Conformal control: a threshold that moves with every outcome, so that in the long run a share α is wasted."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from preloader.decision.value import when_needed
from preloader.errors import ConfigurationError
from preloader.events import Decision, Prediction, Preload, PreloadOutcome
from preloader.ports import Budget

_LEAST: Final = 0.02
_HIGHEST: Final = 7.0  # log-odds; what is stated as likelier counts as that


class ConformalPolicy:
    """Preloads what is likelier than a threshold, which adaptive conformal inference holds where α is wasted.

    After each outcome the threshold, in log-odds, rises by γ · (1 − α) if the preload was wasted, and falls by γ · α if
    it was used (Gibbs & Candès, *Adaptive Conformal Inference Under Distribution Shift*, 2021); a second one does the
    same with outcomes weighed by their bytes, and both must be exceeded. Each opportunity that passes unused lowers
    them by γ · ε. Nothing is accepted above the highest log-odds, h, so that whatever the outcomes are

        wasted ≤ α · (used + wasted) + (h − θ₁) ÷ γ + outstanding + ε · opportunities.

    Unlike the bucket of `WasteBudget`, whose burst is a few preloads, this lets (h − θ₁) ÷ γ of them be wasted before
    it is strict: a guarantee in the long run. It asks nothing of the probabilities but that the likelier is the better.

    Args:
        share: α, between 0 and 1.
        rate: γ, in log-odds.
        start: θ₁, as a probability.
        trickle: ε.

    Raises:
        ConfigurationError: ``share`` or ``start`` is not between 0 and 1, or the rate not above 0.
    """

    name = "conformal"

    def __init__(self, share: float = 0.1, *, rate: float = 0.15, start: float = 0.9, trickle: float = 0.0003) -> None:
        for name, value in (("share", share), ("start", start)):
            if not 0.0 < value < 1.0:
                raise ConfigurationError(f"the {name} of conformal control is between 0 and 1, not {value!r}")
        if not rate > 0.0:
            raise ConfigurationError(f"the rate of conformal control is above 0, not {rate!r}")
        self._share = share
        self._rate = rate
        self._trickle = trickle
        self._by_count = self._by_bytes = _log_odds(start)
        self._ended = 0
        self._ended_bytes = 0

    @property
    def threshold(self) -> float:
        """The probability that a candidate must exceed at present."""
        return 1.0 / (1.0 + math.exp(-max(self._by_count, self._by_bytes)))

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`."""
        threshold = max(self._by_count, self._by_bytes)
        decisions = [
            self._route(prediction, threshold)
            for prediction in predictions
            if prediction.p_use_if_loaded >= _LEAST and prediction.key not in residents
        ]
        if decisions and all(decision.tier is None for decision in decisions):
            self._by_count -= self._rate * self._trickle
            self._by_bytes -= self._rate * self._trickle
        decisions.sort(key=lambda decision: (decision.steps, -decision.probability))
        return decisions

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`. What failed or was dropped says nothing."""
        if preload.outcome not in (PreloadOutcome.USED, PreloadOutcome.WASTED):
            return
        error = (preload.outcome is PreloadOutcome.WASTED) - self._share
        self._ended += 1
        self._ended_bytes += preload.bytes
        self._by_count = max(-_HIGHEST, self._by_count + self._rate * error)
        if self._ended_bytes:
            weight = preload.bytes * self._ended / self._ended_bytes
            self._by_bytes = max(-_HIGHEST, self._by_bytes + self._rate * error * weight)

    def _route(self, prediction: Prediction, threshold: float) -> Decision:
        key, p = prediction.key, prediction.p_use_if_loaded
        tier, steps = when_needed(prediction)
        at = 1.0 / (1.0 + math.exp(-threshold))
        if _log_odds(p) > threshold:
            rule = "P(used if loaded) {p:.3f} > {at:.3f}, the conformal threshold: {tier}"
            return Decision(key, tier, p, steps, rule, {"p": p, "at": at, "tier": tier.name.lower()})
        rule = "P(used if loaded) {p:.3f} ≤ {at:.3f}, the conformal threshold: refused"
        return Decision(key, None, p, steps, rule, {"p": p, "at": at})


def _log_odds(p: float) -> float:
    kept = min(max(p, 1e-12), 1.0 - 1e-12)
    return min(_HIGHEST, math.log(kept / (1.0 - kept)))
