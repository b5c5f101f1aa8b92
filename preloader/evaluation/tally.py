"""Gathers, item by item, what became of the predictions for one step."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from preloader.evaluation.metrics import DECISION_PROBABILITY, Floats, StepScores, rank_against
from preloader.prediction.distribution import Distribution


class Tally:
    """The scores of one step, growing."""

    def __init__(self) -> None:
        self._items: list[tuple[int, float, float, float, bool]] = []
        self._decisions: list[tuple[float, bool]] = []

    def add(
        self, session: int, told: Distribution, step: int, came: str | None, met: Collection[str] | None = None
    ) -> None:
        """Score what was told about one item.

        Args:
            session: The session's number.
            told: The predictor's distribution.
            step: Which row of it, from 0.
            came: The item that came; ``None`` if no predictor could have named it.
            met: The items met so far, where that is known: one that the predictor left out ranks behind all others.
        """
        given = told.probabilities[step]
        column = told.index.get(came) if came is not None else None
        likeliest = int(given.argmax()) if given.size else None
        self._items.append(
            (
                session,
                _rank(given, column, met if met is not None and came in met else ()),
                0.0 if column is None else float(given[column]),
                0.0 if likeliest is None else float(given[likeliest]),
                likeliest is not None and likeliest == column,
            )
        )
        for decided in np.flatnonzero(given >= DECISION_PROBABILITY).tolist():
            self._decisions.append((float(given[decided]), decided == column))

    def scores(self) -> StepScores:
        """Return what was gathered."""
        session, rank, probability, confidence, correct = zip(*self._items, strict=True) if self._items else [()] * 5
        stated, true = zip(*self._decisions, strict=True) if self._decisions else [()] * 2
        return StepScores(
            session=np.array(session, dtype=np.int64),
            rank=np.array(rank, dtype=np.float64),
            probability=np.array(probability, dtype=np.float64),
            confidence=np.array(confidence, dtype=np.float64),
            correct=np.array(correct, dtype=np.bool_),
            decision_probability=np.array(stated, dtype=np.float64),
            decision_correct=np.array(true, dtype=np.bool_),
        )


def _rank(given: Floats, column: int | None, met: Collection[str] = ()) -> float:
    """Return the rank of a column, ties against it; behind everything met if it was given nothing."""
    if column is not None and given[column] > 0:
        return rank_against(given, column)
    return max(len(met), len(given)) if met else math.inf
