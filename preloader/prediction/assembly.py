"""Puts predictors together from what a bundle holds: a state, and the networks that it names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from preloader.checks import shown
from preloader.errors import BundleError, ConfigurationError
from preloader.ports import Predictor, Snapshot
from preloader.prediction.anonymous import NAME as ANONYMOUS
from preloader.prediction.anonymous import AnonymousPredictor, read_settings
from preloader.prediction.coreml import CoreMLRuntime
from preloader.prediction.encoder import VARIABLE, EncoderSpec, TextEncoder, check_encoder, open_encoder
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.mixture_state import under
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.onnx import OnnxRuntime
from preloader.prediction.runtime import Runtime
from preloader.prediction.sequence import NAME as SEQUENCE
from preloader.prediction.sequence import CoreMLPredictor, OnnxPredictor, SequencePredictor, read_sequence

RuntimeChoice = Literal["auto", "onnx", "coreml"]


class Parts(msgspec.Struct, frozen=True):
    """What predictors are put together from.

    Attributes:
        files: The networks, by their names in the bundle.
        runtime: What runs them; ``auto`` takes CoreML on macOS where the bundle has a program for it.
        encoder: The folder of the sentence encoder that networks may need; the environment's, if not given.
    """

    files: Mapping[str, bytes]
    runtime: RuntimeChoice = "auto"
    encoder: Path | str | None = None


def assemble(snapshot: Snapshot, parts: Parts) -> Predictor:
    """Return a new predictor in the state of a snapshot.

    Raises:
        BundleError: No predictor of this program has such a state, it is damaged, or a network is missing.
        MissingExtraError: What runs the networks is not installed.
    """
    name = snapshot.meta.get("predictor")
    make = _MAKERS.get(name) if isinstance(name, str) else None
    if make is None:
        raise BundleError(f"it is of the predictor {name!r}; known are {', '.join(_MAKERS)}")
    return make(snapshot, parts)


def narrowed(snapshot: Snapshot, kinds: Sequence[str]) -> Snapshot:
    """Return a state that learns no further kinds but these, where it would learn every kind that it meets."""
    meta = dict(snapshot.meta)
    if meta.get("kinds", kinds) is None:
        meta["kinds"] = list(kinds)
    experts = meta.get("experts")
    if isinstance(experts, list):
        meta["experts"] = [narrowed(Snapshot(one, {}), kinds).meta if isinstance(one, dict) else one for one in experts]
    return Snapshot(meta, snapshot.arrays)


def _online(snapshot: Snapshot, parts: Parts) -> Predictor:
    return OnlinePredictor.from_snapshot(snapshot)


def _sequence(snapshot: Snapshot, parts: Parts) -> SequencePredictor:
    spec, users = read_sequence(snapshot)
    encoder = None if spec.encoder is None else _encoder(spec.encoder, parts)
    predictor: SequencePredictor
    if package := _package(spec.stem, parts):
        digest = str(snapshot.meta.get("network"))
        predictor = CoreMLPredictor(spec, users, CoreMLRuntime.of_files(parts.files, package), digest, encoder)
    else:
        predictor = OnnxPredictor(spec, users, _onnx(spec.stem, parts), encoder)
    predictor.restore(snapshot)
    return predictor


def _anonymous(snapshot: Snapshot, parts: Parts, online: OnlinePredictor | None = None) -> AnonymousPredictor:
    settings = read_settings(snapshot)
    runtime: Runtime
    if package := _package(ANONYMOUS, parts):
        runtime, digest = CoreMLRuntime.of_files(parts.files, package), str(snapshot.meta.get("network"))
    else:
        model = _onnx(ANONYMOUS, parts)
        runtime, digest = OnnxRuntime(model), sha256(model).hexdigest()
    predictor = AnonymousPredictor(runtime, settings, online=online, digest=digest)
    predictor.restore(snapshot)
    return predictor


def _encoder(spec: EncoderSpec, parts: Parts) -> TextEncoder | None:
    """Return the sentence encoder, where its folder is known."""
    folder = parts.encoder or os.environ.get(VARIABLE)
    try:
        encoder = open_encoder(folder) if folder else None
    except ConfigurationError as error:
        raise BundleError(f"the sentence encoder {shown(spec.name)} cannot be opened: {error}") from error
    check_encoder(spec, encoder)
    return encoder


def _package(name: str, parts: Parts) -> str | None:
    """Return the CoreML program that a network is to run as, if it is to."""
    package = f"{name}-fp16.mlpackage"
    has_package = any(file.startswith(f"{package}/") for file in parts.files)
    can_run = sys.platform == "darwin" and find_spec("coremltools") is not None
    wanted = parts.runtime == "coreml" or (parts.runtime == "auto" and can_run and has_package)
    return package if wanted else None


def _onnx(name: str, parts: Parts) -> bytes:
    model = parts.files.get(f"{name}.onnx")
    if model is None:
        raise BundleError(f"it has no {name}.onnx, which its state names")
    return model


def _mixture(snapshot: Snapshot, parts: Parts) -> Predictor:
    held = snapshot.meta.get("experts")
    if not isinstance(held, list) or not all(isinstance(one, dict) for one in held):
        raise BundleError("the state of the mixture names no experts")
    experts: list[Any] = []
    for number, meta in enumerate(held):
        part = Snapshot(meta, under(snapshot.arrays, f"experts.{number}"))
        shared = next((one for one in experts if isinstance(one, OnlinePredictor)), None)
        if meta.get("predictor") == ANONYMOUS and meta.get("online") is None:  # it hears the mixture's own
            experts.append(_anonymous(part, parts, shared))
        else:
            experts.append(assemble(part, parts))
    mixture = MixturePredictor(experts)
    mixture.restore(snapshot)
    return mixture


_MAKERS: dict[str, Callable[[Snapshot, Parts], Predictor]] = {
    OnlinePredictor.name: _online,
    SEQUENCE: _sequence,
    ANONYMOUS: _anonymous,
    MixturePredictor.name: _mixture,
}
