"""Runs the model of the next action in ONNX Runtime, where an application runs its other models, too."""

from __future__ import annotations

import numpy as np

from preloader.errors import BundleError
from preloader.ndarray import NDArray
from preloader.prediction.onnx import OnnxRuntime
from preloader.workspace.learn.turn import ACTIONS, Action, Turn

WORDS, NUMBERS, PROBABILITIES = "words", "numbers", "probabilities"
"""Inputs and output of the model: `Turn.buckets`, `Turn.numbers`; one for each of `ACTIONS`."""


class OnnxActions:
    """What `preloader.workspace.learn.action_export` wrote, in place of the `ActionModel` that it was made of.

    Args:
        model: The ONNX model.

    Raises:
        BundleError: It is damaged, is not allowed, or is another model.
        MissingExtraError: The ``onnx`` extra is not installed.
    """

    def __init__(self, model: bytes) -> None:
        self._runtime = OnnxRuntime(model)
        if set(self._runtime.inputs) != {WORDS, NUMBERS} or self._runtime.outputs != (PROBABILITIES,):
            raise BundleError("the ONNX model is none of the next action: it has other inputs or outputs")
        self.probabilities(Turn().buckets(), Turn().numbers())  # it takes what a turn gives, and says something of it

    def predict(self, turn: Turn) -> dict[Action, float]:
        """Return how likely each action is to come next; they sum to 1."""
        return dict(zip(ACTIONS, self.probabilities(turn.buckets(), turn.numbers()).tolist(), strict=True))

    def probabilities(self, buckets: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how likely each of `ACTIONS` is, from what `Turn.buckets` and `Turn.numbers` return: (actions,).

        Raises:
            BundleError: The model fails on them, or says what are no probabilities.
        """
        said = self._runtime.run({WORDS: buckets, NUMBERS: numbers})[PROBABILITIES].astype(np.float64)
        if said.shape != (len(ACTIONS),) or not (said.min() >= 0 and abs(said.sum() - 1) < 1e-6):
            raise BundleError(f"the ONNX model of the next action says what are no {len(ACTIONS)} probabilities")
        return said
