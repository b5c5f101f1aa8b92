"""Tier routing: which predictions become preloads, and how urgently."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter

import msgspec

from preloader.decision.conformal import ConformalPolicy
from preloader.decision.value import ExpectedValuePolicy
from preloader.errors import ConfigurationError
from preloader.events import Decision, Prediction, Preload, Tier
from preloader.ports import Budget, DecisionPolicy


class NoPreload:
    """Refuses everything: what a run without preloading uses."""

    name = "none"

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`."""
        return []

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """The probabilities from which a tier is chosen.

    Attributes:
        immediate: P(next item) above this goes to the immediate tier.
        delayed: P(within two items) above this goes to the delayed tier.
        background: P(used if loaded) of at least this goes to the background tier.
    """

    immediate: float = 0.9
    delayed: float = 0.7
    background: float = 0.3


_REFUSED = "P(used if loaded) {p:.2f} < {at}: refused"
_READY = "ready already: refused"
_NOTHING: dict[str, float | str] = {}
_PROBABILITY, _STEPS = attrgetter("probability"), attrgetter("steps")


class ThresholdPolicy:
    """Routes by fixed thresholds: sure and next → immediate, likely and near → delayed, possible → background.

    A step's probability says which item comes if one does. Whether one does, P(used if loaded) knows: nothing is taken
    for likelier than that, so that what would surely be next is not loaded when the session is about to end.

    Args:
        thresholds: Where to cut.
    """

    name = "thresholds"

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._at = at = thresholds or Thresholds()
        self._least = min(at.immediate, at.delayed, at.background)
        self._refused: dict[str, float | str] = {"at": at.background}

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`. Predictions below a third of the lowest threshold are not worth a word."""
        floor, least, refused = self._at.background / 3, self._least, self._refused
        decisions = []
        for prediction in predictions:
            worth = prediction.p_use_if_loaded
            if not worth >= floor:
                continue
            key = prediction.key
            if key in residents:
                decision = Decision(key, None, prediction.p_use_soon, len(prediction.per_step), _READY, _NOTHING)
            elif worth < least:  # most are, and no probability below is taken for larger
                decision = Decision(key, None, worth, len(prediction.per_step), _REFUSED, refused)
            else:
                decision = self._route(prediction)
            decisions.append(decision)
        decisions.sort(key=_PROBABILITY, reverse=True)
        decisions.sort(key=_STEPS)  # stable: among those, the likeliest first
        return decisions

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`. Fixed thresholds learn nothing."""

    def _route(self, prediction: Prediction) -> Decision:
        key, at = prediction.key, self._at
        worth, steps = prediction.p_use_if_loaded, len(prediction.per_step)
        near = 1.0 - (1.0 - prediction.per_step[0]) * (1.0 - sum(prediction.per_step[1:2]))
        next_item, within_two = min(prediction.per_step[0], worth), min(near, worth)
        if next_item > at.immediate:
            rule = "P(next) {p:.2f} > {at}: immediate"
            return Decision(key, Tier.IMMEDIATE, next_item, 1, rule, {"p": next_item, "at": at.immediate})
        if within_two > at.delayed:
            rule = "P(within 2) {p:.2f} > {at}: delayed"
            return Decision(key, Tier.DELAYED, within_two, 2, rule, {"p": within_two, "at": at.delayed})
        if worth >= at.background:
            rule = "P(used if loaded) {p:.2f} ≥ {at}: background"
            return Decision(key, Tier.BACKGROUND, worth, steps, rule, {"p": worth, "at": at.background})
        return Decision(key, None, worth, steps, _REFUSED, self._refused)


POLICIES: dict[str, type[DecisionPolicy]] = {
    policy.name: policy for policy in (NoPreload, ThresholdPolicy, ExpectedValuePolicy, ConformalPolicy)
}


def base_policy(name: str, waste: float | None = None) -> DecisionPolicy:
    """Return a new decision policy by name; ``waste`` is the share that one which controls it aims at.

    Raises:
        ConfigurationError: There is no policy of that name.
    """
    if name == ConformalPolicy.name and waste:
        return ConformalPolicy(waste)
    try:
        return POLICIES[name]()
    except KeyError:
        raise ConfigurationError(f"unknown decision policy {name!r}: choose one of {', '.join(POLICIES)}") from None
