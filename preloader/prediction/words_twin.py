"""The inner work of weighing words in NumPy: a part of `twin`, and the reference for ``native/kernel/words.c``.

All arrays are C-contiguous; what a function changes comes first. Sizes: ``H`` steps of the horizon, ``N`` candidates,
``W`` words.
"""

from __future__ import annotations

import numpy as np

from preloader.ndarray import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
HashArray = NDArray[np.uint32]

_AGE = np.uint32(3)
_LEAST_GAIN, _MOST_GAIN = 0.03, 2.0


def word_places(words: HashArray, keys: HashArray, multiplier: int, shift: int) -> IntArray:
    """Return where the weights of (word, key) pairs stand, shape (W, N); ``words`` and ``keys`` are hashes."""
    return (((words[:, None] ^ keys[None, :]) * np.uint32(multiplier)) >> np.uint32(shift)).astype(np.int64)


def score_words(
    table: FloatArray,
    weights: Float32Array,
    gains: Float32Array,
    words: HashArray,
    keys: HashArray,
    first: int,
    last: int,
    multiplier: int,
    shift: int,
    scale: float,
) -> None:
    """Add to the scores of the steps from ``first`` to before ``last`` ``scale`` times the words' weights.

    How old a word's text is stands in the two lowest bits of its hash, and ``gains`` (H, 4) say what that leaves of it.
    """
    places = word_places(words, keys, multiplier, shift)
    gained = weights[places, first:last] * gains[first:last, words & _AGE].T[:, None, :]
    table[first:last] += gained.sum(axis=0).T * np.float32(scale)


def learn_words(
    weights: Float32Array,
    squares: Float32Array,
    is_learned: NDArray[np.bool_],
    gains: Float32Array,
    gain_squares: Float32Array,
    words: HashArray,
    keys: HashArray,
    probabilities: FloatArray,
    target: int,
    step: int,
    multiplier: int,
    shift: int,
    scale: float,
    rate: float,
    gain_rate: float,
    small: float,
) -> None:
    """Move the weights of words and the gains of their ages at one step, by Adagrad.

    Of pairs that share a place the last one counts.
    """
    places = word_places(words, keys, multiplier, shift)
    errors = probabilities[step].copy()
    errors[target] -= 1.0
    is_learned[places] = True
    ages, scaled = words & _AGE, (errors * np.float32(scale)).astype(np.float32)
    spoken = (scaled.astype(np.float64) * weights[places, step]).sum(axis=1)
    slopes = np.bincount(ages, spoken, gains.shape[1])  # in double: summed in whichever order, it is the same float
    gradient = scaled * gains[step, ages][:, None]
    raised = squares[places, step] + gradient * gradient
    squares[places, step] = raised
    weights[places, step] -= np.float32(rate) * gradient / np.sqrt(raised + np.float32(small))
    total = gain_squares[step] + slopes * slopes
    gain_squares[step] = total
    gains[step] = (gains[step] - gain_rate * slopes / np.sqrt(total + np.float32(small))).clip(_LEAST_GAIN, _MOST_GAIN)
