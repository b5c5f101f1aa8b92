"""Where a recipe's counterfactual outcomes come from: a world of drawn sizes, or the rows that a replay emitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preloader.history import Session
from preloader.learning.examples import UNKNOWN, Outcomes
from preloader.learning.lookahead import MakeOutcomes
from preloader.learning.outcomes import Labels, OutcomeWorld, emitted_labels, read_outcomes
from preloader.learning.recipe import Recipe
from preloader.ndarray import NDArray


def counterfactuals(recipe: Recipe, kind: str) -> MakeOutcomes:
    """Return what labels sessions, for any vocabulary, with whether loading a key would have paid after each event."""

    def outcomes(sessions: Sequence[Session], vocabulary: Sequence[str]) -> Outcomes:
        if recipe.outcomes.rows:
            rows = read_outcomes(Path(recipe.outcomes.rows))
            emitted = emitted_labels(rows, sessions, vocabulary)
            return lambda session: _table(emitted[session.user, session.session])
        world = OutcomeWorld(
            kind, tuple(vocabulary), recipe.outcomes.budget, recipe.outcomes.size_seed, recipe.data.repeats
        )
        return lambda session: _table(world.labels(session))

    return outcomes


def _table(labels: Labels) -> NDArray[np.uint8]:
    """Return labels as examples hold them: (events, 1 + vocabulary), `UNKNOWN` where a row says nothing."""
    held = np.where(labels.known, labels.used, UNKNOWN).astype(np.uint8)
    return np.concatenate([np.full((len(held), 1), UNKNOWN, np.uint8), held], axis=1)
