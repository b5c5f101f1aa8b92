"""What scikit-learn makes of the same features: the models that a sequence model has to beat.

``logistic`` is a multinomial logistic regression on one-hot rows and hashed words, ``boosting`` gradient-boosted trees
(Friedman 2001; the histogram form of Ke et al., NeurIPS 2017) on the latest rows as categories. Both are fitted once,
for each step apart, and learn nothing afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from preloader.events import Context, Event, Prediction
from preloader.history import Session
from preloader.learning.examples import NOTHING, Examples, examples, users_of, vocabulary_of
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.distribution import Distribution, to_predictions
from preloader.prediction.features import AGES, OUTSIDE, Arrays, Features, FeatureSettings, stack

NAMES = ("logistic", "boosting")

_LATEST = 4  # rows whose items are told apart by their place
_ITERATIONS = 60
_CATEGORIES = 250  # gradient boosting takes at most 255
_CLASSES = 64  # it grows one tree for each of these in every round
_ROUNDS = 30
_TOPICS = 32

Matrix = Any  # scipy.sparse.csr_matrix, which has no types
FloatArray = NDArray[np.float64]


class SklearnPredictor:
    """A scikit-learn model on the features of a sequence model, as a predictor.

    Args:
        name: One of `NAMES`.
        features: What it sees.
        users: The users who are told apart.
        horizon: How many items ahead.
    """

    def __init__(self, name: str, features: Features, users: Sequence[str], horizon: int) -> None:
        self.name = name
        self.horizon = horizon
        self._features = features
        self._users = {user: number for number, user in enumerate(users)}
        self._view = _Boosted(features) if name == "boosting" else _OneHot(features)
        self._models: list[Any] = []
        self._index = {key: column for column, key in enumerate(features.vocabulary)}

    def fit(self, learned: Examples, seed: int = 0) -> SklearnPredictor:
        """Fit one model a step, and return itself."""
        self._view.fit(learned.arrays)
        chosen = np.flatnonzero(learned.weights == 1.0)
        for step in range(self.horizon):
            came = chosen[learned.labels[chosen, step] != NOTHING]
            seen = self._view.see(_part(learned.arrays, came), learned.users[came])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded on purpose
                self._models.append(self._view.model(seed).fit(seen, self._view.classes(learned.labels[came, step])))
        return self

    def learn_one(self, event: Event) -> None:
        """Learn nothing: scikit-learn's models are fitted once."""

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """See `Predictor.predict`."""
        return to_predictions(self.distribution(context, self._features.kind, steps))

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """See `Distributes.distribution`."""
        if not 1 <= steps <= self.horizon:
            raise ValueError(f"steps must be from 1 to {self.horizon}, not {steps}")
        user = np.array([self._users.get(context.user, len(self._users))])
        seen = self._view.see(stack([self._features.of(context)]), user)
        told = np.zeros((steps, len(self._index) + 1))
        for step in range(steps):
            told[step, self._models[step].classes_] = self._models[step].predict_proba(seen)[0]
        return Distribution(self._index, told[:, 1:])

    def snapshot(self) -> Snapshot:
        """Return nothing to go on from: these models are only compared with."""
        return Snapshot({"predictor": self.name}, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Do nothing: there is no state that changes."""


def sklearn_predictor(
    name: str,
    sessions: Sequence[Session],
    kind: str,
    features: FeatureSettings | None = None,
    vocabulary: Sequence[str] | None = None,
    horizon: int = 3,
    seed: int = 0,
) -> SklearnPredictor:
    """Fit one of the models to sessions.

    Args:
        name: One of `NAMES`.
        sessions: What is learned from.
        kind: The kind of the items.
        features: What it sees.
        vocabulary: The keys that it tells apart; those used twice at least, if not given.
        horizon: How many items ahead.
        seed: Of whatever is random.
    """
    known = vocabulary_of(sessions, kind) if vocabulary is None else vocabulary
    seen = Features(kind, known, features)
    users = users_of(sessions) if seen.settings.use_users else []
    learned = examples(sessions, seen, horizon, {user: number for number, user in enumerate(users)})
    return SklearnPredictor(name, seen, users, horizon).fit(learned, seed)


class _OneHot:
    """Everything as columns of its own: rows by their place, the others as bags."""

    def __init__(self, features: Features) -> None:
        self._keys = len(features.vocabulary) + 3
        self._settings = features.settings

    def fit(self, arrays: Arrays) -> None:
        """Learn nothing of the inputs: every column has its meaning already."""

    def model(self, seed: int) -> LogisticRegression:
        return LogisticRegression(max_iter=_ITERATIONS, random_state=seed)

    def classes(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return labels

    def see(self, arrays: Arrays, users: NDArray[np.int64]) -> Matrix:
        return sparse.hstack(list(self._blocks(arrays, users)), format="csr")

    def _blocks(self, arrays: Arrays, users: NDArray[np.int64]) -> Iterator[Matrix]:
        items, pieces = arrays["items"], arrays["pieces"]
        for back in range(1, min(_LATEST, items.shape[1]) + 1):
            yield _bag(items[:, -back, None], self._keys)
        for back in range(1, min(2, items.shape[1]) + 1):
            yield _bag(pieces[:, -back], 1 << self._settings.piece_bits)
        for text in range(self._settings.texts):
            yield _bag(arrays["words"][:, text], 1 << self._settings.word_bits, arrays["word_weights"][:, text])
        ages = arrays["ages"]
        yield _bag(ages + AGES * np.arange(ages.shape[1]), AGES * ages.shape[1])
        yield _bag(arrays["circumstances"], 1 << self._settings.piece_bits)
        yield _bag(users[:, None], 1_024)
        yield sparse.csr_matrix(np.concatenate([arrays["flags"][:, -1], arrays["moment"]], axis=1))


class _Boosted:
    """The latest items and the user as categories, flags and moment as numbers, words as a few topics."""

    def __init__(self, features: Features) -> None:
        self._settings = features.settings
        self._topics: TruncatedSVD | None = None
        self._categories = 0

    def fit(self, arrays: Arrays) -> None:
        """Find the topics of the words (latent semantic analysis, Deerwester et al. 1990)."""
        if arrays["word_weights"].any():
            self._topics = TruncatedSVD(_TOPICS, random_state=0).fit(self._words(arrays))

    def model(self, seed: int) -> HistGradientBoostingClassifier:
        categorical = list(range(self._categories))
        return HistGradientBoostingClassifier(
            max_iter=_ROUNDS, learning_rate=0.2, max_leaf_nodes=15, categorical_features=categorical, random_state=seed
        )

    def classes(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels, all but the most frequent ones as `OUTSIDE`: the vocabulary begins with these."""
        return np.where(labels > _CLASSES, OUTSIDE, labels)

    def see(self, arrays: Arrays, users: NDArray[np.int64]) -> FloatArray:
        items = arrays["items"][:, -_LATEST:]
        categories = np.minimum(np.concatenate([items, users[:, None]], axis=1), _CATEGORIES)
        self._categories = categories.shape[1]
        parts = [categories, arrays["flags"][:, -1], arrays["moment"], arrays["ages"][:, :_CLASSES]]
        if self._topics is not None:
            parts.append(self._topics.transform(self._words(arrays)))
        seen: FloatArray = np.concatenate(parts, axis=1).astype(np.float64)
        return seen

    def _words(self, arrays: Arrays) -> Matrix:
        return _bag(arrays["words"][:, 0], 1 << self._settings.word_bits, arrays["word_weights"][:, 0])


def _part(arrays: Arrays, chosen: NDArray[np.int64]) -> Arrays:
    return {name: array[chosen] for name, array in arrays.items()}


def _bag(numbers: NDArray[np.generic], columns: int, weights: NDArray[np.generic] | None = None) -> Matrix:
    """Return a sparse matrix with a weight, or 1, in each of the numbered columns of a row."""
    rows = np.repeat(np.arange(len(numbers)), numbers.shape[1])
    held = np.ones(numbers.size, np.float32) if weights is None else weights.ravel()
    return sparse.csr_matrix((held, (rows, numbers.ravel() % columns)), shape=(len(numbers), columns))
