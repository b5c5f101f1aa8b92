"""Fits what a recipe describes: validates it on the end of what may be learned from, then fits it to everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from preloader.evaluation import BASELINES, Candidate, Row, Task, evaluate
from preloader.evaluation.cases import learnable
from preloader.history import Session
from preloader.learning.parallel import Backend
from preloader.learning.parts import Parts, count_items
from preloader.learning.recipe import Recipe
from preloader.ports import Predictor
from preloader.prediction import FittedOn, OnlinePredictor
from preloader.prediction.encoder import EncoderSpec
from preloader.prediction.manifest import session_hash
from preloader.prediction.sequence import Calibration

BESIDE = "order2"
"""The baseline that stands beside the model in every table."""

OnStep = Callable[[str], None]


class DraftFacts(msgspec.Struct, frozen=True):
    """What is to be told of the network that was validated, and calibrated on what was held out from it.

    Attributes:
        parameters: How many numbers it learned.
        vocabulary: How many keys it knows.
        users: How many users have a vector of their own.
        losses: The mean training loss of each epoch.
        held_out: The log loss of the first step on what was held out, after each epoch.
    """

    parameters: int
    vocabulary: int
    users: int
    losses: list[float]
    held_out: list[float]


class NetworkFacts(msgspec.Struct, frozen=True):
    """What is to be told of a network in a bundle.

    Attributes:
        kind: What it predicts.
        parameters: How many numbers it learned.
        vocabulary: How many keys it knows.
        users: How many users have a vector of their own.
        losses: The mean training loss of each epoch.
        calibration: What its figures are corrected by.
        verification: The differences between the exported forms and torch, in words.
        refitted: Whether it was fitted anew, to what had been held out, too, after a draft had been validated.
        draft: That draft; the network itself if it was not fitted anew.
        encoder: The sentence encoder that it hears, and is of no use without.
    """

    kind: str
    parameters: int
    vocabulary: int
    users: int
    losses: list[float]
    calibration: Calibration
    verification: list[str]
    refitted: bool
    draft: DraftFacts
    encoder: EncoderSpec | None = None


class Used(msgspec.Struct, frozen=True):
    """How many sessions were used, and what for.

    Attributes:
        learned: How many the predictor has learned.
        held_out: How many it, or a draft of it, was validated and calibrated on before it learned them, if it did.
        both: How many of those it learned in the end.
    """

    learned: int
    held_out: int
    both: int


class Fitted(msgspec.Struct, frozen=True):
    """What came of a recipe.

    Attributes:
        predictor: The predictor, which has learned everything that may be learned from.
        fitted_on: What it learned from.
        items: How many items of each kind it learned.
        used: How many sessions it learned, and how many were held out.
        validation: Figures by kind, on what was held out.
        files: What a bundle must hold beside its state.
        networks: What is to be told of the networks.
    """

    predictor: Predictor
    fitted_on: FittedOn
    items: dict[str, int]
    used: Used
    validation: dict[str, list[Row]]
    files: Mapping[str, bytes | Path] = {}
    networks: list[NetworkFacts] = []


def fit(
    parts: Parts,
    recipe: Recipe,
    *,
    workplace: Path | None = None,
    backend: Backend | None = None,
    on_step: OnStep = lambda label: None,
) -> Fitted:
    """Validate and fit a recipe's model.

    Args:
        parts: What may be learned from.
        recipe: What is to be trained.
        workplace: Where checkpoints and examples are kept, and gone on from; examples are in memory if not given.
        backend: Where examples that are kept are made; this process by default.
        on_step: Called with a label after each session that was learned or scored, and each epoch.

    Raises:
        MissingExtraError: The model needs the training stack, which is not installed.
        ExportError: An exported network does not say what the trained one says.
        ConfigurationError: A checkpoint is damaged, or of another run.
    """
    if recipe.model == "sequence":
        from preloader.learning.fit_sequence import fit_sequence  # brings in the training stack

        return fit_sequence(parts, recipe, workplace=workplace, backend=backend, on_step=on_step)
    validation = {kind: validate_online(parts, kind, recipe, on_step) for kind in recipe.data.kinds}
    predictor = online(recipe, recipe.data.kinds)
    learn(predictor, parts.whole, on_step)
    predictor.forget_sessions()
    items = count_items(parts.whole, recipe)
    return Fitted(predictor, fitted_on(parts, recipe), items, used(parts, parts.whole), validation)


def validate_online(parts: Parts, kind: str, recipe: Recipe, on_step: OnStep) -> list[Row]:
    """Score the online predictor on what is held out, beside the baseline."""
    candidates = [
        Candidate(OnlinePredictor.name, partial(online, recipe, (kind,))),
        Candidate(BESIDE, partial(BASELINES[BESIDE], kinds=(kind,), horizon=recipe.online.horizon)),
    ]
    task = task_of(parts, kind, recipe)
    return evaluate(task, candidates, bootstraps=recipe.validation.bootstraps, on_session=on_step)


def task_of(parts: Parts, kind: str, recipe: Recipe) -> Task:
    """Return what a recipe is validated on."""
    drops = recipe.data.repeats == "dropped"
    return Task(kind, parts.fit, parts.validation, drop_repeats=drops, steps=recipe.online.horizon)


def learn(predictor: Predictor, sessions: Sequence[Session], on_step: OnStep = lambda label: None) -> None:
    """Show a predictor sessions, each event as it was known when the next one began."""
    for session in sessions:
        for event in learnable(session):
            predictor.learn_one(event)
        on_step("learning")


def online(recipe: Recipe, kinds: Sequence[str]) -> OnlinePredictor:
    """Return a new online predictor with a recipe's settings."""
    return OnlinePredictor(kinds, **msgspec.structs.asdict(recipe.online))


def used(parts: Parts, learned: Sequence[Session]) -> Used:
    """Return how many sessions were used, given those that were learned in the end."""
    names = {(one.user, one.session) for one in learned}
    both = sum((one.user, one.session) in names for one in parts.validation)
    return Used(len(learned), len(parts.validation), both)


def fitted_on(parts: Parts, recipe: Recipe) -> FittedOn:
    """Return what a manifest says of what was learned from: what was held out chose, so it counts as learned, too."""
    chosen = {(one.user, one.session): one for one in (*parts.whole, *parts.validation)}.values()
    return FittedOn(
        format=recipe.data.format,
        description=recipe.data.description,
        licence=recipe.data.licence,
        sessions=sorted(session_hash(one.user, one.session) for one in chosen),
        events=sum(len(one.events) for one in chosen),
        last_s=max(event.time_s for one in chosen for event in one.events),
    )


def work(parts: Parts, recipe: Recipe) -> int:
    """Return about how many steps `fit` reports."""
    fit_count, held, whole = len(parts.fit), len(parts.validation), len(parts.whole)
    evaluated = len(recipe.data.kinds) * 2 * (fit_count + 2 * held)
    if recipe.model == "online":
        return evaluated + whole
    fits = 2 if recipe.sequence.refit else 1
    others = len(recipe.validation.baselines) + len(recipe.sequence.experts) + 2
    return (
        evaluated
        + fit_count
        + whole
        + len(recipe.data.kinds) * (fits * recipe.sequence.members * recipe.training.epochs + others * held)
    )
