"""Weighs all evidence for a kind's next items into probabilities, and learns the weights from what came.

Each piece of evidence adds to a key's score; a softmax over the candidates makes probabilities of the scores. That is
logistic mixing of the experts' log-probabilities (Mahoney, *Adaptive Weighing of Context Models*, 2005), for many keys
at once: a context in which a key came n times adds ``w · log(1 + n / β) + w'``, where both weights belong to the sort
of context, the step, how much the context has seen, and whether one key dominates it. All weights follow the gradient
of the log loss online (Adagrad), so the result is calibrated as it goes.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from preloader.prediction.contexts import TEMPLATES
from preloader.prediction.counts import SEEN_BUCKETS, VALUES, Counts
from preloader.prediction.recency import NO_MARK, SLOTS
from preloader.prediction.state import within
from preloader.prediction.vocabulary import FIRST, NEW, NOTHING, Vocabulary
from preloader.prediction.words import WordArray, WordWeights

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
AnyIntArray = npt.NDArray[np.integer[Any]]

SPARSE_FROM = 512
"""In smaller vocabularies every key is a candidate, in larger ones those that some evidence proposes."""

_RATE, _MARK_RATE = 0.03, 0.06
_FIRST_WEIGHT, _FIRST_POPULARITY = 0.15, 0.5
_FIRST_SQUARES = 0.1
_NEVER = -1e30


class Scene(msgspec.Struct, frozen=True):
    """What the evidence is read from, either once for all steps or, in learning, apart for each.

    Attributes:
        rows: Rows of the contexts: shape (contexts,), or (horizon, contexts).
        marked: Numbers of the keys that the session marked: (marks,), or (horizon, marks).
        marks: The features of those marks, of the same shape.
        words: One array of word hashes for all steps, or one a step.
    """

    rows: IntArray
    marked: AnyIntArray
    marks: AnyIntArray
    words: list[WordArray]


class Scored(msgspec.Struct, frozen=True):
    """Probabilities, and what they came from.

    Attributes:
        numbers: The candidates' numbers, ascending, shape (candidates,).
        probabilities: Shape (horizon, candidates).
        columns: Where the contexts' successors stand in the flattened probabilities: (horizon, contexts, successors).
        values: The evidence of the counts, of the same shape.
        places: Where the contexts' weights stand, by how much each has seen: (horizon, contexts).
        popularity: The candidates' log-popularity.
        mark_columns: Where the marked keys stand in the flattened probabilities: (horizon, marks).
        marks: The features of the marks: (horizon, marks).
        word_places: Where the weights of the words stand, once or one a step; empty without words.
    """

    numbers: IntArray
    probabilities: FloatArray
    columns: AnyIntArray
    values: FloatArray
    places: IntArray
    popularity: FloatArray
    mark_columns: AnyIntArray
    marks: AnyIntArray
    word_places: list[IntArray]

    def column(self, number: int) -> int:
        """Return the column of a key; that of a new key if it is no candidate."""
        at = int(np.searchsorted(self.numbers, number))
        if at < len(self.numbers) and self.numbers[at] == number:
            return at
        return int(np.searchsorted(self.numbers, NEW))


class Mixture:
    """The learned weights of all evidence about one kind.

    Args:
        horizon: How many steps ahead.
        vocabulary: The kind's keys.
        counts: What came after each context.
        words: What the words say.
    """

    def __init__(self, horizon: int, vocabulary: Vocabulary, counts: Counts, words: WordWeights) -> None:
        self.horizon = horizon
        self._vocabulary = vocabulary
        self._counts = counts
        self._words = words
        self._contexts = np.full((horizon * len(TEMPLATES) * SEEN_BUCKETS, 4), _FIRST_SQUARES)
        self._contexts[:, :2] = _FIRST_WEIGHT, 0.0
        self._popularity = np.full((horizon, 1), _FIRST_POPULARITY)
        self._marks = np.zeros((horizon, SLOTS))
        self._popularity_squares = np.full_like(self._popularity, _FIRST_SQUARES)
        self._mark_squares = np.full_like(self._marks, _FIRST_SQUARES)
        self._steps = np.arange(horizon)[:, None]
        self._sorts = np.arange(horizon * len(TEMPLATES)).reshape(horizon, -1) * SEEN_BUCKETS
        self._column_of = np.zeros(0, np.int64)

    def score(self, scene: Scene) -> Scored:
        """Return the probabilities that the evidence of ``scene`` adds up to. Changes nothing."""
        keys, counts, seen = self._counts.successors(scene.rows)
        values = VALUES.take(counts)
        marks = scene.marks if scene.marks.ndim == 2 else np.broadcast_to(scene.marks, (self.horizon, len(scene.marks)))
        numbers, columns, mark_columns = self._candidates(keys, scene.marked)
        size = len(numbers)
        starts = self._steps * size
        columns = columns + starts[:, :, None]
        mark_columns = mark_columns + starts
        places = self._sorts + seen
        weights = self._contexts.take(places, axis=0)
        added = values * weights[:, :, 0, None]
        added += weights[:, :, 1, None]
        scores = np.bincount(columns.ravel(), added.ravel(), self.horizon * size)
        if marks.size:
            scores += np.bincount(mark_columns.ravel(), self._marks[self._steps, marks].ravel(), self.horizon * size)
        popularity = self._vocabulary.log_popularity(numbers)
        table = scores.reshape(self.horizon, size) + self._popularity * popularity
        word_places = self._add_words(table, scene.words, numbers)
        table[:, NOTHING] = _NEVER  # numbers ascend, and 0 always is among them
        table -= table.max(axis=1, keepdims=True)
        np.exp(table, out=table)
        table /= table.sum(axis=1, keepdims=True)
        return Scored(numbers, table, columns, values, places, popularity, mark_columns, marks, word_places)

    def learn(self, scored: Scored, number: int, first: int, last: int) -> None:
        """Move the weights of some steps towards what came.

        Args:
            scored: What was said before.
            number: The key that came.
            first: The first step, from 0, that awaited it.
            last: The step after the last one.
        """
        steps = slice(first, last)
        errors = np.zeros_like(scored.probabilities)
        errors[steps] = scored.probabilities[steps]
        errors[steps, scored.column(number)] -= 1.0
        at_keys = errors.take(scored.columns[steps])
        slopes = np.empty((*at_keys.shape[:2], 2))
        np.einsum("kcs,kcs->kc", at_keys, scored.values[steps], out=slopes[..., 0])
        np.sum(at_keys, axis=-1, out=slopes[..., 1])  # nobody's places are at the column of nothing, where no error is
        places = scored.places[steps]
        weights = self._contexts.take(places, axis=0)
        weights[:, :, 2:] += slopes * slopes
        weights[:, :, :2] -= _RATE * slopes / np.sqrt(weights[:, :, 2:])
        self._contexts[places] = weights
        slope = errors[steps] @ scored.popularity
        self._popularity_squares[steps, 0] += slope * slope
        self._popularity[steps, 0] -= _RATE * slope / np.sqrt(self._popularity_squares[steps, 0])
        if scored.marks.size:
            self._learn_marks(scored, errors, steps)
        if scored.word_places:
            for step in range(first, last):
                places = scored.word_places[step if len(scored.word_places) > 1 else 0]
                if len(places):
                    self._words.learn(places, step, errors[step])

    def context_weights(self, scored: Scored) -> FloatArray:
        """Return the two weights of each context as it was scored, shape (horizon, contexts, 2)."""
        weights: FloatArray = self._contexts[scored.places, :2]
        return weights

    @property
    def mark_weights(self) -> FloatArray:
        """The weight of each feature of `recency`, shape (horizon, features)."""
        return self._marks

    @property
    def popularity_weight(self) -> FloatArray:
        """The weight of the log-popularity, shape (horizon, 1)."""
        return self._popularity

    def arrays(self) -> dict[str, FloatArray]:
        """Return all weights: the state itself, not copies."""
        return {
            "contexts": self._contexts,
            "popularity": self._popularity,
            "marks": self._marks,
            "popularity_squares": self._popularity_squares,
            "mark_squares": self._mark_squares,
        }

    def check(self) -> None:
        """Check what was loaded.

        Raises:
            ValueError: It is damaged.
        """
        for squares in (self._contexts[:, 2:], self._popularity_squares, self._mark_squares):
            within("squares", squares, 1e-9, np.inf)

    def _candidates(self, keys: AnyIntArray, marked: AnyIntArray) -> tuple[IntArray, AnyIntArray, AnyIntArray]:
        """Return the candidates' numbers, and the columns among them of ``keys`` and of ``marked``."""
        known = len(self._vocabulary)
        if known <= SPARSE_FROM:
            return np.arange(known), keys, marked
        always = np.arange(FIRST)
        numbers = np.unique(np.concatenate([always, keys.ravel(), marked.ravel()]))
        if len(self._column_of) < known:
            self._column_of = np.zeros(2 * known, np.int64)
        self._column_of[numbers] = np.arange(len(numbers))
        return numbers, self._column_of[keys], self._column_of[marked]

    def _add_words(self, table: FloatArray, words: list[WordArray], numbers: IntArray) -> list[IntArray]:
        if not any(map(len, words)):
            return []
        hashes = self._vocabulary.hashes[numbers]
        places = [self._words.places(one, hashes) for one in words]
        if len(words) == 1:
            table += self._words.score(places[0])
        else:
            for step, one in enumerate(places):
                table[step] += self._words.score(one, step)
        return places

    def _learn_marks(self, scored: Scored, errors: FloatArray, steps: slice) -> None:
        features = (scored.marks[steps] + self._steps[steps] * SLOTS).ravel()
        slopes = np.bincount(features, errors.take(scored.mark_columns[steps].ravel()), self._marks.size)
        slopes = slopes.reshape(self._marks.shape)
        slopes[:, NO_MARK] = 0.0
        self._mark_squares += slopes * slopes
        self._marks -= _MARK_RATE * slopes / np.sqrt(self._mark_squares)
