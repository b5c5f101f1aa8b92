"""Where a recipe's counterfactual outcomes come from: a world of drawn sizes, or the rows that a replay emitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from preloader.history import Session
from preloader.learning.examples import UNKNOWN, MakeOutcomes, Outcomes
from preloader.learning.outcomes import Labels, OutcomeWorld, emitted_labels, read_outcomes
from preloader.learning.recipe import Recipe
from preloader.ndarray import NDArray


def counterfactuals(recipe: Recipe, kind: str) -> MakeOutcomes:
    """Return what labels sessions, for any vocabulary, with whether loading a key would have paid after each event."""
    return partial(_outcomes, recipe, kind)


def _outcomes(recipe: Recipe, kind: str, sessions: Sequence[Session], vocabulary: Sequence[str]) -> Outcomes:
    if recipe.outcomes.rows:
        rows = read_outcomes(Path(recipe.outcomes.rows))
        return partial(_of_rows, emitted_labels(rows, sessions, vocabulary))
    outcomes = recipe.outcomes
    world = OutcomeWorld(kind, tuple(vocabulary), outcomes.budget, outcomes.size_seed, recipe.data.repeats)
    return partial(_of_world, world)


def _of_rows(emitted: Mapping[tuple[str, str], Labels], session: Session) -> NDArray[np.uint8]:
    return _table(emitted[session.user, session.session])


def _of_world(world: OutcomeWorld, session: Session) -> NDArray[np.uint8]:
    return _table(world.labels(session))


def _table(labels: Labels) -> NDArray[np.uint8]:
    """Return labels as examples hold them: (events, 1 + vocabulary), `UNKNOWN` where a row says nothing."""
    held = np.where(labels.known, labels.used, UNKNOWN).astype(np.uint8)
    return np.concatenate([np.full((len(held), 1), UNKNOWN, np.uint8), held], axis=1)
