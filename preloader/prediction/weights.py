"""Weights of experts that follow whoever did well lately, with a bound on what that costs.

The mixture is Bayesian: an expert's weight is multiplied by what it had given to the item that came. For the log loss
that is the aggregating algorithm with learning rate 1 (Vovk 1990). A small share of all weight is then spread evenly,
so that a new best expert is found soon (*fixed share*: Herbster & Warmuth, *Tracking the Best Expert*, 1998). Experts
may sleep through an item (*specialists*: Freund, Schapire, Singer & Warmuth 1997): the others keep what they have
together, and sleepers keep theirs.

With N experts, T items and a share α, the mixture's cumulative log loss exceeds that of any sequence of experts that
changes K - 1 times by at most ``ln N + (K - 1) ln(N / α) - (T - K) ln(1 - α)``; with α = 0, that of the best expert by
at most ``ln N``, and that of a sleeper, over the items it was awake for, by as much.
"""

from __future__ import annotations

import math

import numpy as np

from preloader.ndarray import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def even(*shape: int) -> FloatArray:
    """Return the logarithms of even weights over the last axis."""
    return np.full(shape, -math.log(shape[-1]))


def shares(log_weights: FloatArray, awake: BoolArray | None = None) -> FloatArray:
    """Return the weights of the experts that are awake, which sum to 1, or to 0 where all sleep.

    Args:
        log_weights: Shape (…, experts).
        awake: Of the same shape; ``None`` where nobody sleeps.
    """
    weights = log_weights if awake is None else np.where(awake, log_weights, -np.inf)
    most = weights.max(axis=-1, keepdims=True)
    if awake is not None:
        most = np.maximum(most, -1e300)  # where all sleep
    weights = np.exp(weights - most)
    total = weights.sum(axis=-1, keepdims=True)
    if awake is not None:
        total[total == 0.0] = 1.0
    result: FloatArray = weights / total
    return result


def updated(
    log_weights: FloatArray, log_likelihood: FloatArray, share: float, awake: BoolArray | None = None
) -> FloatArray:
    """Return the weights after an item has come.

    Args:
        log_weights: Logarithms of weights that sum to 1, shape (…, experts).
        log_likelihood: What each expert had given to the item that came, of the same shape, finite.
        share: What is spread evenly: from 0 to less than 1.
        awake: Of the same shape; ``None`` where nobody sleeps.
    """
    if awake is None:
        weights = log_weights + log_likelihood
        weights -= _log_sum(weights)
    else:
        weights = _updated_awake(log_weights, log_likelihood, awake)
    if share > 0.0:
        weights = np.log((1.0 - share) * np.exp(weights) + share / weights.shape[-1])
    return weights


def _updated_awake(log_weights: FloatArray, log_likelihood: FloatArray, awake: BoolArray) -> FloatArray:
    """Return the posterior in which those awake hold together what they held before."""
    before = np.where(awake, log_weights, -np.inf)
    after = np.where(awake, log_weights + log_likelihood, -np.inf)
    nobody = ~np.logical_or.reduce(awake, axis=-1)
    before[nobody] = after[nobody] = 0.0  # any figure will do where nobody is changed
    weights: FloatArray = np.where(
        awake, log_weights + log_likelihood + _log_sum(before) - _log_sum(after), log_weights
    )
    return weights


def _log_sum(logs: FloatArray) -> FloatArray:
    """Return the logarithm of the sum of exponentials over the last axis, which is kept."""
    most = logs.max(axis=-1, keepdims=True)
    total: FloatArray = most + np.log(np.exp(logs - most).sum(axis=-1, keepdims=True))
    return total
