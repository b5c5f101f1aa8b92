"""Expected value: a preload pays where the seconds that it should save exceed what its waste and room should cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import Decision, Prediction, Preload, Tier
from preloader.ports import Budget

_LEAST: Final = 0.05  # P(used if loaded) of what is worth a word


class ExpectedValuePolicy:
    """Preloads what should save more seconds than it should cost.

    With p = P(used if loaded), L the seconds that loading takes and λ the price of a second loaded in vain, the value
    of a preload is p·L − (1 − p)·λ·L − Σ P(v)·L(v), where v are the residents that it would displace: those that the
    eviction policy would give up for it, with what is free taken into account (`Budget.loss_s`). Above 0 it is
    accepted. The tier is that of the item at which it is likely needed; within a tier what is worth most comes
    first, and the cheaper load of two that are worth the same.

    Args:
        price: λ; without displacement p must exceed λ ÷ (1 + λ). A waste budget above asks for more as it needs to.

    Raises:
        ConfigurationError: The price is negative, or no number.
    """

    name = "expected_value"

    def __init__(self, price: float = 0.5) -> None:
        if not price >= 0.0:
            raise ConfigurationError(f"the price of waste is a number from 0, not {price!r}")
        self._price = price

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`."""
        valued = [
            self._value(prediction, budget)
            for prediction in predictions
            if prediction.p_use_if_loaded >= _LEAST and prediction.key not in residents
        ]
        valued.sort(key=lambda one: (one[0].steps, -one[1], one[2]))
        return [decision for decision, _, _ in valued]

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`. Values follow from predictions and costs alone."""

    def _value(self, prediction: Prediction, budget: Budget) -> tuple[Decision, float, float]:
        """Return a decision, and what it is worth and takes, in seconds."""
        key, p = prediction.key, prediction.p_use_if_loaded
        tier, steps = when_needed(prediction)
        try:
            load_s = budget.cost(key).seconds
            loss_s = budget.loss_s(key)
        except UnknownResourceError:
            return Decision(key, None, p, steps, "no such resource: refused"), 0.0, 0.0
        worth_s = p * load_s - (1.0 - p) * self._price * load_s - loss_s
        figures: dict[str, float | str] = {
            "p": p,
            "load": load_s,
            "price": self._price,
            "loss": loss_s,
            "worth": worth_s,
            "verdict": tier.name.lower() if worth_s > 0.0 else "refused",
        }
        rule = (
            "{p:.2f}·{load:.2f} s saved - (1 - {p:.2f})·{price:g}·{load:.2f} s wasted - {loss:.2f} s displaced = "
            "{worth:.2f} s: {verdict}"
        )
        return Decision(key, tier if worth_s > 0.0 else None, p, steps, rule, figures), worth_s, load_s


def when_needed(prediction: Prediction) -> tuple[Tier, int]:
    """Return the tier of a resource, and how many items ahead it is likely needed.

    That is the first step by which half of the chance that it is used at all has passed, or else the last.
    """
    half = prediction.p_use_if_loaded / 2.0
    reached = 0.0
    for step, chance in enumerate(prediction.per_step, 1):
        reached += chance
        if reached >= half:
            return Tier(min(step, len(Tier)) - 1), step
    return Tier.BACKGROUND, max(1, len(prediction.per_step))
