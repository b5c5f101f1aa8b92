"""How good predictors are while an assistant is new: each starts empty, and only its first events count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

import msgspec
import numpy as np

from preloader.evaluation.cases import items_of, walk
from preloader.evaluation.metrics import LOSS_FLOOR, Floats, Metrics, Resamples, StepScores, measure
from preloader.evaluation.tally import Tally
from preloader.history import Session
from preloader.ports import Predictor
from preloader.prediction.distribution import distribution_of

FIRST_EVENTS = 200
"""How many events an assistant is new for."""

TOO_SHORT = (
    f"No stream of what was held out has more than {FIRST_EVENTS} events for a new assistant to begin with: give "
    "longer histories."
)
"""Why there are no figures, where there are none."""


class Beginning(msgspec.Struct, frozen=True):
    """One new assistant.

    Attributes:
        kind: The kind of its items that is predicted.
        sessions: What happens, in order; nothing was learned before.
    """

    kind: str
    sessions: Sequence[Session]


class Gain(msgspec.Struct, frozen=True):
    """One predictor's figures beside another's, on the same items.

    Attributes:
        metrics: Its figures.
        top1: How much larger its top-1 is: the mean, and the 95 % interval over sessions.
        mrr: How much larger its MRR is.
        log_loss: How much larger its log loss is; the smaller, the better.
    """

    metrics: Metrics
    top1: tuple[float, float, float]
    mrr: tuple[float, float, float]
    log_loss: tuple[float, float, float]


def first_events(
    make: Callable[[str], Predictor],
    beginnings: Sequence[Beginning],
    events: int = FIRST_EVENTS,
    steps: int = 3,
    on_assistant: Callable[[], None] = lambda: None,
) -> list[StepScores]:
    """Score a predictor online on the first events of every new assistant.

    Args:
        make: Returns an empty predictor for a kind.
        beginnings: The assistants.
        events: How many events that use the kind count, of each.
        steps: How many items ahead to predict.
        on_assistant: Called after each assistant, for a progress bar.

    Returns:
        The scores of each step, of all assistants together; sessions are numbered through.
    """
    tallies = [Tally() for _ in range(steps)]
    numbers = count()
    for beginning in beginnings:
        _score(make(beginning.kind), beginning, events, tallies, numbers)
        on_assistant()
    return [tally.scores() for tally in tallies]


def _score(
    predictor: Predictor, beginning: Beginning, events: int, tallies: Sequence[Tally], numbers: count[int]
) -> None:
    kind, passed = beginning.kind, 0
    for session in beginning.sessions:
        if passed >= events:
            return
        number, items = next(numbers), items_of(session, kind)
        for cases, event in walk(session, kind):
            if passed >= events:
                return
            for case in cases:
                told = distribution_of(predictor, case.context, kind, len(tallies))
                following = items[case.position : case.position + len(tallies)]
                for step, (tally, came) in enumerate(zip(tallies, following, strict=False)):
                    tally.add(number, told, step, came)
            passed += bool(cases)
            predictor.learn_one(event)


def gains(scores: Mapping[str, StepScores], beside: str, seed: int = 0, bootstraps: int = 1_000) -> dict[str, Gain]:
    """Return every predictor's figures, and what it gains over one of them.

    Args:
        scores: The scores of one step by predictor, of the same items.
        beside: The one that all are compared with.
        seed: Of the intervals' resamples.
        bootstraps: How many resamples.
    """
    base = scores[beside]
    resamples = Resamples(int(base.session.max(initial=-1)) + 1, bootstraps, seed)
    found = {}
    for name, one in scores.items():
        differences = [ours - theirs for ours, theirs in zip(_values(one), _values(base), strict=True)]
        found[name] = Gain(measure(one), *(_interval(value, base, resamples) for value in differences))
    return found


def _values(scores: StepScores) -> tuple[Floats, Floats, Floats]:
    """Return each item's share in top-1, MRR and log loss."""
    first = (scores.rank <= 1).astype(np.float64)
    return first, 1.0 / scores.rank, -np.log(np.maximum(scores.probability, LOSS_FLOOR))


def _interval(value: Floats, scores: StepScores, resamples: Resamples) -> tuple[float, float, float]:
    low, high = resamples.interval(scores.session, value) or (float("nan"), float("nan"))
    return float(value.mean()) if len(value) else float("nan"), low, high
