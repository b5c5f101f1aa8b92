"""Walks test sessions with a predictor, item by item, and keeps what became of its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Protocol, runtime_checkable

from preloader.evaluation.cases import items_of, walk
from preloader.evaluation.metrics import StepScores
from preloader.evaluation.tally import Tally
from preloader.evaluation.task import Task
from preloader.events import Event
from preloader.ports import Predictor
from preloader.prediction.distribution import distribution_of

Learn = Literal["frozen", "online"]


@runtime_checkable
class Follows(Protocol):
    """A predictor part of whose state is context: it runs on while nothing is learned."""

    def follow(self, event: Event) -> None:
        """Take note of ``event`` without learning from it."""


def follows(predictor: Predictor) -> bool:
    """Return whether a predictor's context runs on from session to session while nothing is learned.

    A mixture has a place for experts that do; only with one of them among its own does it.
    """
    experts: Iterable[Predictor] | None = getattr(predictor, "experts", None)
    return isinstance(predictor, Follows) if experts is None else any(map(follows, experts))


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


def _absorber(predictor: Predictor, learn: Learn) -> Callable[[Event], None]:
    if learn == "online":
        return predictor.learn_one
    return predictor.follow if isinstance(predictor, Follows) else lambda event: None
