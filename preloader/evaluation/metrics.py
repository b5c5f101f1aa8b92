"""How good predictions were: ranking, log loss, calibration, and intervals over sessions.

Everything here works on plain arrays, one entry a scored item, so that it can be checked against pencil and paper.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

LOSS_FLOOR = 1e-6
"""Smallest probability that log loss charges: what an item costs that was given none."""

CALIBRATION_BINS = 15
DECISION_PROBABILITY = 0.3
"""From here on a prediction may become a preload; calibration counts most where decisions are made."""

CONFIDENCE = 0.95


class StepScores(msgspec.Struct, frozen=True, eq=False):
    """What became of the predictions for one step, one entry an item (the last two: one an item and key).

    Attributes:
        session: Which session the item belongs to, from 0; intervals resample these.
        rank: The rank of the item that came, from 1, ties against the predictor; infinite if it could not be named.
        probability: What the item that came had been given.
        confidence: What the likeliest key had been given.
        correct: Whether the likeliest key came.
        decision_probability: What each key had been given that was given at least `DECISION_PROBABILITY`.
        decision_correct: Whether that key came.
    """

    session: Integers
    rank: Floats
    probability: Floats
    confidence: Floats
    correct: Bools
    decision_probability: Floats
    decision_correct: Bools


class Metrics(msgspec.Struct, frozen=True):
    """The figures of one step; ``None`` where nothing was there to measure."""

    n: int
    top1: float | None
    top3: float | None
    top5: float | None
    mrr: float | None
    log_loss: float | None
    ece: float | None
    ece_decisions: float | None


def measure(scores: StepScores) -> Metrics:
    """Return every figure of one step's scores."""
    n = len(scores.rank)
    if not n:
        return Metrics(0, None, None, None, None, None, None, None)
    return Metrics(
        n=n,
        top1=accuracy(scores.rank, 1),
        top3=accuracy(scores.rank, 3),
        top5=accuracy(scores.rank, 5),
        mrr=mean_reciprocal_rank(scores.rank),
        log_loss=log_loss(scores.probability),
        ece=calibration_error(scores.confidence, scores.correct),
        ece_decisions=calibration_error(scores.decision_probability, scores.decision_correct),
    )


def rank_against(probabilities: Floats, index: int) -> int:
    """Return the rank of one key, from 1: all that were given as much stand before it."""
    return int(np.count_nonzero(probabilities >= probabilities[index]))


def accuracy(rank: Floats, top: int) -> float:
    """Return the share of items that were among the ``top`` likeliest."""
    return float(np.mean(rank <= top))


def mean_reciprocal_rank(rank: Floats) -> float:
    """Return the mean of 1 ÷ rank; an infinite rank counts 0."""
    return float(np.mean(1.0 / rank))


def log_loss(probability: Floats) -> float:
    """Return the mean natural logarithm of what the items had been given, negated, floored at `LOSS_FLOOR`."""
    return float(-np.mean(np.log(np.maximum(probability, LOSS_FLOOR))))


def calibration_error(stated: Floats, came_true: Bools, bins: int = CALIBRATION_BINS) -> float | None:
    """Return the expected calibration error: the mean gap between what was stated and how often it came true.

    Bins hold equally many predictions, except that equal statements share a bin: the error then depends on the
    predictions only, not on the order in which they were made.

    Args:
        stated: Probabilities, shape (n,).
        came_true: Outcomes, shape (n,).
        bins: How many bins, fewer where there are fewer distinct statements.

    Returns:
        The error, 0 to 1; ``None`` without predictions.
    """
    n = len(stated)
    if not n:
        return None
    order = np.argsort(stated)
    ordered = stated[order]
    last_of_bin = ordered[np.arange(1, bins + 1) * n // bins - 1]
    ends = np.unique(np.searchsorted(ordered, last_of_bin, side="right"))
    surplus = np.concatenate(([0.0], np.cumsum(ordered - came_true[order])))
    gaps = np.diff(surplus[np.concatenate(([0], ends))])
    return float(np.abs(gaps).sum() / n)


class Resamples:
    """Bootstrap over sessions: how often each session is drawn in each of many resamples.

    One object serves all predictors that were scored on the same sessions, which makes their intervals comparable.

    Args:
        sessions: How many sessions there are.
        bootstraps: How many resamples.
        seed: Of the draws.
    """

    def __init__(self, sessions: int, bootstraps: int = 1_000, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._sessions = sessions
        self._draws = generator.multinomial(sessions, np.full(sessions, 1 / max(sessions, 1)), size=bootstraps)

    def interval(self, session: Integers, value: Floats) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean of ``value``, whose entries belong to the sessions named.

        Resamples in which no session has an item are left out; ``None`` if nothing remains.
        """
        total = self._draws @ np.bincount(session, weights=value, minlength=self._sessions)
        count = self._draws @ np.bincount(session, minlength=self._sessions)
        means = total[count > 0] / count[count > 0]
        if not len(means):
            return None
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)
