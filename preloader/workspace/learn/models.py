"""What was learned from sessions, kept as one file of plain arrays and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from preloader.errors import BundleError
from preloader.ndarray import NDArray
from preloader.prediction.arrays import decode_arrays, encode_arrays
from preloader.prediction.trees import ARRAYS, BoostedTrees
from preloader.workspace.learn.action_model import ActionModel
from preloader.workspace.learn.calls import CallPredictor
from preloader.workspace.learn.features import NAMES
from preloader.workspace.learn.likelihood import Likelihood
from preloader.workspace.learn.ranker import Ranker
from preloader.workspace.learn.turn import ACTIONS, WORD_BUCKETS

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
    actions: ActionModel
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
    """Write models to a file (``.npz``), in which no name or word of a session stands."""
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


def load_models(path: Path) -> Models:
    """Open what `save_models` wrote.

    Raises:
        BundleError: It cannot be read, is of another version, or is damaged.
    """
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
