"""What became of earlier preloads: the correction of stated probabilities."""

from __future__ import annotations

import math
from collections import defaultdict

from preloader.events import Preload, PreloadOutcome, Tier
from preloader.logodds import LogOddsShifts

_BIN = 0.7  # how wide a bin of stated log-odds is: .9 and .99 are far apart
_SUREST = 7.0  # log-odds beyond which all are alike
_TRUST = 8.0  # a stated probability weighs as much as so many outcomes
_MEMORY = 200.0  # outcomes of a bin beyond which older ones fade
_KEYS = 4_096  # keys with a record of their own; those not preloaded for longest are forgotten
_ALIKE = 4.0  # how strongly a key is held to be like the others: the precision of its log-odds
_FADING = 0.99  # what each outcome of a key leaves of the weight of those before it


class TrackRecord:
    """Corrects probabilities by outcomes, of preloads of the same tier and stated probability, and of the same key.

    A predictor may be right that something is used within ten items, and the preload still be lost, since it was
    evicted, preempted or late; and where the world has drifted it overstates some keys and understates others. Only
    outcomes tell. The first correction is the mean of a Beta posterior whose prior is what was stated. The second
    shifts its log-odds by what the key's own outcomes say (`preloader.logodds`).
    """

    def __init__(self) -> None:
        self._used: defaultdict[tuple[Tier, int], float] = defaultdict(float)
        self._ended: defaultdict[tuple[Tier, int], float] = defaultdict(float)
        self._shifts = LogOddsShifts(alike=_ALIKE, fading=_FADING, keys=_KEYS)

    def corrected(self, key: str, tier: Tier, probability: float) -> float:
        """Return P(used) of a preload, given what was stated and how that turned out before."""
        return self._shifts.shifted(key, self._alike(tier, probability))

    def enter(self, preload: Preload) -> None:
        """Enter an outcome; one that says nothing about a probability (failed, dropped) is passed over."""
        if preload.outcome not in (PreloadOutcome.USED, PreloadOutcome.WASTED) or not 0.0 <= preload.probability <= 1.0:
            return
        is_used = preload.outcome is PreloadOutcome.USED
        self._shifts.learn(preload.key, self._alike(preload.tier, preload.probability), is_used)
        cell = _cell(preload.tier, preload.probability)
        if self._ended[cell] >= _MEMORY:
            self._ended[cell] /= 2.0
            self._used[cell] /= 2.0
        self._ended[cell] += 1.0
        self._used[cell] += is_used

    def _alike(self, tier: Tier, probability: float) -> float:
        cell = _cell(tier, probability)
        return (_TRUST * probability + self._used[cell]) / (_TRUST + self._ended[cell])


def _cell(tier: Tier, probability: float) -> tuple[Tier, int]:
    surest = 1.0 / (1.0 + math.exp(-_SUREST))
    kept = min(max(probability, 1.0 - surest), surest)
    return tier, math.floor(math.log(kept / (1.0 - kept)) / _BIN)
