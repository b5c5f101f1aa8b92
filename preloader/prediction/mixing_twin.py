"""The inner work of the mixture of experts in NumPy: a part of `twin`, and the reference for ``native/kernel``.

All arrays are C-contiguous; what a function changes comes first. Sizes: ``H`` steps of the horizon, ``E`` experts,
``V`` voices (the experts and their pool), ``T`` sets of weights, ``S`` rows, each of a step of its own, ``K`` outcomes:
the keys, and one that nobody names.
"""

from __future__ import annotations

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.weights import shares, updated

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def pool(
    chances: FloatArray,
    taken: IntArray,
    logs: FloatArray,
    unnamed: FloatArray,
    weights: FloatArray,
    own: FloatArray,
    biases: FloatArray,
    steps: IntArray,
    bounds: FloatArray,
    by_seen: int,
    by_sure: int,
) -> None:
    """Pool what experts say.

    Args:
        chances: Out: the pool's probabilities, (S, K).
        taken: Out: which sets of weights were taken, (3, S, E).
        logs: Logarithms of what the experts say, (E, S, K).
        unnamed: Whether an expert leaves a key out, as 0 or 1: (E, K).
        weights: The experts' weights, (H, E, T).
        own: The user's, (H, E).
        biases: What is added to keys that an expert leaves out, and to one that nobody names: (H, V).
        steps: Which steps the rows are, (S,).
        bounds: Logarithms of an expert's highest probability that part the sets, ascending: (B,).
        by_seen: The set for what is known of the user.
        by_sure: The first of the sets for how sure an expert is; there are B + 1.
    """
    sure = np.searchsorted(bounds, logs.max(axis=-1).T)  # (S, E)
    taken[0], taken[1], taken[2] = 0, by_seen, by_sure + sure
    chosen = weights[steps[:, None], np.arange(len(logs)), taken].sum(axis=0) + own[steps]  # (S, E)
    scores = np.einsum("sn,nsk->sk", chosen, logs)
    scores += biases[steps, :-1] @ unnamed
    scores[:, -1] += biases[steps, -1]
    np.exp(scores - scores.max(axis=-1, keepdims=True), out=chances)
    chances /= chances.sum(axis=-1, keepdims=True)


def learn_pool(
    weights: FloatArray,
    squares: FloatArray,
    own: FloatArray,
    biases: FloatArray,
    bias_squares: FloatArray,
    chances: FloatArray,
    logs: FloatArray,
    unnamed: FloatArray,
    taken: IntArray,
    steps: IntArray,
    columns: IntArray,
    rate: float,
    own_rate: float,
) -> None:
    """Move the weights of a pool towards what came, along the gradient of the log loss, by Adagrad.

    Args:
        weights: See `pool`.
        squares: The sums of their squared slopes.
        own: The user's weights, and the sums of theirs: (2, H, E).
        biases: See `pool`.
        bias_squares: The sums of their squared slopes.
        chances: What `pool` filled in, as is ``taken``.
        logs: See `pool`.
        unnamed: See `pool`.
        taken: See `pool`.
        steps: Which steps the rows are, each at most once: (S,).
        columns: What came, one a row: (S,).
        rate: How fast they move.
        own_rate: How fast the user's do.
    """
    surplus = -chances
    surplus[np.arange(len(steps)), columns] += 1.0
    gradient = np.einsum("sk,nsk->sn", surplus, logs)
    bias = np.column_stack([surplus @ unnamed.T, surplus[:, -1]])
    _ascend(weights, squares, (steps[:, None], np.arange(len(logs)), taken), gradient, rate)
    _ascend(own[0], own[1], (steps,), gradient, own_rate)
    _ascend(biases, bias_squares, (steps,), bias, rate)


def join(
    mixed: FloatArray, pooled: FloatArray, logs: FloatArray, log_weights: FloatArray, awake: BoolArray, steps: IntArray
) -> None:
    """Mix what experts and their pool say.

    Args:
        mixed: Out: the mixture, (S, K); a row that all sleep through is 0.
        pooled: What the pool says, (S, K).
        logs: See `pool`.
        log_weights: Logarithms of the voices' weights, (H, V).
        awake: Whose weights count, (S, V).
        steps: See `pool`.
    """
    weights = shares(log_weights[steps], awake)
    np.einsum("sn,nsk->sk", weights[:, :-1], np.exp(logs), out=mixed)
    mixed += weights[:, -1:] * pooled


def weigh(log_weights: FloatArray, likelihood: FloatArray, awake: BoolArray, steps: IntArray, share: float) -> None:
    """Weigh the voices anew after what came; see `weights.updated`.

    Args:
        log_weights: See `join`.
        likelihood: Logarithms of what each voice had given to what came, (S, V), finite.
        awake: See `join`.
        steps: Which steps the rows are, each at most once: (S,).
        share: How much of all weight is spread evenly.
    """
    log_weights[steps] = updated(log_weights[steps], likelihood, share, awake)


def _ascend(
    weights: FloatArray, squares: FloatArray, at: tuple[IntArray, ...], gradient: FloatArray, rate: float
) -> None:
    """Follow the gradient with steps that shrink as it adds up (Duchi, Hazan & Singer 2011)."""
    total = squares[at] + gradient * gradient
    squares[at] = total
    weights[at] += rate * gradient / np.sqrt(total)
