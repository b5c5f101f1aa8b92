"""A logistic regression on the features of a sequence model, which scikit-learn fits and torch exports.

What a context holds is a few numbered columns of very many, as in hashed text (Weinberger et al., *Feature Hashing for
Large Scale Multitask Learning*, 2009): scikit-learn gets them as a sparse matrix, and the module adds up the rows of a
table that they number. Both take the columns from `Columns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from preloader.learning.sklearn_modules import coefficients
from preloader.ndarray import NDArray
from preloader.prediction.features import AGES, FLAGS, MOMENTS, FeatureSettings

INPUTS = ("items", "pieces", "ages", "flags", "words", "word_weights", "moment", "user")
OUTPUTS = ("log_probabilities",)

_LATEST = 4  # rows whose items are told apart by their place
_WORD_BITS = 10  # more made the table larger and nothing better
_ABSENT = -16.0  # the score of a key that never came in fitting

Matrix = Any  # scipy.sparse.csr_matrix, which has no types


class Said(NamedTuple):
    """The columns of a batch.

    Attributes:
        places: The numbers of the columns that hold 1: (batch, places).
        words: Those of the latest text's words, among the words: (batch, words).
        weights: What each of the words' columns holds: (batch, words).
        dense: The columns that always hold a number: (batch, `Columns.dense`).
    """

    places: Tensor
    words: Tensor
    weights: Tensor
    dense: Tensor


class Columns:
    """What a linear model sees.

    That is the items of the latest rows by their place, the pieces of the latest row's names, how lately each key was
    used, the latest row's circumstances, the moment, the user's vector, and the words of the latest text. These tell
    the next item but hardly any later one, so only the first step hears them, which keeps the model small.

    Args:
        vocabulary: V, how many keys have a number.
        features: What arrays there are.
        user_width: The length of a user's vector.

    Attributes:
        places: How many columns hold 1 or 0.
        words: How many there are for words.
        dense: How many hold a number always.
    """

    def __init__(self, vocabulary: int, features: FeatureSettings, user_width: int) -> None:
        self._keys = vocabulary + 1
        self._item_columns = vocabulary + 3  # "no item" and "before the start", too
        self._latest = min(_LATEST, features.rows)
        self._pieces_start = self._latest * self._item_columns
        self._ages_start = self._pieces_start + (1 << features.piece_bits)
        self.places = self._ages_start + self._keys * AGES
        self.words = 1 << min(features.word_bits, _WORD_BITS)
        self.dense = FLAGS + MOMENTS + user_width

    def of(self, arrays: Mapping[str, Tensor]) -> Said:
        """Return the columns of a batch of `INPUTS`."""
        rows = torch.arange(self._latest, dtype=torch.int32) * self._item_columns
        ages = torch.arange(self._keys, dtype=torch.int32) * AGES + self._ages_start
        places = [
            arrays["items"][:, -self._latest :] + rows,  # (batch, latest)
            arrays["pieces"][:, -1] + self._pieces_start,  # (batch, pieces)
            arrays["ages"] + ages,  # (batch, 1 + V)
        ]
        return Said(
            torch.cat(places, dim=1),
            arrays["words"][:, 0] % self.words,
            arrays["word_weights"][:, 0],
            torch.cat([arrays["flags"][:, -1], arrays["moment"], arrays["user"]], dim=1),
        )

    def matrix(self, arrays: Mapping[str, Tensor], step: int) -> Matrix:
        """Return what scikit-learn is to see of a batch when it predicts a step, from 0."""
        said = self.of(arrays)
        parts = [sparse.csr_matrix(said.dense.numpy()), _bag(said.places, torch.ones(said.places.shape), self.places)]
        if step == 0:
            parts.append(_bag(said.words, said.weights, self.words))
        return sparse.hstack(parts, format="csr")

    def sizes(self, step: int) -> list[int]:
        """Return how many columns of each sort that matrix has, in its order."""
        return [self.dense, self.places, self.words if step == 0 else 0]


class LinearNetwork(nn.Module):
    """A linear model of every step, as what a mixture runs; it expects nothing before `take` or `expect`.

    Args:
        vocabulary: V, how many keys have a number.
        steps: How many items ahead.
        features: What arrays there are.
        user_width: The length of a user's vector.
    """

    dense: Tensor
    places: Tensor
    words: Tensor
    bias: Tensor

    def __init__(self, vocabulary: int, steps: int, features: FeatureSettings, user_width: int) -> None:
        super().__init__()
        self.columns = Columns(vocabulary, features, user_width)
        self.keys, self.steps = vocabulary + 1, steps
        self.register_buffer("dense", torch.zeros(self.columns.dense, steps * self.keys))
        self.register_buffer("places", torch.zeros(self.columns.places, steps * self.keys))
        self.register_buffer("words", torch.zeros(self.columns.words, self.keys))
        self.register_buffer("bias", torch.full((steps * self.keys,), _ABSENT))

    def take(self, step: int, model: Any) -> None:
        """Take over, for a step from 0, scikit-learn's `LogisticRegression` that was fitted to `Columns.matrix`."""
        weights, bias = coefficients(model)
        dense, places, words = torch.split(torch.from_numpy(weights.T.astype(np.float32)), self.columns.sizes(step))
        outputs = step * self.keys + torch.from_numpy(model.classes_)
        self.dense[:, outputs], self.places[:, outputs] = dense, places
        self.bias[outputs] = torch.from_numpy(bias.astype(np.float32))
        if step == 0:
            self.words[:, outputs] = words

    def expect(self, step: int, numbers: NDArray[np.int64]) -> None:
        """Expect a step's keys, by their numbers, whatever was before: what only ever came there."""
        self.bias[step * self.keys + torch.from_numpy(numbers)] = 0.0

    def forward(
        self,
        items: Tensor,
        pieces: Tensor,
        ages: Tensor,
        flags: Tensor,
        words: Tensor,
        word_weights: Tensor,
        moment: Tensor,
        user: Tensor,
    ) -> Tensor:
        """Return log-probabilities (batch, steps, 1 + V)."""
        given = (items, pieces, ages, flags, words, word_weights, moment, user)
        said = self.columns.of(dict(zip(INPUTS, given, strict=True)))
        scores = said.dense @ self.dense + functional.embedding(said.places, self.places).sum(1) + self.bias
        scores = scores.view(-1, self.steps, self.keys)  # (batch, steps, 1 + V)
        heard = functional.embedding(said.words, self.words) * said.weights.unsqueeze(-1)  # (batch, words, 1 + V)
        first = scores[:, :1] + heard.sum(1, keepdim=True)  # (batch, 1, 1 + V)
        return torch.cat([first, scores[:, 1:]], dim=1).log_softmax(-1)


def _bag(places: Tensor, held: Tensor, columns: int) -> Matrix:
    """Return a sparse matrix (batch, columns) of what each row's numbered columns are given, added up."""
    rows = np.repeat(np.arange(len(places)), places.shape[1])
    return sparse.csr_matrix((held.numpy().ravel(), (rows, places.numpy().ravel())), shape=(len(places), columns))
