"""Scores predictors on the sessions of a history, frozen and online.

*Frozen*: nothing is learned during the test; contexts, and the recency that `MostRecent` ranks by, run on through it.
*Online* (prequential): each event is learned after its items were scored. Test sessions come one after the other, in
the order that the split gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import msgspec
import numpy as np

from preloader.evaluation.apart import Divide, score_apart
from preloader.evaluation.cases import items_of, learnable
from preloader.evaluation.metrics import Resamples, StepScores, measure
from preloader.evaluation.scoring import Learn, follows, score
from preloader.evaluation.task import Task
from preloader.ports import Predictor


class Candidate(msgspec.Struct, frozen=True):
    """A predictor to be scored.

    Attributes:
        name: Its name in the table.
        make: Returns a new instance.
        fitted: Whether an instance comes fitted, so that the fit sessions are not shown to it.
    """

    name: str
    make: Callable[[], Predictor]
    fitted: bool = False


class Row(msgspec.Struct, frozen=True):
    """The figures of one predictor at one step, with the 95 % interval over sessions of the two that are ranked by."""

    predictor: str
    learn: Learn
    step: int
    n: int
    top1: float | None
    top3: float | None
    top5: float | None
    mrr: float | None
    log_loss: float | None
    ece: float | None
    ece_decisions: float | None
    top1_low: float | None
    top1_high: float | None
    mrr_low: float | None
    mrr_high: float | None


def evaluate(
    task: Task,
    candidates: Iterable[Candidate],
    learn: Sequence[Learn] = ("frozen", "online"),
    *,
    seed: int = 0,
    bootstraps: int = 1_000,
    on_session: Callable[[str], None] = lambda label: None,
    divide: Divide | None = None,
) -> list[Row]:
    """Score every candidate in every way of learning.

    Args:
        task: What is measured.
        candidates: The predictors.
        learn: Whether to learn during the test: either or both.
        seed: Of the intervals' resamples.
        bootstraps: How many resamples.
        on_session: Called with a label after each session that was learned or scored, for a progress bar.
        divide: Has frozen scoring done elsewhere, user by user, to the same figures; `Backend.map` does. Learning goes
            through the sessions of all users in turn, and so stays here.

    Returns:
        One row for each candidate, way of learning, and step.
    """
    prepared = task.prepared()
    resamples = Resamples(len(prepared.test), bootstraps, seed)
    rows: list[Row] = []
    for candidate in candidates:
        for way, scores in _passes(prepared, candidate, learn, on_session, divide):
            rows.extend(row_of(candidate.name, way, step, one, resamples) for step, one in enumerate(scores, start=1))
    return rows


def _passes(
    task: Task,
    candidate: Candidate,
    learn: Sequence[Learn],
    on_session: Callable[[str], None],
    divide: Divide | None,
) -> Iterator[tuple[Learn, list[StepScores]]]:
    """Yield each way of learning and its scores; frozen goes first, so that one fitting serves both."""
    known = None if candidate.fitted else {key for session in task.fit for key in items_of(session, task.kind)}
    predictor = candidate.make()
    if not candidate.fitted:
        for session in task.fit:
            for event in learnable(session):
                predictor.learn_one(event)
            on_session(f"{candidate.name}, fitting")
    for way in sorted(set(learn)):
        label = f"{candidate.name}, {way}"
        if follows(predictor):
            before = predictor.snapshot()
            yield way, score(predictor, task, way, known, partial(on_session, label))
            predictor.restore(before)
        elif divide is not None and way == "frozen":
            yield way, score_apart(predictor, candidate.make, task, known, divide)
            for _ in task.test:
                on_session(label)
        else:
            yield way, score(predictor, task, way, known, partial(on_session, label))


def row_of(name: str, learn: Learn, step: int, scores: StepScores, resamples: Resamples) -> Row:
    """Return the row of a predictor's scores at one step."""
    top1 = resamples.interval(scores.session, (scores.rank <= 1).astype(np.float64))
    mrr = resamples.interval(scores.session, 1.0 / scores.rank)
    return Row(
        predictor=name,
        learn=learn,
        step=step,
        **msgspec.structs.asdict(measure(scores)),
        top1_low=top1 and top1[0],
        top1_high=top1 and top1[1],
        mrr_low=mrr and mrr[0],
        mrr_high=mrr and mrr[1],
    )
