"""The predictor beside the live one, what it is there for, and how the two compare."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from preloader.ports import Predictor
from preloader.prediction.evidence import Evidence


class SwapSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When to swap.

    Attributes:
        margin: By how many nats an item the better one must be better, on average; a swap has its price.
        alpha: Largest probability that one that is not better is promoted, however long it is tried, and that one
            that is not worse is rolled back.
        max_items: After so many scored items a trial ends without promotion, and a probation with its end.
        every: Score every so manieth item. Predictors that are not staged are asked once more for it, on the loop.
        floor: A smaller probability counts as this: no policy acts on it, and a bounded loss is decided on sooner.
    """

    margin: float = 0.02
    alpha: float = 0.05
    max_items: int = 5_000
    every: int = 1
    floor: float = 0.01


class SwapState(StrEnum):
    """Whether there is a shadow, and which."""

    STEADY = "steady"
    TRIAL = "trial"
    PROBATION = "probation"


class Shadow:
    """Who is compared with the live predictor, and how they compare so far.

    That the shadow is better is tested in stretches. One ends when the shadow was clearly no better in it: else a long
    good time of the live one would have to be made up for before a bad time could be seen. The k-th stretch is tested
    at level α/(k(k+1)), which adds up to α.
    """

    def __init__(
        self, predictor: Predictor, label: str, state: SwapState, settings: SwapSettings, of_bundle: str = ""
    ) -> None:
        self.predictor = predictor
        self.label = label
        self.state = state
        self.of_bundle = of_bundle
        self.items = 0
        self.loss = 0.0
        self.live_loss = 0.0
        self._settings = settings
        self._stretch = 0
        self._worse = self._evidence()
        self._begin_stretch()

    def add(self, live_loss: float, shadow_loss: float) -> None:
        """Take note of one item's losses."""
        self.items += 1
        self.live_loss += live_loss
        self.loss += shadow_loss
        self._better.add(live_loss - shadow_loss)
        self._worse.add(shadow_loss - live_loss)
        if self._better.log_e <= math.log(self._settings.alpha):
            self._begin_stretch()

    def is_better(self) -> bool:
        """Return whether the shadow has proved better by the margin."""
        return self._better.log_e >= math.log(self._stretch * (self._stretch + 1) / self._settings.alpha)

    def is_worse(self) -> bool:
        """Return whether the live predictor has proved better by the margin."""
        return self._worse.log_e >= -math.log(self._settings.alpha)

    def compared(self, live: str) -> str:
        """Return the comparison in words."""
        if not self.items:
            return "nothing was scored"
        means = (self.label, self.loss / self.items, live, self.live_loss / self.items)
        return "log loss of {} {:.3f}, of {} {:.3f}".format(*means)

    def _begin_stretch(self) -> None:
        self._stretch += 1
        self._better = self._evidence()

    def _evidence(self) -> Evidence:
        return Evidence(self._settings.margin, -math.log(self._settings.floor))
