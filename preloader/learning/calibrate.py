"""Makes a network's figures come true as often as they say: temperatures and Platt scaling, found on validation."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from preloader.learning.examples import NOTHING, UNKNOWN, Examples
from preloader.ndarray import NDArray
from preloader.prediction.sequence import Calibration

_BOUNDS = (-1.5, 1.5)  # of a temperature's logarithm
_MOST = 400_000  # pairs of example and key that suffice to fit two numbers
_ENOUGH = 50


def calibrate(logs: NDArray[np.float32], odds: NDArray[np.float32], examples: Examples, seed: int = 0) -> Calibration:
    """Return the calibration that fits what came best.

    Args:
        logs: The network's log-probabilities on ``examples``, shape (examples, steps, 1 + vocabulary).
        odds: Its log-odds of use, shape (examples, 2, 1 + vocabulary).
        examples: What came.
        seed: Of the draw where there are more pairs than are needed.
    """
    temperatures = temperatures_of(logs, examples.labels, examples.weights)
    platt = [_platt(odds[:, use], examples.uses[:, use], seed) for use in range(odds.shape[1])]
    slopes, offsets = zip(*platt, strict=True)
    return Calibration(temperatures=temperatures, slopes=slopes, offsets=offsets)


def temperatures_of(
    logs: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float, ...]:
    """Return each step's temperature with the least log loss.

    Args:
        logs: Log-probabilities, shape (examples, steps, 1 + vocabulary).
        labels: The numbers of what came: (examples, steps).
        weights: How much each example counts; those that count in full are asked.
    """
    scored = weights == 1.0  # a step's probability is of the item that comes if one does
    return tuple(_temperature(logs[scored, step], labels[scored, step]) for step in range(logs.shape[1]))


def _temperature(logs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature with the least log loss (Guo et al., ICML 2017)."""
    came = labels != NOTHING
    if came.sum() < _ENOUGH:
        return 1.0
    held, true = logs[came].astype(np.float64), labels[came]

    def loss(warmth: float) -> float:
        warmed = held / np.exp(warmth)
        warmed -= warmed.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(warmed).sum(axis=1)) - warmed[np.arange(len(true)), true]))

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def _platt(odds: NDArray[np.float32], uses: NDArray[np.uint8], seed: int) -> tuple[float, float]:
    """Return slope and offset of the log-odds (Platt 1999); none where too little is known."""
    known = np.flatnonzero(uses.ravel() != UNKNOWN)
    if len(known) > _MOST:
        known = np.random.default_rng(seed).choice(known, _MOST, replace=False)
    used = uses.ravel()[known] == 1
    if min(used.sum(), (~used).sum()) < _ENOUGH:
        return 1.0, 0.0
    fitted = LogisticRegression(C=1e6).fit(odds.ravel()[known, None], used)
    slope = float(fitted.coef_[0, 0])
    return (slope, float(fitted.intercept_[0])) if slope > 0 else (1.0, 0.0)
