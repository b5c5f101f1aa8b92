"""Predicts the next sort of action from words and counts; `preloader.workspace.next_action` does so by rules."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.trees import BoostedTrees
from preloader.workspace.learn.items import Recording
from preloader.workspace.learn.ranker import TreeFitter
from preloader.workspace.learn.turn import ACTIONS, WORD_BUCKETS, Action, Turn, action_of, dense

_FOLDS = 3


class WordFitter(Protocol):
    """Fits a logistic regression on sets of buckets, as `preloader.learning.boosting.fit_words` does."""

    def __call__(
        self, buckets: list[NDArray[np.int64]], labels: NDArray[np.int64], width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights (width, classes) and biases (classes,)."""
        ...


class ActionModel:
    """A linear model of the words, and boosted trees on what it says and on what was done.

    Args:
        weights: Of each bucket of words, for each of `ACTIONS`: (`WORD_BUCKETS`, actions).
        biases: (actions,).
        trees: With an output for each action.
    """

    def __init__(self, weights: NDArray[np.float32], biases: NDArray[np.float32], trees: BoostedTrees) -> None:
        self.weights = weights
        self.biases = biases
        self.trees = trees

    def predict(self, turn: Turn) -> dict[Action, float]:
        """Return how likely each action is to come next; they sum to 1."""
        return dict(zip(ACTIONS, self.probabilities(turn.buckets(), turn.numbers()).tolist(), strict=True))

    def probabilities(self, buckets: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how likely each of `ACTIONS` is, from what `Turn.buckets` and `Turn.numbers` return: (actions,)."""
        scores = self.trees.margins(dense(_margins(buckets, self.weights, self.biases), numbers)[None])[0]
        powers = np.exp(scores - scores.max())
        result: NDArray[np.float64] = powers / powers.sum()
        return result


class ActionExamples:
    """The moments before the actions of sessions, to fit `ActionModel` on."""

    def __init__(self) -> None:
        self._buckets: list[NDArray[np.int64]] = []
        self._turns: list[Turn] = []
        self._labels: list[int] = []
        self._sessions: list[int] = []
        self._count = 0

    def add(self, recording: Recording) -> None:
        """Take a session: the moment before each call, and before each time the user spoke again."""
        turn = Turn()
        for number, item in enumerate(recording.items):
            if item.type == "tool_call":
                self._add(turn, action_of(item.tool, item.arguments))
            elif item.type == "user_text" and number:
                self._add(turn, "done")
            turn.feed(item)
        self._count += 1

    def _add(self, turn: Turn, action: Action) -> None:
        self._buckets.append(turn.buckets())
        copied = Turn(**{name: getattr(turn, name) for name in Turn.__struct_fields__})
        copied.counts = list(turn.counts)
        self._turns.append(copied)
        self._labels.append(ACTIONS.index(action))
        self._sessions.append(self._count)

    def fit(self, words: WordFitter, trees: TreeFitter) -> ActionModel:
        """Return a model of all that was added.

        The trees see what a linear model says that was not fitted on the session itself, or they would trust it.
        """
        labels, sessions = np.array(self._labels), np.array(self._sessions)
        margins = np.zeros((len(labels), len(ACTIONS)))
        for fold in range(_FOLDS):
            held = sessions % _FOLDS == fold
            known = [one for one, out in zip(self._buckets, held, strict=True) if not out]
            weights, biases = _every_action(*words(known, labels[~held], WORD_BUCKETS), labels[~held])
            for row in np.flatnonzero(held):
                margins[row] = _margins(self._buckets[row], weights, biases)
        weights, biases = _every_action(*words(self._buckets, labels, WORD_BUCKETS), labels)
        rows = np.stack([dense(margin, turn.numbers()) for turn, margin in zip(self._turns, margins, strict=True)])
        return ActionModel(weights, biases, trees(rows, labels, classes=len(ACTIONS), trees=100, leaves=8))


def _margins(
    buckets: NDArray[np.int64], weights: NDArray[np.float32], biases: NDArray[np.float32]
) -> NDArray[np.float64]:
    margins: NDArray[np.float64] = weights[buckets].sum(axis=0, dtype=np.float64) + biases
    return margins


def _every_action(
    weights: NDArray[np.float32], biases: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give a column to each action, also to those that the labels lack."""
    present = np.unique(labels)
    if len(present) == len(ACTIONS):
        return weights, biases
    every_weight = np.zeros((len(weights), len(ACTIONS)), np.float32)
    every_bias = np.full(len(ACTIONS), -10.0, np.float32)
    every_weight[:, present], every_bias[present] = weights, biases
    return every_weight, every_bias
