"""Compares two predictors on the same sessions: paired, item by item, with intervals over sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from preloader.evaluation import Learn, Task
from preloader.evaluation.metrics import LOSS_FLOOR, Floats, Resamples, StepScores
from preloader.evaluation.scoring import score
from preloader.history import Session
from preloader.ports import Predictor

MakePredictor = Callable[[], Predictor]


class Gain(msgspec.Struct, frozen=True):
    """How much better one figure is, and the 95 % interval of that; below zero is worse."""

    mean: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True):
    """A candidate against another, on the next items of one kind.

    Attributes:
        kind: The kind.
        sessions: On how many sessions.
        items: On how many items.
        log_loss: The candidate's and the other's mean log loss.
        top1: The candidate's and the other's share of items that were said to be likeliest.
        log_loss_gain: By how much the candidate's log loss is lower.
        top1_gain: By how much its top-1 is higher.
    """

    kind: str
    sessions: int
    items: int
    log_loss: tuple[float, float]
    top1: tuple[float, float]
    log_loss_gain: Gain
    top1_gain: Gain

    @property
    def better(self) -> bool:
        """Whether the candidate's log loss is lower by more than chance."""
        return self.log_loss_gain.low > 0.0

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse, in log loss or top-1, by more than chance."""
        return self.log_loss_gain.high < 0.0 or self.top1_gain.high < 0.0


def compare(
    candidate: MakePredictor,
    other: MakePredictor,
    task: Task,
    learn: Learn = "online",
    *,
    bootstraps: int = 1_000,
    seed: int = 0,
    on_session: Callable[[], None] = lambda: None,
) -> Compared | None:
    """Compare two fitted predictors on the test sessions of a task.

    Args:
        candidate: Returns the one, fitted.
        other: Returns the other, fitted.
        task: What is measured; of its steps only the first.
        learn: Whether they learn meanwhile, as they do in service.
        bootstraps: How many resamples the intervals are made of.
        seed: Of them.
        on_session: Called after each session that was scored.

    Returns:
        The comparison; ``None`` where the sessions have no item of the kind.
    """
    prepared = msgspec.structs.replace(task.prepared(), steps=1)
    scores = [score(make(), prepared, learn, on_session=on_session)[0] for make in (candidate, other)]
    one, two = scores
    if not len(one.rank):
        return None
    resamples = Resamples(len(prepared.test), bootstraps, seed)
    losses, hits = [_losses(own) for own in scores], [_hits(own) for own in scores]
    return Compared(
        kind=task.kind,
        sessions=len(np.unique(one.session)),
        items=len(one.rank),
        log_loss=(float(losses[0].mean()), float(losses[1].mean())),
        top1=(float(hits[0].mean()), float(hits[1].mean())),
        log_loss_gain=_gain(resamples, two, losses[1] - losses[0]),
        top1_gain=_gain(resamples, two, hits[0] - hits[1]),
    )


def held_out(sessions: Sequence[Session], kind: str, *, drop_repeats: bool) -> Task:
    """Return the task of predicting sessions without learning any first."""
    return Task(kind, [], sessions, drop_repeats=drop_repeats)


def _gain(resamples: Resamples, scores: StepScores, values: Floats) -> Gain:
    low, high = resamples.interval(scores.session, values) or (0.0, 0.0)
    return Gain(float(values.mean()), low, high)


def _losses(scores: StepScores) -> Floats:
    return np.asarray(-np.log(np.maximum(scores.probability, LOSS_FLOOR)))


def _hits(scores: StepScores) -> Floats:
    return np.asarray(scores.rank <= 1, np.float64)
