"""Calibration that keeps adapting: a stated 0.7 comes true seven times in ten.

A row's probabilities are bent and made to sum to 1 again: ``q ∝ exp(φ(log p))``. φ is piecewise linear and rises
everywhere, so no ranking changes. One slope for all would be temperature scaling (Guo et al., *On Calibration of Modern
Neural Networks*, 2017); a slope for each range of probabilities also mends what is wrong at the top alone. The log loss
is convex in the slopes. They follow its gradient online, with steps that do not shrink to nothing.
"""

from __future__ import annotations

import math

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.state import within

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_HIGH = np.log([1.0, 0.85, 0.7, 0.5, 0.3, 0.1, 0.01])[:, None]  # where the ranges end, the surest first
_LOW = np.append(_HIGH[1:], [[-math.inf]], axis=0)
_LEAST, _MOST = 0.2, 5.0
_RATE = 0.05
_FIRST_SQUARES, _KEPT = 4.0, 0.9995


class Calibration:
    """The slopes of one kind, apart for each step.

    Args:
        horizon: How many steps.
    """

    def __init__(self, horizon: int) -> None:
        self._slopes = np.ones((horizon, len(_HIGH)))
        self._squares = np.full_like(self._slopes, _FIRST_SQUARES)

    def apply(self, probabilities: FloatArray, steps: IntArray) -> FloatArray:
        """Return calibrated probabilities; rows sum to 1, as those that come in do, or to 0 if these are all 0.

        Args:
            probabilities: Shape (steps, outcomes).
            steps: Which steps these are, from 0.
        """
        return self._bent(_parts(probabilities), steps)

    def learn(self, probabilities: FloatArray, steps: IntArray, columns: IntArray) -> None:
        """Move the slopes towards what came.

        Args:
            probabilities: What was to be calibrated, shape (steps, outcomes).
            steps: Which steps these are, from 0, each at most once.
            columns: The columns of what came, one a step.
        """
        parts = _parts(probabilities)
        surplus = -self._bent(parts, steps)
        surplus[np.arange(len(steps)), columns] += 1.0
        gradient = (parts @ surplus[:, :, None])[..., 0]
        squares = np.maximum(self._squares[steps] * _KEPT + gradient * gradient, _FIRST_SQUARES)
        self._squares[steps] = squares
        moved = self._slopes[steps] + _RATE * gradient / np.sqrt(squares)
        self._slopes[steps] = np.minimum(np.maximum(moved, _LEAST), _MOST)

    def arrays(self) -> dict[str, FloatArray]:
        """Return the state itself, not copies."""
        return {"slopes": self._slopes, "squares": self._squares}

    def check(self) -> None:
        """Check what was put into `arrays`.

        Raises:
            ValueError: It is damaged.
        """
        within("slopes", self._slopes, _LEAST, _MOST)
        within("squares", self._squares, 1e-9, math.inf)

    def _bent(self, parts: FloatArray, steps: IntArray) -> FloatArray:
        bent: FloatArray = (self._slopes[steps, None] @ parts)[:, 0]
        bent -= bent.max(axis=-1, keepdims=True)
        np.exp(bent, out=bent)
        bent /= bent.sum(axis=-1, keepdims=True)
        return bent


def _parts(probabilities: FloatArray) -> FloatArray:
    """Return how far each logarithm reaches into each range, shape (steps, ranges, outcomes); they sum to it."""
    logs = np.log(np.maximum(probabilities, 1e-12))
    parts: FloatArray = np.maximum(logs[:, None], _LOW)
    parts -= _HIGH
    return np.minimum(parts, 0.0, out=parts)
