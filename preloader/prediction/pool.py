"""An expert made of the others: a logarithmic opinion pool whose weights are learned online.

``p(key) ∝ exp(Σ_i a_i · log p_i(key) + Σ_i c_i · [expert i does not name the key] + d · [nobody names it])`` is a pool
in the sense of Genest & Zidek (*Combining Probability Distributions*, 1986), and logistic mixing (Mahoney 2005) for
many outcomes at once. Unlike a linear mixture it can be surer than each of its experts where they agree for different
reasons. An expert's weight adds up from sets that the situation selects: one that always counts, one for how many items
the user has made known, one for how sure the expert is, and one of the user's own. All start where the pool is the
experts' geometric mean, and follow the gradient of the log loss (Adagrad), which is convex in them.
"""

from __future__ import annotations

import math

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.panel import Panel
from preloader.prediction.state import within

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SEEN = (8, 64, 512)  # items of the user that part the sets
_SURE = np.log([0.3, 0.5, 0.7, 0.9])  # probabilities of an expert's favourite that part the sets
_ALWAYS, _BY_SEEN, _BY_SURE = 0, 1, 2 + len(_SEEN)  # where the sets begin, as `twin.pool` takes them
_SETS = _BY_SURE + len(_SURE) + 1
_RATE, _USER_RATE = 0.02, 0.01
_FIRST_SQUARES = 0.1


class LogPool:
    """The pool of one kind's experts.

    Args:
        experts: How many.
        horizon: How many steps, each with weights of its own.
    """

    def __init__(self, experts: int, horizon: int) -> None:
        self._weights = np.zeros((horizon, experts, _SETS))
        self._weights[..., _ALWAYS] = 1.0 / experts
        self._squares = np.full_like(self._weights, _FIRST_SQUARES)
        self._biases = np.zeros((horizon, experts + 1))
        self._bias_squares = np.full_like(self._biases, _FIRST_SQUARES)

    def new_user(self) -> FloatArray:
        """Return a user's own weights, and their squares, before anything is known of them: (2, horizon, experts)."""
        horizon, experts, _ = self._weights.shape
        own = np.zeros((2, horizon, experts))
        own[1] = _FIRST_SQUARES
        return own

    def mix(self, panel: Panel, steps: IntArray, own: FloatArray, seen: int) -> tuple[FloatArray, IntArray]:
        """Return the pool's probabilities, shape (steps, keys + 1), and which sets of weights it took.

        Args:
            panel: What the experts say of some steps, in double precision.
            steps: Which steps these are, from 0.
            own: The user's own weights, see `new_user`.
            seen: How many items the user has made known.
        """
        experts, rows, outcomes = panel.logs.shape
        chances, taken = np.empty((rows, outcomes)), np.empty((3, rows, experts), np.int64)
        kernel.active.pool(
            *(chances, taken, panel.logs, panel.alignment.unnamed, self._weights, own[0], self._biases, steps, _SURE),
            *(_BY_SEEN + _bucket(seen), _BY_SURE),
        )
        return chances, taken

    def learn(
        self, panel: Panel, steps: IntArray, columns: IntArray, own: FloatArray, chances: FloatArray, taken: IntArray
    ) -> None:
        """Move the weights towards what came.

        Args:
            panel: What the experts had said of some steps, in double precision.
            steps: Which steps these are, from 0, each at most once.
            columns: The columns of what came, one a step.
            own: The user's own weights, which move too.
            chances: What the pool made of the panel: the first part of what `mix` returns.
            taken: The second part.
        """
        kernel.active.learn_pool(
            *(self._weights, self._squares, own, self._biases, self._bias_squares),
            *(chances, panel.logs, panel.alignment.unnamed, taken, steps, columns, _RATE, _USER_RATE),
        )

    def arrays(self) -> dict[str, FloatArray]:
        """Return all weights: the state itself, not copies."""
        return {
            "weights": self._weights,
            "squares": self._squares,
            "biases": self._biases,
            "bias_squares": self._bias_squares,
        }

    def check(self) -> None:
        """Check what was put into `arrays`.

        Raises:
            ValueError: It is damaged.
        """
        for squares in (self._squares, self._bias_squares):
            within("squares", squares, 1e-9, math.inf)


def _bucket(seen: int) -> int:
    return sum(seen >= least for least in _SEEN)
