"""Fits a recipe's model on a history's fit part, after validating it on the end of that part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from preloader.errors import HistoryError
from preloader.evaluation import BASELINES, Candidate, Row, Task, evaluate, task_of_split
from preloader.evaluation.cases import items_of, learnable
from preloader.history import Session, SplitRule, order_sessions
from preloader.history.annotations import without_annotations
from preloader.learning.recipe import Recipe
from preloader.prediction import FittedOn, OnlinePredictor
from preloader.prediction.manifest import session_hash

BESIDE = "order2"
"""The baseline that stands beside the model in the table."""

OnSession = Callable[[str], None]


class Fitted(msgspec.Struct, frozen=True):
    """A fitted model.

    Attributes:
        predictor: It.
        fitted_on: What it learned from.
        items: How many items of each kind it learned.
        validation: Its figures, by kind, on the held-out end of what it learned from.
    """

    predictor: OnlinePredictor
    fitted_on: FittedOn
    items: dict[str, int]
    validation: dict[str, list[Row]]


def fit_part(sessions: Sequence[Session], rule: SplitRule, recipe: Recipe, seed: int = 0) -> list[Session]:
    """Return the sessions that may be learned from, in the rule's order: none that is a test for any of the kinds.

    Args:
        sessions: The whole history.
        rule: How its format is split.
        recipe: What is to be trained.
        seed: Of the shuffle, where the rule wants one.

    Raises:
        HistoryError: The history is too small.
    """
    fit: dict[tuple[str, str], Session] = {}
    test: set[tuple[str, str]] = set()
    for kind in recipe.data.kinds:
        task = task_of_split(sessions, rule, kind, seed)
        fit.update({(one.user, one.session): one for one in task.fit})
        test.update((one.user, one.session) for one in task.test)
    ordered = order_sessions((one for name, one in fit.items() if name not in test), rule, seed)
    chosen = [without_annotations(session, recipe.data.kinds[0]) for session in ordered]
    _check_size(chosen, recipe)
    return chosen


def fit(sessions: Sequence[Session], recipe: Recipe, on_session: OnSession = lambda label: None) -> Fitted:
    """Validate and fit a recipe's model.

    Args:
        sessions: What may be learned from, as `fit_part` returns it.
        recipe: What is to be trained.
        on_session: Called with a label after each session that was learned or scored.
    """
    cut = validation_cut(sessions, recipe)
    validation = {
        kind: evaluate(
            Task(kind, sessions[:cut], sessions[cut:], steps=recipe.online.horizon),
            [
                Candidate(OnlinePredictor.name, partial(_predictor, recipe, (kind,))),
                Candidate(BESIDE, partial(BASELINES[BESIDE], kinds=(kind,), horizon=recipe.online.horizon)),
            ],
            bootstraps=recipe.validation.bootstraps,
            on_session=on_session,
        )
        for kind in recipe.data.kinds
    }
    predictor = _predictor(recipe, recipe.data.kinds)
    for session in sessions:
        for event in learnable(session):
            predictor.learn_one(event)
        on_session("fitting")
    fitted_on = FittedOn(
        format=recipe.data.format,
        description=recipe.data.description,
        licence=recipe.data.licence,
        sessions=sorted(session_hash(one.user, one.session) for one in sessions),
        events=sum(len(one.events) for one in sessions),
        last_s=max(event.time_s for one in sessions for event in one.events),
    )
    return Fitted(predictor, fitted_on, _items(sessions, recipe), validation)


def work(sessions: Sequence[Session], recipe: Recipe) -> int:
    """Return how many sessions `fit` will learn or score."""
    cut = validation_cut(sessions, recipe)
    return len(recipe.data.kinds) * 2 * (cut + 2 * (len(sessions) - cut)) + len(sessions)


def validation_cut(sessions: Sequence[Session], recipe: Recipe) -> int:
    """Return where the sessions that are held out begin."""
    return min(len(sessions) - 1, round(len(sessions) * (1.0 - recipe.validation.share)))


def _predictor(recipe: Recipe, kinds: Sequence[str]) -> OnlinePredictor:
    return OnlinePredictor(kinds, **msgspec.structs.asdict(recipe.online))


def _items(sessions: Sequence[Session], recipe: Recipe) -> dict[str, int]:
    return {kind: sum(len(items_of(session, kind)) for session in sessions) for kind in recipe.data.kinds}


def _check_size(sessions: Sequence[Session], recipe: Recipe) -> None:
    data = recipe.data
    if len(sessions) < max(data.min_sessions, 2):
        raise HistoryError(
            f"the history leaves {len(sessions)} sessions to learn from, and recipe {recipe.name!r} needs at least "
            f"{max(data.min_sessions, 2)}"
        )
    for kind, count in _items(sessions, recipe).items():
        if count < data.min_items:
            raise HistoryError(
                f"the history leaves {count} items of the kind {kind!r} to learn from, and recipe {recipe.name!r} "
                f"needs at least {data.min_items}"
            )
