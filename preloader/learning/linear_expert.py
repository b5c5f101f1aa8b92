"""Fits a linear model beside a network, to the same examples, and makes it an expert of the mixture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import msgspec
import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from preloader.learning.calibrate import temperatures_of
from preloader.learning.examples import NOTHING, ExampleSet
from preloader.learning.export import Precision, to_onnx
from preloader.learning.forms import Files, forms_of
from preloader.learning.linear import INPUTS, OUTPUTS, LinearNetwork
from preloader.learning.lookahead import Trained, chunks, inputs_at, inputs_of
from preloader.learning.recipe import LinearName
from preloader.learning.verify import MIN_ROWS
from preloader.ndarray import NDArray
from preloader.prediction.sequence import Calibration, OnnxPredictor, SequenceSpec
from preloader.prediction.users import UserVectors

_ITERATIONS = 60


class Linear(msgspec.Struct, frozen=True, eq=False):
    """A linear model that was fitted beside a network.

    Attributes:
        name: Which.
        beside: The network, to whose examples it was fitted.
        network: The model.
        calibration: Its temperatures.
        onnx: Its ONNX model.
    """

    name: LinearName
    beside: Trained
    network: LinearNetwork
    calibration: Calibration
    onnx: bytes

    @property
    def spec(self) -> SequenceSpec:
        """What a predictor must know beside the model."""
        return msgspec.structs.replace(self.beside.spec(self.calibration), model=self.name, encoder=None)

    def predictor(self) -> OnnxPredictor:
        """Return a new predictor, which gets to know users by itself."""
        users = self.beside.users
        return OnnxPredictor(self.spec, UserVectors(users.names, users.vectors, users.profiles), self.onnx)

    def forms(self, kept: tuple[Precision, ...]) -> tuple[Files, list[str]]:
        """Return what a bundle is to hold of it, and in words how far each form is from it; see `forms_of`."""
        inputs = inputs_of(self.beside, MIN_ROWS, INPUTS)
        return forms_of(self.spec.stem, self.network, self.onnx, inputs, OUTPUTS, kept=kept)


def fit_linear(name: LinearName, beside: Trained, calibration: Calibration | None = None) -> Linear:
    """Fit a linear model to what a network was fitted to. Its examples are all in memory meanwhile, as sparse rows.

    Args:
        name: Which.
        beside: The network.
        calibration: What is known of the model's calibration; see `calibrated`.
    """
    vocabulary, steps = len(beside.features.vocabulary), beside.network.steps
    network = LinearNetwork(vocabulary, steps, beside.features.settings, beside.users.size)
    for step in range(steps):
        _fit_step(network, beside, step)
    onnx = to_onnx(network, inputs_of(beside, 2, INPUTS), OUTPUTS)
    return Linear(name, beside, network.eval(), calibration or Calibration(temperatures=(1.0,) * steps), onnx)


def calibrated(linear: Linear, asked: ExampleSet) -> Linear:
    """Return a model with the temperatures that fit best what came, in examples that it was not fitted to."""
    with torch.no_grad():
        told = [linear.network(**one).numpy() for one in _batches(linear.beside, asked, np.arange(len(asked)))]
    temperatures = temperatures_of(np.concatenate(told), asked.labels, asked.weights)
    return msgspec.structs.replace(linear, calibration=Calibration(temperatures=temperatures))


def _fit_step(network: LinearNetwork, beside: Trained, step: int) -> None:
    examples = beside.examples
    came = np.flatnonzero((examples.weights == 1.0) & (examples.labels[:, step] != NOTHING))
    labels = examples.labels[came, step]
    if len(np.unique(labels)) < 2:  # nothing to tell apart
        network.expect(step, labels[:1])
        return
    seen = [network.columns.matrix(one, step) for one in _batches(beside, examples, came)]
    model = LogisticRegression(max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded on purpose
        network.take(step, model.fit(sparse.vstack(seen, format="csr"), labels))


def _batches(beside: Trained, examples: ExampleSet, chosen: NDArray[np.int64]) -> Iterator[dict[str, Tensor]]:
    for part in chunks(chosen):
        yield _seen(inputs_at(beside, examples, part))


def _seen(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: inputs[name] for name in INPUTS}
