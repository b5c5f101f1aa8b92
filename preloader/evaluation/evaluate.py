"""Scores predictors on the sessions of a history, frozen and online.

*Frozen*: nothing is learned during the test; contexts, and the recency that `MostRecent` ranks by, run on through it.
*Online* (prequential): each event is learned after its items were scored. Test sessions come one after the other, in
the order that the split gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from preloader.evaluation.cases import items_of, learnable, walk
from preloader.evaluation.metrics import Resamples, StepScores, measure
from preloader.evaluation.tally import Tally
from preloader.evaluation.task import Task
from preloader.events import Event
from preloader.ports import Predictor
from preloader.prediction.distribution import distribution_of

Learn = Literal["frozen", "online"]


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


@runtime_checkable
class Follows(Protocol):
    """A predictor part of whose state is context: it runs on while nothing is learned."""

    def follow(self, event: Event) -> None:
        """Take note of ``event`` without learning from it."""


def evaluate(
    task: Task,
    candidates: Iterable[Candidate],
    learn: Sequence[Learn] = ("frozen", "online"),
    *,
    seed: int = 0,
    bootstraps: int = 1_000,
    on_session: Callable[[str], None] = lambda label: None,
) -> list[Row]:
    """Score every candidate in every way of learning.

    Args:
        task: What is measured.
        candidates: The predictors.
        learn: Whether to learn during the test: either or both.
        seed: Of the intervals' resamples.
        bootstraps: How many resamples.
        on_session: Called with a label after each session that was learned or scored, for a progress bar.

    Returns:
        One row for each candidate, way of learning, and step.
    """
    prepared = task.prepared()
    resamples = Resamples(len(prepared.test), bootstraps, seed)
    rows: list[Row] = []
    for candidate in candidates:
        for way, scores in _passes(prepared, candidate, learn, on_session):
            rows.extend(_row(candidate.name, way, step, one, resamples) for step, one in enumerate(scores, start=1))
    return rows


def score(
    predictor: Predictor,
    task: Task,
    learn: Learn,
    known: set[str] | None = None,
    on_session: Callable[[], None] = lambda: None,
) -> list[StepScores]:
    """Walk the test sessions of a prepared task with a fitted predictor.

    Args:
        predictor: Learns from the test if ``learn`` says so.
        task: What is measured, repeats already removed.
        learn: Whether to learn during the test.
        known: The items met in fitting: frozen, no other can be named. ``None`` if that is not known.
        on_session: Called after each session.

    Returns:
        The scores of each step.
    """
    met = None if known is None else set(known)
    tallies = [Tally() for _ in range(task.steps)]
    absorb = _absorber(predictor, learn)
    for number, session in enumerate(task.test):
        items = items_of(session, task.kind)
        for cases, event in walk(session, task.kind):
            for case in cases:
                told = distribution_of(predictor, case.context, task.kind, task.steps)
                if task.drop_repeats and case.position:
                    told = told.without_next(items[case.position - 1])
                for step, came in enumerate(items[case.position : case.position + task.steps]):
                    nameable = met is None or learn == "online" or came in met
                    tallies[step].add(number, told, step, came if nameable else None, met)
            absorb(event)
            if met is not None and learn == "online":
                met.update(event.keys(task.kind))
        on_session()
    return [tally.scores() for tally in tallies]


def _passes(
    task: Task, candidate: Candidate, learn: Sequence[Learn], on_session: Callable[[str], None]
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
        before = predictor.snapshot() if isinstance(predictor, Follows) else None
        yield way, score(predictor, task, way, known, partial(on_session, f"{candidate.name}, {way}"))
        if before is not None:
            predictor.restore(before)


def _absorber(predictor: Predictor, learn: Learn) -> Callable[[Event], None]:
    if learn == "online":
        return predictor.learn_one
    return predictor.follow if isinstance(predictor, Follows) else lambda event: None


def _row(name: str, learn: Learn, step: int, scores: StepScores, resamples: Resamples) -> Row:
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
