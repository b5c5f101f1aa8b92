"""The predictor's inner work in NumPy: the reference for ``native/kernel``, which does the same several times faster.

All arrays are C-contiguous; what a function changes comes first. Sizes: ``H`` steps of the horizon, ``C`` contexts,
``S`` successors of a context, ``N`` candidates, ``M`` marks of a session, ``R`` rows of counted contexts, ``W`` words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.index_twin import find as find
from preloader.prediction.index_twin import find_or_add as find_or_add
from preloader.prediction.mixing_twin import join as join
from preloader.prediction.mixing_twin import learn_pool as learn_pool
from preloader.prediction.mixing_twin import pool as pool
from preloader.prediction.mixing_twin import weigh as weigh
from preloader.prediction.reuse_twin import estimate as estimate
from preloader.prediction.reuse_twin import features as features
from preloader.prediction.reuse_twin import fit as fit
from preloader.prediction.reuse_twin import note as note
from preloader.prediction.sessions_twin import mix as mix
from preloader.prediction.sessions_twin import past as past
from preloader.prediction.sessions_twin import recall as recall
from preloader.prediction.sessions_twin import remember as remember
from preloader.prediction.words_twin import learn_words as learn_words
from preloader.prediction.words_twin import score_words as score_words
from preloader.prediction.words_twin import word_places as word_places

T = TypeVar("T")
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int16Array = NDArray[np.int16]
Int8Array = NDArray[np.int8]
ByteArray = NDArray[np.uint8]

_COUNT_RANGE = np.int16(128)
_FULL = 96


def count(keys: Int32Array, counts: ByteArray, summary: Int16Array, rows: IntArray, key: int, contexts: int) -> None:
    """Count that ``key`` came: at step k after the contexts of ``rows[k - 1]``.

    Args:
        keys: The successors of each context, 0 where there is none: (R, S).
        counts: How often each came at each step: (R, H, S).
        summary: The total times 128, plus the largest count: (R, H).
        rows: The contexts' rows, up to H times C of them; 0 is nobody's, and stays empty.
        key: The key's number.
        contexts: C.
    """
    horizon, size = counts.shape[1:]
    rows = rows.reshape(-1, contexts)
    matches = keys.take(rows, axis=0) == key
    places = matches.argmax(axis=-1)
    known = matches.any(axis=-1)
    if not known.all():
        places[~known] = _make_room(keys, counts, summary, rows[~known], key)
    at = rows * horizon + np.arange(len(rows))[:, None]
    cells = at * size + places
    raised = counts.take(cells) + np.uint8(1)
    counts.put(cells, raised)
    totals, tops = np.divmod(summary.take(at), _COUNT_RANGE)
    totals += np.int16(1)
    summary.put(at, totals * _COUNT_RANGE + np.maximum(tops, raised))
    if totals.max() >= _FULL:
        full = np.unique(rows[totals >= _FULL])
        counts[full] >>= 1
        summary[full] = summaries(counts[full])
    if not rows.all():
        keys[0] = counts[0] = summary[0] = 0


def summaries(counts: ByteArray) -> Int16Array:
    """Return the summary of the counts of rows, shape (rows, H, S): one number for each row and step."""
    found: Int16Array = counts.sum(axis=-1, dtype=np.int16) * _COUNT_RANGE + counts.max(axis=-1)
    return found


def _make_room(keys: Int32Array, counts: ByteArray, summary: Int16Array, rows: IntArray, key: int) -> IntArray:
    """Put a key in a free place of each row, or in that of its weakest, and return the places."""
    held = keys.take(rows, axis=0)
    places: IntArray = held.argmin(axis=-1)  # nothing is number 0, so that a free place comes first
    full = held.min(axis=-1) > 0
    if full.any():
        crowded = rows[full]
        weakest = counts.take(crowded, axis=0).sum(axis=1).argmin(axis=-1)
        places[full] = weakest
        counts[crowded, :, weakest] = 0
        summary[crowded] = summaries(counts[crowded])
    keys[rows, places] = key
    return places


def score(
    table: FloatArray,
    columns: IntArray,
    values: FloatArray,
    places: IntArray,
    popularity: FloatArray,
    mark_columns: IntArray,
    keys: Int32Array,
    counts: ByteArray,
    summary: Int16Array,
    weights: FloatArray,
    mark_weights: FloatArray,
    popularity_weight: FloatArray,
    rows: IntArray,
    marked: Int32Array,
    marks: Int8Array,
    numbers: IntArray,
    column_of: IntArray,
    mass: FloatArray,
    seen: ByteArray,
    evidence: FloatArray,
    total: float,
) -> None:
    """Add up what counts, marks and popularity say about the candidates.

    Args:
        table: Out: the scores, (H, N).
        columns: Out: where the contexts' successors stand in the flattened table, (H, C, S).
        values: Out: what their counts say, (H, C, S).
        places: Out: where the contexts' weights stand, (H, C).
        popularity: Out: the candidates' log-popularity, (N,).
        mark_columns: Out: where the marked keys stand in the flattened table, (H, M).
        keys: See `count`, as for counts and summary.
        counts: See `count`.
        summary: See `count`.
        weights: Two weights and their sums of squares for each step, context, and bucket of how much it has seen.
        mark_weights: A weight for each step and feature of a mark.
        popularity_weight: A weight for each step.
        rows: The contexts' rows: (C,) for all steps, or (H, C).
        marked: The numbers of the marked keys: (M,) or (H, M).
        marks: The features of the marks, of the same shape.
        numbers: The candidates' numbers, (N,).
        column_of: The column of each number; empty if that is the number itself.
        mass: How much each number was used lately.
        seen: The bucket of each summary.
        evidence: What each count says.
        total: The sum of ``mass``.
    """
    horizon, size = table.shape
    steps = np.arange(horizon)[:, None]
    popularity[:] = np.log(mass.take(numbers) + 1e-6 * total) - math.log(total)
    column_of = column_of if len(column_of) else numbers
    columns[:] = column_of.take(keys.take(rows, axis=0)) + steps[:, :, None] * size
    mark_columns[:] = column_of.take(marked) + steps * size
    at = rows * horizon + steps
    values[:] = evidence.take(counts.reshape(-1, counts.shape[-1]).take(at, axis=0))
    buckets = weights.size // (4 * places.size)
    places[:] = np.arange(places.size).reshape(places.shape) * buckets + seen.take(summary.take(at))
    chosen = weights.take(places, axis=0)
    added = values * chosen[:, :, 0, None]
    added += chosen[:, :, 1, None]
    scores = np.bincount(columns.ravel(), added.ravel(), table.size)
    if marks.size:
        scores += np.bincount(mark_columns.ravel(), mark_weights[steps, marks].ravel(), table.size)
    np.add(scores.reshape(table.shape), popularity_weight * popularity, out=table)


def softmax(table: FloatArray, size: int) -> None:
    """Make probabilities of each row of ``size`` scores; the first, that of nothing, is left out."""
    rows = table.reshape(-1, size)
    rows[:, 0] = -np.inf
    rows -= rows.max(axis=1, keepdims=True)
    np.exp(rows, out=rows)
    rows /= rows.sum(axis=1, keepdims=True)


def likeliest(chosen: IntArray, probabilities: FloatArray, first: int, size: int) -> None:
    """Fill ``chosen`` with the likeliest columns from ``first`` to ``size``, likeliest first, ties in their order."""
    chosen[:] = np.argsort(-probabilities.ravel()[first:size], kind="stable")[: len(chosen)] + first


def predictions(
    numbers: IntArray,
    probabilities: FloatArray,
    columns: IntArray,
    uses: FloatArray,
    make: Callable[[str, tuple[float, ...], float, float], T],
    keys: list[str],
    steps: int,
    least_chance: float,
    least_use: float,
) -> list[T]:
    """Return what ``make`` makes of some candidates: of key, chances at each step, P(used if loaded), P(used soon).

    Args:
        numbers: The candidates' numbers, (N,).
        probabilities: Of all candidates, (H, N).
        columns: Which candidates.
        uses: P(used soon) and P(used if loaded) of those: (2, columns).
        make: What to make.
        keys: The key of each number.
        steps: At how many steps.
        least_chance: Which are left out: those less likely than this at each step,
        least_use: and with a P(used if loaded) below this.
    """
    named = [keys[number] for number in numbers.take(columns).tolist()]
    per_step = zip(*probabilities[:steps].take(columns, axis=1).tolist(), strict=True)
    return [
        make(key, chances, if_loaded, if_soon)
        for key, chances, if_soon, if_loaded in zip(named, per_step, *uses.tolist(), strict=True)
        if if_loaded >= least_use or max(chances) >= least_chance
    ]


def learn(
    weights: FloatArray,
    mark_weights: FloatArray,
    mark_squares: FloatArray,
    popularity_weight: FloatArray,
    popularity_squares: FloatArray,
    probabilities: FloatArray,
    columns: IntArray,
    values: FloatArray,
    places: IntArray,
    popularity: FloatArray,
    mark_columns: IntArray,
    marks: Int8Array,
    target: int,
    first: int,
    last: int,
    rate: float,
    mark_rate: float,
) -> None:
    """Move the weights of the steps from ``first`` to before ``last`` along the gradient of the log loss, by Adagrad.

    Args:
        weights: As `score` takes it, and so are the other weights.
        mark_weights: See `score`.
        mark_squares: The sums of the marks' squared slopes.
        popularity_weight: See `score`.
        popularity_squares: Likewise.
        probabilities: What `softmax` made of the table.
        columns: What `score` filled in, as are the next four.
        values: See `score`.
        places: See `score`.
        popularity: See `score`.
        mark_columns: See `score`.
        marks: As `score` takes them.
        target: The column of what came.
        first: The first step, from 0.
        last: The step after the last one.
        rate: How far to go.
        mark_rate: How far to go with the marks.
    """
    steps = slice(first, last)
    errors = np.zeros_like(probabilities)
    errors[steps] = probabilities[steps]
    errors[steps, target] -= 1.0
    at_keys = errors.take(columns[steps])
    slopes = np.empty((*at_keys.shape[:2], 2))
    np.einsum("kcs,kcs->kc", at_keys, values[steps], out=slopes[..., 0])
    np.sum(at_keys, axis=-1, out=slopes[..., 1])  # nobody's places are at the column of nothing, where no error is
    chosen = weights.take(places[steps], axis=0)
    chosen[:, :, 2:] += slopes * slopes
    chosen[:, :, :2] -= rate * slopes / np.sqrt(chosen[:, :, 2:])
    weights[places[steps]] = chosen
    slope = errors[steps] @ popularity
    popularity_squares[steps, 0] += slope * slope
    popularity_weight[steps, 0] -= rate * slope / np.sqrt(popularity_squares[steps, 0])
    if marks.size:
        slots = mark_weights.shape[1]
        features = np.broadcast_to(marks, mark_columns.shape) + np.arange(len(mark_weights))[:, None] * slots
        told = np.bincount(features[steps].ravel(), errors.take(mark_columns[steps].ravel()), mark_weights.size)
        mark_slopes = told.reshape(mark_weights.shape)
        mark_slopes[:, -1] = 0.0  # of no mark
        mark_squares += mark_slopes * mark_slopes
        mark_weights -= mark_rate * mark_slopes / np.sqrt(mark_squares)


def mark(
    marked: Int32Array,
    marks: Int8Array,
    age_slots: Int8Array,
    count_slots: Int8Array,
    came: list[int],
    followed: int,
    most_times: int,
) -> int:
    """Note what a session's items say, and return how many marks they leave.

    Args:
        marked: Out: the number of the key that each mark is for.
        marks: Out: the marks' features.
        age_slots: The feature of each age; the last one is for all that are older.
        count_slots: The feature of each count from 2; the last one is for all that are larger.
        came: The items' numbers, latest first, at most 256; 0 for keys not known, which leave no mark.
        followed: The feature of the key that followed the latest item when that came last; those for times before
            that come next, then as many for the same two items.
        most_times: How many such times are looked at.
    """
    counts: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    for age, number in enumerate(came):
        seen = counts.get(number, 0)
        counts[number] = seen + 1
        if not seen:
            found.append((number, age_slots[min(age, len(age_slots) - 1)]))
    for number, times in counts.items():
        if times > 1:
            found.append((number, count_slots[min(times, len(count_slots) - 1)]))
    times = 0
    for place in range(1, len(came)):
        if came[place] == came[0] and times < most_times:
            same_before = place + 1 < len(came) and came[place + 1] == came[1]
            found.append((came[place - 1], followed + times + most_times * same_before))
            times += 1
    kept = [(number, slot) for number, slot in found if number][: len(marked)]
    marked[: len(kept)] = [number for number, _ in kept]
    marks[: len(kept)] = [slot for _, slot in kept]
    return len(kept)
