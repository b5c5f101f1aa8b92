"""A correction of stated probabilities for each key, from what came of them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping


class LogOddsShifts:
    """Shifts the log-odds of stated probabilities by what a key's own outcomes say.

    For each key a logistic regression of one weight, the shift, with a Gaussian prior around zero, updated by one
    Newton step an outcome. A key that was never seen is taken at its word.

    Args:
        alike: How strongly a key is held to be as it is stated: the precision of the prior.
        fading: What each outcome of a key leaves of the weight of those before it, so that about 1 ÷ (1 - fading) of
            them count.
        keys: Keys that are kept; those without an outcome for longest are forgotten.
    """

    def __init__(self, *, alike: float, fading: float, keys: int) -> None:
        self._alike = alike
        self._fading = fading
        self._max_keys = keys
        self._keys: OrderedDict[str, tuple[float, float]] = OrderedDict()  # shift, precision

    def __len__(self) -> int:
        return len(self._keys)

    def shifted(self, key: str, probability: float) -> float:
        """Return a key's probability as its outcomes correct it; 0 and 1 stay what they are."""
        known = self._keys.get(key)
        return probability if known is None else _shifted(probability, known[0])

    def learn(self, key: str, probability: float, came: bool) -> None:
        """Learn what came of a key of which ``probability`` was stated."""
        self.learn_all({key: probability}, came)

    def learn_all(self, stated: Mapping[str, float], came: bool) -> None:
        """Learn the same outcome of several keys, given the probability that was stated of each."""
        keys, alike, fading = self._keys, self._alike, self._fading
        outcome, unknown, drawn = float(came), (0.0, alike), (1.0 - fading) * alike
        for key, probability in stated.items():
            shift, precision = keys.pop(key, unknown)
            chance = _shifted(probability, shift) if shift else probability
            precision = alike + fading * (precision - alike) + chance * (1.0 - chance)
            keys[key] = (shift + (outcome - chance - drawn * shift) / precision, precision)
        while len(keys) > self._max_keys:
            keys.popitem(last=False)


def _shifted(probability: float, shift: float) -> float:
    if shift == 0.0 or not 0.0 < probability < 1.0:
        return probability
    return 1.0 / (1.0 + (1.0 - probability) / probability * math.exp(-shift))
