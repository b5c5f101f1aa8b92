"""From a bundle to personal ones: takes the networks out to build on, and puts a user's own in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import msgspec
import numpy as np
import torch

from preloader.errors import BundleError
from preloader.evaluation.cases import learnable
from preloader.history import Session
from preloader.learning.base import Base
from preloader.learning.base_weights import decode_network, encode_weights
from preloader.learning.catch_up import with_sessions
from preloader.learning.examples import examples
from preloader.learning.export import to_onnx
from preloader.learning.forms import in_words
from preloader.learning.network import OUTPUTS, SequenceNetwork
from preloader.learning.personal_card import PersonalFacts, personal_card, personal_facts
from preloader.learning.verify import MIN_ROWS, verify
from preloader.ports import Predictor, Snapshot
from preloader.prediction import Bundle, FittedOn, Manifest, OnlinePredictor, save_bundle
from preloader.prediction.experts import Expert, MixturePredictor
from preloader.prediction.features import Arrays
from preloader.prediction.manifest import session_hash
from preloader.prediction.mixture_state import under
from preloader.prediction.sequence import NAME as SEQUENCE
from preloader.prediction.sequence import OnnxPredictor, SequencePredictor, SequenceSpec, read_sequence


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
    path: Path,
    bundle: Bundle,
    personal: Mapping[str, Base],
    sessions: Sequence[Session],
    command: str,
    told: Mapping[str, PersonalFacts] | None = None,
) -> Manifest:
    """Write a user's own bundle: the base's mixture with personal networks, which has learned the user's sessions.

    Every network is exported to ONNX and compared with torch on the user's own inputs first. What the base has learned
    of the user already is not learned a second time.

    Args:
        path: The directory.
        bundle: The base.
        personal: The user's networks by kind; the base's stay for the other kinds.
        sessions: What the user's adapters learned.
        command: The command that made it.
        told: What is to be told of the adapters by kind, for card and manifest.

    Raises:
        ExportError: An exported network does not say what the trained one says.
        BundleError: It cannot be written.
    """
    mixture = bundle.predictor()
    if not isinstance(mixture, MixturePredictor):
        raise BundleError(f"{bundle.path} is no mixture that a network could be replaced in")
    told = told or {}
    exported = {kind: _exported(base, sessions) for kind, base in personal.items()}
    models = {kind: model for kind, (model, _) in exported.items()}
    verification = {kind: words for kind, (_, words) in exported.items()}
    experts = [_personal_expert(expert, personal, models) for expert in mixture.experts]
    own = MixturePredictor(experts, mixture.kinds, **msgspec.structs.asdict(mixture.settings))
    own.restore_weights(mixture.weights_snapshot())
    learn_once(own, sessions, learned_of(bundle))
    own.forget_sessions()
    files: dict[str, bytes | Path] = {name: data for name, data in bundle.files.items() if name.endswith(".onnx")}
    for kind, base in personal.items():
        files |= {f"{kind}.onnx": models[kind], f"{kind}.safetensors": encode_weights(base)}
    user = next(iter(personal.values())).spec.users[0]
    return save_bundle(
        path,
        own.snapshot(),
        fitted_on=_fitted_on(bundle, sessions),
        command=command,
        card=personal_card(bundle, user, personal, told, verification, command),
        files=files,
        facts=personal_facts(bundle, _vocabulary(own), personal, told, verification),
    )


def learned_of(bundle: Bundle) -> frozenset[str]:
    """Return the hashes of the sessions that a bundle learned; none where it does not say."""
    return frozenset(bundle.manifest.fitted_on.sessions if bundle.manifest.fitted_on else ())


def learn_once(predictor: Predictor, sessions: Sequence[Session], learned: Set[str]) -> None:
    """Show a predictor sessions, but of those that it has learned only who acts how: networks take note of that.

    Args:
        predictor: A mixture, or one expert of one.
        sessions: A user's.
        learned: The hashes of those that the bundle had learned that it is from.
    """
    experts = predictor.experts if isinstance(predictor, MixturePredictor) else (predictor,)
    networks = [one for one in experts if isinstance(one, SequencePredictor)]
    for session in sessions:
        known = session_hash(session.user, session.session) in learned
        for event in learnable(session):
            for one in networks if known else (predictor,):
                one.learn_one(event)


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
            f"{bundle.path} has no {name}, the weights of a single network, and a mean of several cannot be trained "
            "on: train a base with --set sequence.members=1 and --set sequence.adaptable=true"
        )
    try:
        return decode_network(bundle.files[name], spec)
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {name}: {error}") from error


def _personal_expert(expert: Expert, personal: Mapping[str, Base], models: Mapping[str, bytes]) -> Expert:
    if not isinstance(expert, SequencePredictor) or expert.spec.model != SEQUENCE or expert.spec.kind not in personal:
        return expert
    base = personal[expert.spec.kind]
    return OnnxPredictor(base.spec, base.users, models[expert.spec.kind])


def _vocabulary(mixture: MixturePredictor) -> int:
    networks = (one.spec for one in mixture.experts if isinstance(one, SequencePredictor))
    return sum(len(spec.vocabulary) for spec in networks if spec.model == SEQUENCE)


def _exported(base: Base, sessions: Sequence[Session]) -> tuple[bytes, list[str]]:
    """Return a network as an ONNX model, and in words how far that is from it."""
    made = examples(sessions, base.features, base.network.steps, {})
    inputs: Arrays = dict(made.arrays)
    inputs["user"] = np.repeat(base.users.vectors[:1], len(made), axis=0)
    enough = np.resize(np.arange(len(made)), max(len(made), MIN_ROWS))  # all: of those that are the same one counts
    rows = {name: array[enough] for name, array in inputs.items()}
    model = to_onnx(base.network, {name: torch.from_numpy(array[:2]) for name, array in rows.items()}, OUTPUTS)
    return model, in_words(verify(base.network, rows, model, {}, OUTPUTS))


def _fitted_on(bundle: Bundle, sessions: Sequence[Session]) -> FittedOn | None:
    """Return what base and adapters learned together; nothing where the base does not say."""
    before = bundle.manifest.fitted_on
    return None if before is None else with_sessions(before, sessions)
