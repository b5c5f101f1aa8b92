"""What a predictor says of one kind, as an array: the form in which it is scored, and mixed with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from preloader.events import Context, Prediction, kind_of
from preloader.ndarray import NDArray
from preloader.ports import Predictor
from preloader.prediction import kernel


class Distribution(msgspec.Struct, frozen=True, eq=False):
    """Probabilities of the next items of one kind.

    Attributes:
        index: The keys, each with its column. It may gain keys later, but never changes otherwise.
        probabilities: Shape (steps, keys).
    """

    index: Mapping[str, int]
    probabilities: NDArray[np.float64]

    def without_next(self, key: str | None) -> Distribution:
        """Return what remains once it is known that the next item is not ``key``; further steps stay as they are."""
        column = self.index.get(key) if key is not None else None
        if column is None:
            return self
        probabilities = self.probabilities.copy()
        rest = 1.0 - probabilities[0, column]
        probabilities[0, column] = 0.0
        if rest > 0:
            probabilities[0] = np.minimum(probabilities[0] / rest, 1.0)
        return Distribution(self.index, probabilities)


@runtime_checkable
class Distributes(Protocol):
    """A predictor that can give its whole distribution as an array, which spares thousands of `Prediction`s an item."""

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return exactly what ``predict`` would say about ``kind``."""


def distribution_of(predictor: Predictor, context: Context, kind: str, steps: int) -> Distribution:
    """Return what ``predictor`` says about the next ``steps`` items of ``kind``, however many its list would hold."""
    if isinstance(predictor, Distributes):
        return predictor.distribution(context, kind, steps)
    return from_predictions(predictor.predict(context, steps), kind, steps)


def from_predictions(predictions: Iterable[Prediction], kind: str, steps: int) -> Distribution:
    """Gather the predictions of one kind into an array."""
    wanted = [prediction for prediction in predictions if kind_of(prediction.key) == kind]
    index = {prediction.key: column for column, prediction in enumerate(wanted)}
    if not wanted:
        return Distribution(index, np.zeros((steps, 0)))
    return Distribution(index, np.array([prediction.per_step for prediction in wanted], dtype=np.float64).T[:steps])


def likeliest(chances: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return the columns of at most ``most`` of the highest chances, highest first, ties in their order."""
    chosen = np.empty(min(most, len(chances)), np.int64)
    kernel.active.likeliest(chosen, np.ascontiguousarray(chances), 0, len(chances))
    return chosen


def to_predictions(distribution: Distribution) -> list[Prediction]:
    """Return the predictions of all keys that may come, likeliest next item first, ties in the order of the keys.

    A key is taken to be used, if loaded or kept, when it comes at one of the steps, and those to be independent.
    """
    probabilities = distribution.probabilities
    used = np.minimum(1.0 - np.prod(1.0 - probabilities, axis=0), 1.0)
    keys = list(distribution.index)
    order = np.argsort(-probabilities[0], kind="stable") if keys else np.zeros(0, dtype=np.int64)
    columns = zip(order.tolist(), probabilities[:, order].T.tolist(), used[order].tolist(), strict=True)
    return [Prediction(keys[column], tuple(per_step), use, use) for column, per_step, use in columns if any(per_step)]
