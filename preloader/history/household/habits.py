"""What a person does next: a first-order Markov chain over components for each person, routine and week.

The logit of going from one component to another is the sum of what the routine makes usual, what people of the same
archetype have in common, and the person's own ways. The last turn slowly: with the angle w · drift in week w they are
cos · (ways of the beginning) + sin · (other ways), which keeps their strength and lets them become quite different.
"""

from __future__ import annotations

import math
import random
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from preloader.history.household.home import ARCHETYPES, COMPONENTS, ROUTINES

Floats = npt.NDArray[np.float64]

ARCHETYPE_STRENGTH = 2.4
PERSON_STRENGTH = 1.2
_OUT_OF_POOL = -7.0
_PER_RANK = -0.15  # a routine's later components are less usual
_REPEAT = -3.0
START = len(COMPONENTS)
"""The row of the chain for a session's first command."""


class Habits:
    """The chains of all people of one household.

    Args:
        seed: What the tables are drawn with.
        drift: How far a person's own ways turn in a week, in radians; 0 keeps them for ever.
    """

    def __init__(self, seed: int, drift: float) -> None:
        self._seed = seed
        self._drift = drift
        self._table = cache(self._drawn_table)
        self.chain = lru_cache(maxsize=4_096)(self._chain)

    def _chain(self, person: int, routine: int, week: int) -> Floats:
        """Return P(next | current): a row for each component, then the one for `START`; a column for each component."""
        angle = self._drift * week
        shared = self._table("archetype", archetype_of(person), routine)
        own = math.cos(angle) * self._table("person", person, routine)
        own += math.sin(angle) * self._table("later", person, routine)
        logits = _usual(routine) + ARCHETYPE_STRENGTH * shared + PERSON_STRENGTH * own
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        chain: Floats = weights / weights.sum(axis=1, keepdims=True)
        chain.flags.writeable = False  # it is cached
        return chain

    def _drawn_table(self, kind: str, number: int, routine: int) -> Floats:
        """Return standard normal numbers, always the same for the same arguments."""
        draw = random.Random(f"{self._seed}/{kind}/{number}/{routine}")
        numbers = [draw.gauss(0.0, 1.0) for _ in range((START + 1) * START)]
        return np.array(numbers).reshape(START + 1, START)


def archetype_of(person: int) -> int:
    """Return the index, in `ARCHETYPES`, of the archetype that a person is of."""
    return person % len(ARCHETYPES)


def _usual(routine: int) -> Floats:
    """Return the logits that a routine alone would give."""
    pool = ROUTINES[routine].pool
    row = [_PER_RANK * pool.index(name) if name in pool else _OUT_OF_POOL for name in COMPONENTS]
    return np.tile(row, (START + 1, 1)) + _REPEAT * np.eye(START + 1, START)
