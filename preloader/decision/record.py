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
_FADING = 0.99  # what each outcome of a key, or of all, leaves of the weight of those before it
_CANDID = 1.0  # how strongly what is stated is believed as a whole: the precision of its log-odds
_ALL = ""


class TrackRecord:
    """Corrects probabilities by outcomes: of all preloads, of those of its tier and stated probability, and of its key.

    A predictor may be right that something is used within ten items, and the preload still be lost, since it was
    evicted, preempted or late; and where the world has drifted it overstates some keys and understates others. Only
    outcomes tell. Who overstates one thing mostly overstates the rest, so first the log-odds are shifted by what all
    outcomes say (`preloader.logodds`): that takes a handful of them, where each sort of preload by itself would cost
    as many. The second correction is the mean of a Beta posterior whose prior is the first. The third shifts its
    log-odds by what the key's own outcomes say.
    """

    def __init__(self) -> None:
        self._used: defaultdict[tuple[Tier, int], float] = defaultdict(float)
        self._ended: defaultdict[tuple[Tier, int], float] = defaultdict(float)
        self._shift = LogOddsShifts(alike=_CANDID, fading=_FADING, keys=1)
        self._shifts = LogOddsShifts(alike=_ALIKE, fading=_FADING, keys=_KEYS)

    def corrected(self, key: str, tier: Tier, probability: float) -> float:
        """Return P(used) of a preload, given what was stated and how that turned out before."""
        return self._shifts.shifted(key, self._alike(tier, probability))

    def enter(self, preload: Preload) -> None:
        """Enter an outcome; one that says nothing about a probability (failed, dropped) is passed over."""
        if preload.outcome not in (PreloadOutcome.USED, PreloadOutcome.WASTED) or not 0.0 <= preload.probability <= 1.0:
            return
        is_used = preload.outcome is PreloadOutcome.USED
        self._shift.learn(_ALL, preload.probability, is_used)
        self._shifts.learn(preload.key, self._alike(preload.tier, preload.probability), is_used)
        cell = _cell(preload.tier, preload.probability)
        if self._ended[cell] >= _MEMORY:
            self._ended[cell] /= 2.0
            self._used[cell] /= 2.0
        self._ended[cell] += 1.0
        self._used[cell] += is_used

    def _alike(self, tier: Tier, probability: float) -> float:
        cell = _cell(tier, probability)
        prior = self._shift.shifted(_ALL, probability)
        return (_TRUST * prior + self._used[cell]) / (_TRUST + self._ended[cell])


def _cell(tier: Tier, probability: float) -> tuple[Tier, int]:
    surest = 1.0 / (1.0 + math.exp(-_SUREST))
    kept = min(max(probability, 1.0 - surest), surest)
    return tier, math.floor(math.log(kept / (1.0 - kept)) / _BIN)
