"""Weighs all evidence for a kind's next items into probabilities, and learns the weights from what came.

Each piece of evidence adds to a key's score; a softmax over the candidates makes probabilities of the scores. That is
logistic mixing of the experts' log-probabilities (Mahoney, *Adaptive Weighing of Context Models*, 2005), for many keys
at once: a context in which a key came n times adds ``w · log(1 + n / β) + w'``, where both weights belong to the sort
of context, the step, how much the context has seen, and whether one key dominates it. All weights follow the gradient
of the log loss online (Adagrad), so the result is calibrated as it goes.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.contexts import TEMPLATES
from preloader.prediction.counts import SEEN, SEEN_BUCKETS, SUCCESSORS, VALUES, Counts
from preloader.prediction.recency import SLOTS
from preloader.prediction.state import within
from preloader.prediction.vocabulary import FIRST, NEW, Vocabulary
from preloader.prediction.words import WordArray, WordWeights

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SPARSE_FROM = 512
"""In smaller vocabularies every key is a candidate, in larger ones those that some evidence proposes."""

_RATE, _MARK_RATE = 0.03, 0.06
_FIRST_WEIGHT, _FIRST_POPULARITY = 0.15, 0.5
_FIRST_SQUARES = 0.1
_NUMBERS, _NOBODY = np.arange(SPARSE_FROM), np.zeros(0, np.int64)


class Scene(msgspec.Struct, frozen=True):
    """What the evidence is read from, either once for all steps or, in learning, apart for each.

    Attributes:
        rows: Rows of the contexts: shape (contexts,), or (horizon, contexts).
        marked: Numbers of the keys that the session marked: (marks,), or (horizon, marks).
        marks: The features of those marks, of the same shape.
        words: One array of word hashes for all steps, or one a step.
    """

    rows: IntArray
    marked: NDArray[np.int32]
    marks: NDArray[np.int8]
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
        marks: The features of the marks: (marks,) or (horizon, marks).
        words: The hashes of the words, once or one array a step.
        hashes: The hashes of the candidates' keys.
    """

    numbers: IntArray
    probabilities: FloatArray
    columns: IntArray
    values: FloatArray
    places: IntArray
    popularity: FloatArray
    mark_columns: IntArray
    marks: NDArray[np.int8]
    words: list[WordArray]
    hashes: WordArray

    def column(self, number: int) -> int:
        """Return the column of a key; that of a new key if it is no candidate."""
        numbers, size = self.numbers, len(self.numbers)
        if number < size and numbers[number] == number:  # every number up to there is a candidate
            return number
        at = int(numbers.searchsorted(number))
        return at if at < size and numbers[at] == number else int(numbers.searchsorted(NEW))


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
        self._column_of = np.zeros(0, np.int64)

    def score(self, scene: Scene) -> Scored:
        """Return the probabilities that the evidence of ``scene`` adds up to. Changes nothing."""
        numbers, column_of = self._candidates(scene)
        horizon, size = self.horizon, len(numbers)
        shape = (horizon, scene.rows.shape[-1])
        scored = Scored(
            numbers,
            np.empty((horizon, size)),
            np.empty((*shape, SUCCESSORS), np.int64),
            np.empty((*shape, SUCCESSORS)),
            np.empty(shape, np.int64),
            np.empty(size),
            np.empty((horizon, scene.marks.shape[-1]), np.int64),
            scene.marks,
            scene.words,
            self._vocabulary.hashes[:size] if not len(column_of) else self._vocabulary.hashes.take(numbers),
        )
        kernel.active.score(
            *(scored.probabilities, scored.columns, scored.values, scored.places),
            *(scored.popularity, scored.mark_columns, *self._counts.tables),
            *(self._contexts, self._marks, self._popularity),
            *(scene.rows, scene.marked, scene.marks, numbers, column_of),
            *(self._vocabulary.mass, SEEN, VALUES, self._vocabulary.total),
        )
        self._add_words(scored)
        kernel.active.softmax(scored.probabilities, size)
        return scored

    def learn(self, scored: Scored, number: int, first: int, last: int) -> None:
        """Move the weights of some steps towards what came.

        Args:
            scored: What was said before.
            number: The key that came.
            first: The first step, from 0, that awaited it.
            last: The step after the last one.
        """
        column = scored.column(number)
        kernel.active.learn(
            *(self._contexts, self._marks, self._mark_squares, self._popularity, self._popularity_squares),
            *(scored.probabilities, scored.columns, scored.values, scored.places),
            *(scored.popularity, scored.mark_columns, scored.marks, column, first, last, _RATE, _MARK_RATE),
        )
        for step in range(first, last):
            words = scored.words[step if len(scored.words) > 1 else 0]
            if len(words):
                self._words.learn(words, scored.hashes, scored.probabilities, column, step)

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

    def _candidates(self, scene: Scene) -> tuple[IntArray, IntArray]:
        """Return the candidates' numbers, and the column of every number, or nothing if that is the number itself."""
        known = len(self._vocabulary)
        if known <= SPARSE_FROM:
            return _first(known), _NOBODY
        keys = self._counts.keys_of(scene.rows)
        numbers = np.unique(np.concatenate([_NUMBERS[:FIRST], keys.ravel(), scene.marked.ravel()]))
        if len(self._column_of) < known:
            self._column_of = np.zeros(2 * known, np.int64)
        self._column_of[numbers] = np.arange(len(numbers))
        return numbers, self._column_of

    def _add_words(self, scored: Scored) -> None:
        if len(scored.words) == 1:
            if len(scored.words[0]):
                self._words.score(scored.probabilities, scored.words[0], scored.hashes, 0, self.horizon)
            return
        for step, words in enumerate(scored.words):
            if len(words):
                self._words.score(scored.probabilities, words, scored.hashes, step, step + 1)


@lru_cache(maxsize=64)
def _first(known: int) -> IntArray:
    return _NUMBERS[:known]
