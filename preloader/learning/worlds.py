"""The world in which a recipe's counterfactual outcomes come about: sizes, a budget, and what would have stayed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from preloader.history import Session
from preloader.learning.examples import Outcomes
from preloader.learning.lookahead import MakeOutcomes
from preloader.learning.recipe import Recipe
from preloader.ndarray import NDArray
from preloader.replay.outcomes import reuses
from preloader.replay.script import vocabulary as counts_of
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes


def counterfactuals(recipe: Recipe, kind: str) -> MakeOutcomes:
    """Return what works out, for any vocabulary, whether loading a key would have paid after each event.

    Sizes are drawn as PROTOCOLS 4 says; the budget is the recipe's times their mean over the history. The label is that
    of ``docs/outcomes.md``: used again in the session before LRU would have evicted it.
    """
    provider = SimulatedProvider(partial(drawn_cost, seed=recipe.outcomes.size_seed))
    repeats = recipe.data.repeats

    def outcomes(sessions: Sequence[Session], vocabulary: Sequence[str]) -> Outcomes:
        known = counts_of(sessions, kind)
        capacity = round(recipe.outcomes.budget * mean_bytes(known or vocabulary, provider))
        numbers = {key: number for number, key in enumerate(vocabulary, start=1)}

        def label(session: Session) -> NDArray[np.bool_]:
            script = write_script([session], kind, repeats)[0]
            paying = np.zeros((len(session.events), len(vocabulary) + 1), np.bool_)
            for step in range(len(script.steps)):
                for key, reuse in reuses(script, step, provider, capacity).items():
                    number = numbers.get(key)
                    if number is not None:
                        paying[step, number] = reuse.fits(provider.cost(key).bytes, capacity)
            return paying

        return label

    return outcomes
