"""A small network, fitted once to random events and exported in both forms, as predictors over either runtime."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from preloader.history import group_sessions
from preloader.learning.export import to_coreml, to_onnx
from preloader.learning.lookahead import Trained, fit_network, inputs_of
from preloader.learning.network import OUTPUTS
from preloader.learning.recipe import DataRecipe, Recipe
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.prediction.coreml import CoreMLRuntime
from preloader.prediction.features import FeatureSettings
from preloader.prediction.sequence import Calibration, CoreMLPredictor, OnnxPredictor
from preloader.prediction.users import UserVectors
from preloader.testing import random_events
from tests.contract.mil_model import MilModel

KIND = "component"
RECIPE = Recipe(
    name="sample",
    model="sequence",
    data=DataRecipe(format="household", kinds=(KIND,)),
    features=FeatureSettings(rows=5, pieces=3, piece_bits=6, words=8, word_bits=7),
    network=NetworkSettings(width=8, hidden=12, word_width=6, user_width=4),
    training=TrainingSettings(epochs=2, batch=64),
)


@cache
def trained() -> Trained:
    return fit_network(group_sessions(random_events(3)), KIND, RECIPE)


@cache
def exported() -> bytes:
    return to_onnx(trained().network, inputs_of(trained(), 2), OUTPUTS)


@cache
def program() -> MilModel:
    with TemporaryDirectory() as made:
        path = Path(made) / "network.mlpackage"
        to_coreml(trained().network, inputs_of(trained(), 1), path, "fp32", OUTPUTS)
        return MilModel(path)


def calibration() -> Calibration:
    return Calibration(temperatures=(1.1, 1.0, 0.9), slopes=(0.9, 1.1), offsets=(-0.1, 0.1))


def users() -> UserVectors:
    fitted = trained().users
    return UserVectors(fitted.names, fitted.vectors, fitted.profiles)


def onnx() -> OnnxPredictor:
    return OnnxPredictor(trained().spec(calibration()), users(), exported())


def coreml() -> CoreMLPredictor:
    runtime = CoreMLRuntime("network.mlpackage", model=program())
    return CoreMLPredictor(trained().spec(calibration()), users(), runtime)
