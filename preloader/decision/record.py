"""What became of earlier preloads of the same tier and stated probability: the correction of stated probabilities."""

from __future__ import annotations

from collections import defaultdict

from preloader.events import Preload, PreloadOutcome, Tier

_BINS = 10
_TRUST = 8.0  # a stated probability weighs as much as so many outcomes
_MEMORY = 200.0  # outcomes of a bin beyond which older ones fade


class TrackRecord:
    """Corrects probabilities by outcomes: the mean of a Beta posterior whose prior is what was stated.

    A predictor may be right that something is used within ten items, and the preload still be lost, since it was
    evicted, preempted or late. Only outcomes tell.
    """

    def __init__(self) -> None:
        self._used: defaultdict[tuple[Tier, int], float] = defaultdict(float)
        self._ended: defaultdict[tuple[Tier, int], float] = defaultdict(float)

    def corrected(self, tier: Tier, probability: float) -> float:
        """Return P(used) of a preload, given what was stated and how that turned out before."""
        cell = _cell(tier, probability)
        return (_TRUST * probability + self._used[cell]) / (_TRUST + self._ended[cell])

    def enter(self, preload: Preload) -> None:
        """Enter an outcome; one that says nothing about the prediction (failed, dropped) is passed over."""
        if preload.outcome not in (PreloadOutcome.USED, PreloadOutcome.WASTED):
            return
        cell = _cell(preload.tier, preload.probability)
        if self._ended[cell] >= _MEMORY:
            self._ended[cell] /= 2.0
            self._used[cell] /= 2.0
        self._ended[cell] += 1.0
        self._used[cell] += preload.outcome is PreloadOutcome.USED


def _cell(tier: Tier, probability: float) -> tuple[Tier, int]:
    return tier, min(_BINS - 1, int(probability * _BINS))
