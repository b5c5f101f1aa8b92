"""What was learned from sessions, kept as one file of plain arrays and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from preloader.errors import BundleError, ConfigurationError
from preloader.ndarray import NDArray
from preloader.prediction.arrays import decode_arrays, encode_arrays
from preloader.prediction.trees import ARRAYS, BoostedTrees
from preloader.workspace.learn.action_model import ActionModel
from preloader.workspace.learn.calls import CallPredictor
from preloader.workspace.learn.features import NAMES
from preloader.workspace.learn.likelihood import Likelihood
from preloader.workspace.learn.ranker import Ranker
from preloader.workspace.learn.turn import ACTIONS, WORD_BUCKETS, Action, Turn

_VERSION = 3
_MOST_BYTES = 64 * 2**20
_MOST_UNPACKED = 256 * 2**20


class Thresholds(msgspec.Struct, frozen=True):
    """From which score a file is prepared.

    Attributes:
        precise: Chosen for 60 % of the cold reads of the sessions to choose by.
        usual: For 70 % of them.
    """

    precise: float
    usual: float


class Actions(Protocol):
    """Says what sort of action comes next: an `ActionModel`, or an `OnnxActions` made of one."""

    def predict(self, turn: Turn) -> dict[Action, float]:
        """Return how likely each action is; they sum to 1."""
        ...


class Models(msgspec.Struct, frozen=True):
    """The three learned models.

    Attributes:
        ranker: Which files are read next.
        actions: What sort of action comes next.
        calls: Which safe call exactly.
        thresholds: Of the ranker.
        likelihood: What its scores are worth.
    """

    ranker: Ranker
    actions: Actions
    calls: CallPredictor
    thresholds: Thresholds
    likelihood: Likelihood


class _Header(msgspec.Struct):
    version: int
    features: list[str]
    call_features: int
    action_features: int
    least: float
    thresholds: Thresholds
    likelihood: Likelihood


def save_models(models: Models, path: Path) -> None:
    """Write models to a file (``.npz``), in which no name or word of a session stands.

    Raises:
        ConfigurationError: Their model of the next action is an export, from which it cannot be written.
    """
    if not isinstance(models.actions, ActionModel):
        raise ConfigurationError("an exported model of the next action cannot be saved: load the models without it")
    header = _Header(
        version=_VERSION,
        features=list(NAMES),
        call_features=models.calls.trees.features,
        action_features=models.actions.trees.features,
        least=models.ranker.least,
        thresholds=models.thresholds,
        likelihood=models.likelihood,
    )
    arrays: dict[str, NDArray[Any]] = {
        "header": np.frombuffer(msgspec.json.encode(header), np.uint8),
        "words": models.actions.weights.astype(np.float16),
        "biases": models.actions.biases,
    }
    for name, trees in (
        ("sieve", models.ranker.sieve),
        ("ranker", models.ranker.trees),
        ("calls", models.calls.trees),
        ("actions", models.actions.trees),
    ):
        arrays |= {f"{name}.{part}": array for part, array in trees.arrays.items()}
    path.write_bytes(encode_arrays(arrays))


def load_models(path: Path, actions: Path | None = None) -> Models:
    """Open what `save_models` wrote.

    Args:
        path: The file.
        actions: An ONNX export of the model of the next action, to run in place of the file's own (`onnx` extra).

    Raises:
        BundleError: A file cannot be read, is of another version, or is damaged.
        MissingExtraError: ``actions`` is given without the ``onnx`` extra.
    """
    models = _opened(path)
    if actions is None:
        return models
    from preloader.workspace.learn.action_onnx import OnnxActions  # only then is its runtime wanted

    try:
        return msgspec.structs.replace(models, actions=OnnxActions(actions.read_bytes()))
    except (OSError, BundleError) as error:
        raise BundleError(f"{actions}: is no model of the next action that can be run ({error})") from error


def _opened(path: Path) -> Models:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleError(f"{path.stat().st_size:,} bytes are more than the {_MOST_BYTES:,} that it may have")
        return _models(decode_arrays(path.read_bytes(), _MOST_UNPACKED))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (BundleError, ValueError, KeyError, msgspec.MsgspecError) as error:
        raise BundleError(f"{path}: is not a file of models that can be read ({error})") from error


def _models(arrays: dict[str, NDArray[Any]]) -> Models:
    header = msgspec.json.decode(arrays["header"].tobytes(), type=_Header)
    if header.version != _VERSION or tuple(header.features) != NAMES:
        raise BundleError(f"the models are of version {header.version}, made for other features: fit them again")
    weights, biases = arrays["words"].astype(np.float32), arrays["biases"].astype(np.float32)
    if weights.shape != (WORD_BUCKETS, len(ACTIONS)) or biases.shape != (len(ACTIONS),):
        raise BundleError(f"the words' weights have the shape {weights.shape}, not {(WORD_BUCKETS, len(ACTIONS))}")

    def trees(name: str, features: int) -> BoostedTrees:
        return BoostedTrees({part: arrays[f"{name}.{part}"] for part in ARRAYS}, features)

    return Models(
        ranker=Ranker(trees("sieve", len(NAMES)), header.least, trees("ranker", len(NAMES))),
        actions=ActionModel(weights, biases, trees("actions", header.action_features)),
        calls=CallPredictor(trees("calls", header.call_features)),
        thresholds=header.thresholds,
        likelihood=header.likelihood,
    )
