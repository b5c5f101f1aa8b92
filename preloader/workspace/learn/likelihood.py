"""How likely a file is to be read later in the session, by the score at which it was first offered.

A ranker's score says how soon a file is read, and is not calibrated: a file is looked at before every call, and offered
when its score is at its highest, so that luck is offered first. What a score is worth is therefore counted over the
moments at which a file's score rose above all its earlier ones: those at which some threshold would have offered it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from preloader.errors import BundleError
from preloader.ndarray import NDArray
from preloader.workspace.learn.preparing import Step

_READS_A_KNOT = 15

Floats = NDArray[np.float64]


class Likelihood(msgspec.Struct, frozen=True):
    """A curve from scores to probabilities that never falls: straight between its knots, level beyond them.

    Attributes:
        scores: Of the knots, ascending.
        probabilities: That a file of such a score is read later in the session.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        rises = all(bool(np.all(np.diff(one) >= 0)) for one in (self.scores, self.probabilities))
        if not self.scores or len(self.scores) != len(self.probabilities) or not rises:
            raise BundleError("a curve of likelihoods needs as many scores as probabilities, both ascending")
        if self.probabilities[0] < 0 or self.probabilities[-1] > 1:
            raise BundleError(
                f"a curve of likelihoods reaches from {self.probabilities[0]} to {self.probabilities[-1]}"
            )

    def of(self, scores: Floats) -> Floats:
        """Return how likely files of these scores are to be read later in the session."""
        read: Floats = np.interp(scores, self.scores, self.probabilities)
        return read


def fit_likelihood(sessions: Sequence[Sequence[Step]]) -> Likelihood:
    """Return the curve of sessions that the ranker was not fitted on, by isotonic regression (Barlow et al., 1972).

    Scores of few reads are put together, so that no knot is the luck of one.
    """
    rises = [rose(steps) for steps in sessions]
    scores = np.concatenate([one[0] for one in rises] or [np.zeros(0)])
    if not len(scores):
        return Likelihood((0.5,), (0.5,))
    read = np.concatenate([one[1] for one in rises])[np.argsort(-scores, kind="stable")]
    scores = -np.sort(-scores)
    ends = np.flatnonzero(np.diff(np.cumsum(read) // _READS_A_KNOT)) + 1
    groups = zip(np.split(scores, ends), np.split(read, ends), strict=True)
    knots = [(float(group.mean()), float(came.sum()), float(len(came))) for group, came in groups]
    pooled = _pooled(knots[::-1])
    return Likelihood(tuple(score for score, _, _ in pooled), tuple(came / count for _, came, count in pooled))


def rose(steps: Sequence[Step]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each score of a session that was its file's highest so far, and whether the file was read after it."""
    last = {step.reads: number for number, step in enumerate(steps) if step.reads is not None}
    highest = np.zeros(1 + max((int(step.numbers.max()) for step in steps if len(step.numbers)), default=-1))
    read = np.array([last.get(number, -1) for number in range(len(highest))])
    scores, came = [np.zeros(0)], [np.zeros(0, bool)]
    for number, step in enumerate(steps):
        higher = step.scores > highest[step.numbers]
        risen = step.numbers[higher]
        highest[risen] = step.scores[higher]
        scores.append(step.scores[higher])
        came.append(read[risen] >= number)
    return np.concatenate(scores), np.concatenate(came)


def _pooled(knots: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Put neighbours together until the shares rise with the scores: (score, came, count) each."""
    pooled: list[tuple[float, float, float]] = []
    for knot in knots:
        pooled.append(knot)
        while len(pooled) > 1 and pooled[-2][1] / pooled[-2][2] > pooled[-1][1] / pooled[-1][2]:
            (low, some, few), (high, others, many) = pooled[-2], pooled[-1]
            count = few + many
            pooled[-2:] = [((low * few + high * many) / count, some + others, count)]
    return pooled
