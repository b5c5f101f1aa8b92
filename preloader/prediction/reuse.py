"""How likely a key is used at all: within the next few items, and before a loaded one would be given up.

The probabilities of single steps do not say that: whether a key comes at step 2 depends on whether it came at step 1.
So two logistic regressions learn it from what happened. Every so many items of a session its candidates are noted with
a few features; once the window has closed, or the session has fallen silent, each candidate was used or was not.

*Used if loaded* is a stand-in until replay's counterfactual outcomes are learned from: used within the next
`WINDOW` items of the same session.
"""

from __future__ import annotations

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.mixture import Scored
from preloader.prediction.state import within

WINDOW = 10
"""Within how many items a loaded resource must be used to count as used."""

MAX_CANDIDATES = 64
SILENCE_S = 1_800.0
"""A session that was silent for so long, before or after what is seen now, is taken to be over."""

_AGES = 9
_NUMERIC = 3  # log-odds of any step and of the last one, log-popularity; beside them, a constant for each age
_RATE = 0.05
_EDGE = 1e-5

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Reuse:
    """Two logistic regressions on each candidate's step probabilities and its age in the session.

    Args:
        horizon: Within how many items is *soon*.
        sessions: How many sessions are watched at once.
    """

    def __init__(self, horizon: int, sessions: int) -> None:
        self._horizon = horizon
        self._window = max(WINDOW, horizon)
        self._weights = np.zeros((2, _NUMERIC + _AGES + 1))
        self._weights[:, 0] = 1.0
        self._squares = np.ones_like(self._weights)
        self._open = np.zeros(sessions, np.bool_)
        self._passed = np.zeros(sessions, np.int32)
        self._last_s = np.zeros(sessions)
        self._numbers = np.zeros((sessions, MAX_CANDIDATES), np.int32)
        self._used_after = np.zeros((sessions, MAX_CANDIDATES), np.int32)
        self._features = np.zeros((sessions, _NUMERIC, MAX_CANDIDATES), np.float32)
        self._ages = np.zeros((sessions, MAX_CANDIDATES), np.int8)

    def features(self, scored: Scored, columns: IntArray) -> tuple[FloatArray, IntArray]:
        """Return what is asked about some candidates.

        Args:
            scored: What the mixture says, with the same evidence for all steps.
            columns: Which candidates.

        Returns:
            The numeric features, shape (`_NUMERIC`, candidates), and the candidates' ages in the session.
        """
        table = np.empty((_NUMERIC, len(columns)))
        ages = np.empty(len(columns), np.int64)
        marks = scored.mark_columns, scored.marks
        kernel.active.features(table, ages, scored.probabilities, columns, scored.popularity, *marks, _EDGE)
        return table, ages

    def estimate(self, features: FloatArray, ages: IntArray) -> FloatArray:
        """Return P(used soon) and P(used if loaded), of which the second is at least the first: (2, candidates)."""
        chances = np.empty((2, len(ages)))
        kernel.active.estimate(chances, self._weights, features, ages)
        return chances

    def is_open(self, slot: int) -> bool:
        """Return whether a session's candidates are being watched."""
        return bool(self._open[slot])

    def watch(self, slot: int, numbers: IntArray, features: FloatArray, ages: IntArray) -> None:
        """Note a session's candidates, at most `MAX_CANDIDATES`, before an item that comes now."""
        count = min(len(numbers), MAX_CANDIDATES)
        self._open[slot] = True
        self._passed[slot] = 0
        self._used_after[slot] = 0
        self._numbers[slot] = 0
        self._numbers[slot, :count] = numbers[:count]
        self._features[slot, :, :count] = features[:, :count]
        self._ages[slot, :count] = ages[:count]

    def came(self, slot: int, number: int, time_s: float) -> None:
        """Note that a key was used; learn once the window has closed."""
        self._last_s[slot] = time_s
        if not self._open[slot]:
            return
        passed = int(self._passed[slot]) + 1
        self._passed[slot] = passed
        kernel.active.note(self._used_after, self._numbers, slot, number, passed)
        if passed >= self._window:
            self.close(slot)

    def close_silent(self, time_s: float) -> None:
        """Learn from the sessions that are over."""
        for slot in np.flatnonzero(self._open & (np.abs(time_s - self._last_s) > SILENCE_S)).tolist():
            self.close(slot)

    def close(self, slot: int) -> None:
        """Learn from a session's candidates, of which those not used by now are taken to stay so."""
        if not self._open[slot]:
            return
        self._open[slot] = False
        asked = self._features, self._ages, self._numbers, self._used_after
        kernel.active.fit(self._weights, self._squares, *asked, slot, self._horizon, _RATE)

    def forget_keys(self, keys: IntArray) -> None:
        """Stop watching keys whose numbers are given up."""
        self._numbers[np.isin(self._numbers, keys)] = 0

    def check(self, numbers: int) -> None:
        """Check what was loaded; ``numbers`` is how many the vocabulary has given.

        Raises:
            ValueError: It is damaged.
        """
        within("numbers", self._numbers, 0, numbers - 1)
        within("ages", self._ages, 0, _AGES)
        within("squares", self._squares, 1e-9, np.inf)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the state itself, not copies."""
        return {
            "weights": self._weights,
            "squares": self._squares,
            "open": self._open,
            "passed": self._passed,
            "last_s": self._last_s,
            "numbers": self._numbers,
            "used_after": self._used_after,
            "features": self._features,
            "ages": self._ages,
        }
