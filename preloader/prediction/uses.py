"""Whether a key is used at all, out of what several experts say: their log-odds, weighed (stacked: Wolpert 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.prediction.state import fitting, within

FloatArray = NDArray[np.float64]

_EDGE = 1e-6
_ROUNDS = 25
_LEAST = 0.01  # of an expert's weight: where it alone can say, it is to be heard
_DOUBT = 1.0  # how strongly fitted weights are held at equal ones (ridge)


@runtime_checkable
class EstimatesUse(Protocol):
    """A predictor that says how likely single keys are used."""

    def uses(self, context: Context, keys: Sequence[str]) -> FloatArray:
        """Return P(used if loaded) and P(used soon), shape (2, keys); not a number where it cannot say. Pure."""


class UseStack:
    """Weighs the experts' log-odds of use. An expert that cannot say of a key leaves its weight to the others.

    Args:
        experts: How many; at first all weigh the same.
    """

    def __init__(self, experts: int) -> None:
        self.weights = np.full((2, experts), 1.0 / max(experts, 1))
        self.biases = np.zeros(2)

    def combine(self, chances: FloatArray) -> FloatArray:
        """Return P(used if loaded) and P(used soon) of all keys, the first at least the second.

        Args:
            chances: What each expert says, shape (experts, 2, keys); not a number where it cannot say.

        Returns:
            Shape (2, keys); not a number where nobody can say.
        """
        weights = self.weights.T[:, :, None]
        weighed = weights * _log_odds(chances)
        is_silent = np.isnan(chances)
        combined: FloatArray
        if is_silent.any():
            weighed[is_silent] = 0.0
            total = (weights * ~is_silent).sum(axis=0)
            scale = np.where(total > 0, self.weights.sum(axis=1)[:, None] / np.where(total > 0, total, 1.0), np.nan)
            combined = weighed.sum(axis=0) * scale
        else:
            combined = weighed.sum(axis=0)
        combined = _chance(combined + self.biases[:, None])
        np.fmax(combined[0], combined[1], out=combined[0])
        return combined

    def fit(self, quantity: int, chances: FloatArray, used: NDArray[np.bool_]) -> None:
        """Fit the weights of one quantity by logistic regression (Newton's method), drawn towards equal weights.

        Args:
            quantity: 0: used if loaded; 1: used soon.
            chances: What each expert said, shape (cases, experts). An expert that never could say gets no weight; cases
                that not all the others could say are left out.
            used: Whether it was used, shape (cases,).
        """
        speaks = ~np.isnan(chances).all(axis=0)
        kept = ~np.isnan(chances[:, speaks]).any(axis=1)
        if not kept.any() or not speaks.any():
            return
        odds, came = _log_odds(chances[kept][:, speaks]), used[kept].astype(np.float64)
        inputs = np.column_stack([odds, np.ones(len(odds))])
        first = np.append(np.full(odds.shape[1], 1.0 / odds.shape[1]), 0.0)
        found = first.copy()
        for _ in range(_ROUNDS):
            chance = _chance(inputs @ found)
            gradient = inputs.T @ (came - chance) - _DOUBT * (found - first)
            curvature = (inputs * (chance * (1.0 - chance))[:, None]).T @ inputs + _DOUBT * np.eye(len(found))
            found += np.linalg.solve(curvature, gradient)
        self.weights[quantity] = 0.0
        self.weights[quantity, speaks] = np.maximum(found[:-1], _LEAST)
        self.biases[quantity] = found[-1]

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the weights and biases."""
        return {"weights": self.weights.copy(), "biases": self.biases.copy()}

    def load(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Take over ``weights`` and ``biases``.

        Raises:
            KeyError, ValueError: They are damaged.
        """
        fitting("weights", arrays["weights"], self.weights)
        fitting("biases", arrays["biases"], self.biases)
        within("weights", arrays["weights"], 0.0, 1e3)
        self.weights[...], self.biases[...] = arrays["weights"], arrays["biases"]


def _log_odds(chances: FloatArray) -> FloatArray:
    kept = np.minimum(np.maximum(chances, _EDGE), 1.0 - _EDGE)
    odds: FloatArray = np.log(kept / (1.0 - kept))
    return odds


def _chance(odds: FloatArray) -> FloatArray:
    chance: FloatArray = 1.0 / (1.0 + np.exp(np.minimum(np.maximum(-odds, -30.0), 30.0)))
    return chance
