"""From a bundle to personal ones: takes the networks out to build on, and puts a user's own in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from preloader.errors import BundleError
from preloader.history import Session
from preloader.learning.base import Base
from preloader.learning.examples import examples
from preloader.learning.export import to_onnx
from preloader.learning.fit import learn
from preloader.learning.network import OUTPUTS, SequenceNetwork
from preloader.learning.settings import NetworkSettings
from preloader.learning.verify import MIN_ROWS, verify
from preloader.ports import Snapshot
from preloader.prediction import Bundle, FittedOn, Manifest, OnlinePredictor, save_bundle
from preloader.prediction.experts import Expert, MixturePredictor
from preloader.prediction.features import Arrays
from preloader.prediction.manifest import session_hash
from preloader.prediction.mixture_state import under
from preloader.prediction.sequence import NAME as SEQUENCE
from preloader.prediction.sequence import OnnxPredictor, SequencePredictor, SequenceSpec, read_sequence

_WEIGHTS = "network."


def bases_of(bundle: Bundle) -> dict[str, Base]:
    """Return the networks of a bundle, by kind, as they go on being trained.

    Raises:
        BundleError: It holds none, their weights are not there or do not fit, or they hear a sentence encoder.
    """
    experts = bundle.snapshot.meta.get("experts")
    if not isinstance(experts, list) or not all(isinstance(one, dict) for one in experts):
        raise BundleError(f"{bundle.path} holds no network to build on: train one with a recipe of model 'sequence'")
    bases: dict[str, Base] = {}
    for number, meta in enumerate(experts):
        if "spec" in meta:
            spec, users = read_sequence(Snapshot(meta, under(bundle.snapshot.arrays, f"experts.{number}")))
            if spec.encoder is not None:
                raise BundleError(
                    f"{bundle.path} was trained with a sentence encoder, with which no personal networks are trained: "
                    "train it without features.encoder to build on it"
                )
            if spec.model == SEQUENCE:  # a linear model beside it stays as it is
                bases[spec.kind] = Base(_network(bundle, spec), spec, users)
    if not bases:
        raise BundleError(f"{bundle.path} holds no network to build on: train one with a recipe of model 'sequence'")
    return bases


def save_personal(
    path: Path, bundle: Bundle, personal: Mapping[str, Base], sessions: Sequence[Session], command: str
) -> Manifest:
    """Write a user's own bundle: the base's mixture with personal networks, which has learned the user's sessions.

    Every network is exported to ONNX and compared with torch on the user's own inputs first.

    Args:
        path: The directory.
        bundle: The base.
        personal: The user's networks by kind; the base's stay for the other kinds.
        sessions: What the user's adapters learned.
        command: The command that made it.

    Raises:
        ExportError: An exported network does not say what the trained one says.
        BundleError: It cannot be written.
    """
    mixture = bundle.predictor()
    if not isinstance(mixture, MixturePredictor):
        raise BundleError(f"{bundle.path} is no mixture that a network could be replaced in")
    models = {kind: _exported(base, sessions) for kind, base in personal.items()}
    experts = [_personal_expert(expert, personal, models) for expert in mixture.experts]
    own = MixturePredictor(experts, mixture.kinds, **msgspec.structs.asdict(mixture.settings))
    own.restore_weights(mixture.weights_snapshot())
    learn(own, sessions)
    own.forget_sessions()
    files: dict[str, bytes | Path] = {name: data for name, data in bundle.files.items() if name.endswith(".onnx")}
    for kind, base in personal.items():
        files[f"{kind}.onnx"] = models[kind]
        weights = {_WEIGHTS + name: value for name, value in base.network.state_dict().items()}
        files[f"{kind}.safetensors"] = save({**weights, "users.weight": _table(base)})
    return save_bundle(path, own.snapshot(), fitted_on=_fitted_on(bundle, sessions), command=command, files=files)


def online_of(bundle: Bundle) -> OnlinePredictor:
    """Return a new copy of a bundle's online predictor.

    Raises:
        BundleError: It holds none.
    """
    mixture = bundle.predictor()
    found = next((one for one in getattr(mixture, "experts", ()) if isinstance(one, OnlinePredictor)), None)
    if found is None:
        raise BundleError(f"{bundle.path} holds no online predictor")
    return found


def _network(bundle: Bundle, spec: SequenceSpec) -> SequenceNetwork:
    name = f"{spec.kind}.safetensors"
    if name not in bundle.files:
        raise BundleError(
            f"{bundle.path} has no {name}: without the weights of a single network (sequence.members = 1) none can be "
            "trained on"
        )
    try:
        held = load(bundle.files[name])
        weights = {key.removeprefix(_WEIGHTS): held[key] for key in held if key.startswith(_WEIGHTS)}
        settings = NetworkSettings(
            width=weights["keys.weight"].shape[1],
            hidden=weights["recurrent.weight_hh_l0"].shape[1],
            word_width=weights["words.weight"].shape[1],
            user_width=held["users.weight"].shape[1],
            direct="direct.weight" in weights,
        )
        network = SequenceNetwork(len(spec.vocabulary), spec.horizon, spec.features, settings)
        network.load_state_dict(weights)
    except (SafetensorError, KeyError, IndexError, RuntimeError, ValueError) as error:
        raise BundleError(f"{bundle.path}: {name} does not fit the bundle's state") from error
    return network.eval()


def _table(base: Base) -> Tensor:
    """Return the users' vectors, and the stranger's, as training keeps them."""
    return torch.from_numpy(np.pad(base.users.vectors, ((0, 1), (0, 0))))


def _personal_expert(expert: Expert, personal: Mapping[str, Base], models: Mapping[str, bytes]) -> Expert:
    if not isinstance(expert, SequencePredictor) or expert.spec.model != SEQUENCE or expert.spec.kind not in personal:
        return expert
    base = personal[expert.spec.kind]
    return OnnxPredictor(base.spec, base.users, models[expert.spec.kind])


def _exported(base: Base, sessions: Sequence[Session]) -> bytes:
    made = examples(sessions, base.features, base.network.steps, {})
    inputs: Arrays = dict(made.arrays)
    inputs["user"] = np.repeat(base.users.vectors[:1], len(made), axis=0)
    enough = np.arange(max(len(made), MIN_ROWS)) % len(made)  # few inputs are compared in more batches
    rows = {name: array[enough] for name, array in inputs.items()}
    model = to_onnx(base.network, {name: torch.from_numpy(array[:2]) for name, array in rows.items()}, OUTPUTS)
    verify(base.network, rows, model, {}, OUTPUTS)
    return model


def _fitted_on(bundle: Bundle, sessions: Sequence[Session]) -> FittedOn | None:
    """Return what base and adapters learned together; nothing where the base does not say."""
    before = bundle.manifest.fitted_on
    if before is None:
        return None
    own = {session_hash(one.user, one.session) for one in sessions}
    latest = [event.time_s for one in sessions for event in one.events]
    return msgspec.structs.replace(
        before,
        sessions=sorted({*before.sessions, *own}),
        events=before.events + len(latest),
        last_s=max(latest if before.last_s is None else [before.last_s, *latest]),
    )
