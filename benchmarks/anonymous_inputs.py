"""What a network without a vocabulary is given while assistants are new: the same inputs every time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import numpy as np

from preloader.events import Context, Event
from preloader.ndarray import NDArray
from preloader.prediction.anonymous import AnonymousPredictor

_SEED = 0
_EVENTS = 300  # of each assistant; with more of them it would no longer be new
_KEYS = 40


def anonymous_inputs(predictor: AnonymousPredictor, count: int) -> Iterator[Mapping[str, NDArray[np.generic]]]:
    """Yield the inputs of assistants that each begin with nothing and use a few dozen keys, the lower ones more often.

    Args:
        predictor: Whose network it is; it learns nothing.
        count: How many inputs.
    """
    rng = random.Random(_SEED)
    for start in range(0, count, _EVENTS):
        assistant = AnonymousPredictor(predictor.runtime, predictor.settings)
        context = Context("somebody", "walk")
        for number in range(start, min(start + _EVENTS, count)):
            event = _event(context, number, rng)
            assistant.learn_one(event)
            context = Context("somebody", f"walk{number}") if rng.random() < 0.05 else context.after(event)
            yield assistant.inputs([assistant.begin(context)])


def _event(context: Context, number: int, rng: random.Random) -> Event:
    return Event(
        user=context.user,
        session=context.session,
        time_s=1_750_000_000.0 + 30.0 * number,
        action="act",
        text=rng.choice((None, "open it", "what is next", "no, the other one")),
        resources=(f"thing:{int(_KEYS * rng.random() ** 2)}",),
        ok=rng.random() < 0.9,
    )
