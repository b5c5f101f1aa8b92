"""The inner work of estimating use in NumPy: a part of `twin`, and the reference for ``native/kernel/reuse.c``.

All arrays are C-contiguous; what a function changes comes first. Sizes: ``H`` steps of the horizon, ``N`` candidates,
``M`` marks of a session.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preloader.ndarray import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]

_AGES = 9
_NUMERIC = 3


def features(
    table: FloatArray,
    ages: IntArray,
    probabilities: FloatArray,
    columns: IntArray,
    popularity: FloatArray,
    mark_columns: IntArray,
    marks: Int8Array,
    edge: float,
) -> None:
    """Tell what is asked about some candidates.

    Args:
        table: Out: the log-odds of any step and of the last one, and the log-popularity: (3, candidates).
        ages: Out: the candidates' ages in the session.
        probabilities: Of all candidates, (H, N).
        columns: Which candidates.
        popularity: Of all candidates.
        mark_columns: Where the marked keys stand, (H, M).
        marks: The features of the marks, of which the first are ages.
        edge: Keeps the odds finite.
    """
    asked = probabilities.take(columns, axis=1)
    np.multiply.reduce(1.0 - asked, axis=0, out=table[0])
    table[1] = 1.0 - asked[-1]
    table[:2] = np.log((1.0 - table[:2] + edge) / (table[:2] + edge))
    table[2] = popularity.take(columns)
    age_of = np.full(len(popularity), _AGES)
    of_step = marks.ravel()[: mark_columns.shape[1]]
    is_age = of_step < _AGES
    age_of[mark_columns[0, is_age]] = of_step[is_age]
    ages[:] = age_of.take(columns)


def estimate(chances: FloatArray, weights: FloatArray, table: FloatArray, ages: IntArray) -> None:
    """Fill ``chances``, (2, candidates), by two logistic regressions; the second chance is at least the first."""
    odds = weights[:, :_NUMERIC] @ table
    odds += weights[:, _NUMERIC:].take(ages, axis=1)
    chances[:] = 1.0 / (1.0 + np.exp(-odds))
    np.maximum(chances[0], chances[1], out=chances[1])


def note(used_after: Int32Array, numbers: Int32Array, slot: int, number: int, passed: int) -> None:
    """Note that ``number`` was first used after ``passed`` items, if it is among a slot's ``numbers``."""
    of_slot: NDArray[Any] = used_after[slot]
    of_slot[(numbers[slot] == number) & (of_slot == 0)] = passed


def fit(
    weights: FloatArray,
    squares: FloatArray,
    table: Float32Array,
    ages: Int8Array,
    numbers: Int32Array,
    used_after: Int32Array,
    slot: int,
    horizon: int,
    rate: float,
) -> None:
    """Learn by Adagrad from a slot's candidates: which were used within ``horizon`` items, and which at all."""
    held = np.flatnonzero(numbers[slot])
    asked, of_age = table[slot][:, held].astype(np.float64), ages[slot, held].astype(np.int64)
    after = used_after[slot, held]
    used = np.stack([(after > 0) & (after <= horizon), after > 0])
    odds = weights[:, :_NUMERIC] @ asked + weights[:, _NUMERIC:].take(of_age, axis=1)
    errors = 1.0 / (1.0 + np.exp(-odds)) - used
    slopes = np.zeros_like(weights)
    slopes[:, :_NUMERIC] = errors @ asked.T
    for head in range(2):
        slopes[head, _NUMERIC:] = np.bincount(of_age, errors[head], _AGES + 1)
    squares += slopes * slopes
    weights -= rate * slopes / np.sqrt(squares)
