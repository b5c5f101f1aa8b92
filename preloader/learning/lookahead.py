"""Fits a sequence model for one kind: vocabulary, examples, network, users, calibration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from preloader.history import Session
from preloader.learning.calibrate import calibrate
from preloader.learning.checkpoint import Checkpoint, fingerprint
from preloader.learning.distinct import choose_distinct
from preloader.learning.example_shards import Place, place_of, prepare
from preloader.learning.examples import (
    NOTHING,
    Examples,
    ExampleSet,
    MakeOutcomes,
    profiles,
    users_of,
    vocabulary_of,
)
from preloader.learning.network import AnyNetwork, SequenceNetwork
from preloader.learning.parallel import Backend
from preloader.learning.recipe import Recipe
from preloader.learning.shards import file_digest
from preloader.learning.trainer import Fit, Learner, averaged, batch_of
from preloader.ndarray import NDArray
from preloader.prediction.encoder import EncoderSpec, open_encoder, spec_of
from preloader.prediction.features import Features
from preloader.prediction.sequence import Calibration, SequenceSpec
from preloader.prediction.users import UserVectors

FloatArray = NDArray[np.float32]
OnEpoch = Callable[[str], None]

_CHUNK = 512
_CALIBRATED = 1 << 24  # figures a step that are calibrated on, at most: more than two numbers need


class Trained(msgspec.Struct, frozen=True, eq=False):
    """A network that was fitted, and what it was fitted for.

    Attributes:
        features: What it sees.
        learner: It, and the users' vectors.
        users: The users who are told apart, with their vectors.
        examples: What it was fitted to.
        losses: The mean training loss of each epoch, of the first member.
        held_out: Its log loss of the first step on what was held out, after each epoch; empty without such.
    """

    features: Features
    learner: Learner
    users: UserVectors
    examples: ExampleSet
    losses: list[float]
    held_out: list[float]

    @property
    def network(self) -> AnyNetwork:
        """The network alone: what is exported."""
        return self.learner.network

    @property
    def encoder(self) -> EncoderSpec | None:
        """The sentence encoder that it hears."""
        return None if self.features.encoder is None else spec_of(self.features.encoder)

    def spec(self, calibration: Calibration) -> SequenceSpec:
        """Return what a predictor must know beside the network."""
        return SequenceSpec(
            kind=self.features.kind,
            vocabulary=list(self.features.vocabulary),
            horizon=self.network.steps,
            features=msgspec.structs.replace(self.features.settings, encoder=""),
            calibration=calibration,
            users=list(self.users.names),
            encoder=self.encoder,
        )


def fit_network(
    sessions: Sequence[Session],
    kind: str,
    recipe: Recipe,
    *,
    held_out: Sequence[Session] = (),
    outcomes: MakeOutcomes | None = None,
    checkpoint: Path | None = None,
    backend: Backend | None = None,
    on_epoch: OnEpoch = lambda label: None,
) -> Trained:
    """Fit a network to sessions.

    Args:
        sessions: What is learned from.
        kind: The kind of the items.
        recipe: How.
        held_out: Sessions whose log loss is taken after each epoch, for the curve; nothing is learned from them.
        outcomes: Returns the counterfactual outcomes of a vocabulary, where they are to be learned.
        checkpoint: Where files are written after each epoch, and gone on from where they are there; examples are kept
            beside it, and otherwise in memory.
        backend: Where those that are kept are made; this process by default.
        on_epoch: Called with a label after each epoch, and while examples are made.

    Raises:
        ConfigurationError: The checkpoint is damaged, or of another run.
        WorkError: A worker died.
    """
    vocabulary = vocabulary_of(sessions, kind, recipe.sequence.min_uses, recipe.sequence.max_vocabulary)
    encoder = open_encoder(recipe.features.encoder) if recipe.features.encoder else None
    features = Features(kind, vocabulary, recipe.features, encoder)
    names = users_of(sessions, recipe.sequence.min_user_sessions) if recipe.features.use_users else []
    numbers = {name: number for number, name in enumerate(names)}
    steps = recipe.sequence.horizon
    paying = None if outcomes is None else outcomes(sessions, vocabulary)
    parent, part = (checkpoint.parent, checkpoint.name) if checkpoint else (None, "")
    kept_in = [place_of(parent, name, recipe, backend) for name in (part, f"{part}-asked")]
    taught = partial(prepare, features=features, steps=steps, users=numbers, on_done=on_epoch)
    learned = taught(sessions, outcomes=paying, waits=recipe.training.waits, place=kept_in[0])
    asked = taught(held_out, waits=False, place=kept_in[1]) if held_out else None
    members, curves = [], []
    run = _run(sessions, features, recipe) if checkpoint else ""
    for member in range(recipe.sequence.members):
        training = msgspec.structs.replace(recipe.training, seed=recipe.training.seed + member)
        torch.manual_seed(training.seed)
        width = 0 if encoder is None else encoder.width
        network = SequenceNetwork(len(vocabulary), steps, recipe.features, recipe.network, width)
        fit = Fit(Learner(network, len(names)), learned, training)
        place = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{member}.safetensors")
        kept = Checkpoint(place, run) if place else None
        curves.append(_epochs(fit, kept, asked, on_epoch))
        members.append(fit.finish())
    learner = averaged(members)
    with torch.no_grad():
        vectors = learner.users.weight[: len(names)].numpy().copy()
    users = UserVectors(names, vectors, profiles(sessions, features, names))
    return Trained(features, learner, users, learned, *curves[0])


def _epochs(
    fit: Fit, checkpoint: Checkpoint | None, asked: ExampleSet | None, on_epoch: OnEpoch
) -> tuple[list[float], list[float]]:
    curve = checkpoint.load(fit) if checkpoint else []
    while fit.epoch < fit.settings.epochs:
        loss = fit.run_epoch()
        held = _held_loss(fit, asked) if asked is not None else 0.0
        curve = [*curve, loss, held]
        if checkpoint:
            checkpoint.save(fit, curve)
        on_epoch(f"epoch {fit.epoch} of {fit.settings.epochs}, loss {loss:.3f}")
    return curve[::2], curve[1::2] if asked is not None else []


def _held_loss(fit: Fit, asked: ExampleSet) -> float:
    """Return the log loss of the first step with the running means of the weights."""
    raw = {name: value.clone() for name, value in fit.learner.state_dict().items()}
    fit.learner.load_state_dict(fit.means)
    scored = np.flatnonzero((asked.weights == 1.0) & (asked.labels[:, 0] != NOTHING))
    told = [logs[np.arange(len(part)), 0, asked.labels[part, 0]] for part, logs, _ in _said(fit.learner, asked, scored)]
    fit.learner.load_state_dict(raw)
    return float(-np.mean(np.concatenate(told)))


def say(learner: Learner, asked: ExampleSet, chosen: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return the log-probabilities and the log-odds of use of some examples."""
    _, logs, odds = zip(*_said(learner, asked, chosen), strict=True)
    return np.concatenate(logs), np.concatenate(odds)


def _said(
    learner: Learner, asked: ExampleSet, chosen: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], FloatArray, FloatArray]]:
    """Yield some of the examples, with what is said of them, until all were there."""
    learner.eval()
    for part in chunks(chosen):
        with torch.no_grad():
            told, uses = learner(batch_of(asked, part))
        yield part, told.numpy(), uses.numpy()


def chunks(chosen: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield numbers of examples, as many at a time as are held in memory at once."""
    for start in range(0, len(chosen), _CHUNK):
        yield chosen[start : start + _CHUNK]


def calibration_of(
    trained: Trained,
    sessions: Sequence[Session],
    outcomes: MakeOutcomes | None = None,
    waits: bool = True,
    place: Place | None = None,
) -> Calibration:
    """Return the calibration of a network on sessions that it was not fitted to.

    Args:
        trained: The network.
        sessions: What was held out.
        outcomes: Returns the counterfactual outcomes of a vocabulary, where the heads of use are to be calibrated.
        waits: Whether those heads are calibrated on contexts, too, that nothing comes next in.
        place: Where examples are kept; in memory if not given.
    """
    numbers = {name: number for number, name in enumerate(trained.users.names)}
    paying = None if outcomes is None else outcomes(sessions, trained.features.vocabulary)
    asked = prepare(sessions, trained.features, trained.network.steps, numbers, paying, waits=waits, place=place)
    most = _CALIBRATED // (len(trained.features.vocabulary) + 1)
    chosen = np.linspace(0, len(asked) - 1, min(len(asked), most)).astype(np.int64)  # all, where they are few enough
    logs, odds = say(trained.learner, asked, chosen)
    uses = np.concatenate([asked.take(part).uses for part in chunks(chosen)])
    return calibrate(logs, odds, Examples({}, asked.labels[chosen], asked.weights[chosen], asked.users[chosen], uses))


def held_out(trained: Trained, sessions: Sequence[Session], place: Place | None = None) -> ExampleSet:
    """Return what a network predicts of sessions that it was not fitted to.

    Args:
        trained: The network.
        sessions: What was held out.
        place: Where examples are kept; in memory if not given.
    """
    numbers = {name: number for number, name in enumerate(trained.users.names)}
    return prepare(sessions, trained.features, trained.network.steps, numbers, waits=False, place=place)


def inputs_of(trained: Trained, count: int, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Return the network's inputs on evenly spaced examples that it was fitted to: what an export is verified on.

    All differ, as far as the history has as many that do; see `choose_distinct`.

    Args:
        trained: The network.
        count: How many.
        names: Which inputs; all if not given.
    """

    def at(chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        inputs = inputs_at(trained, trained.examples, chosen)
        return {name: inputs[name] for name in names or inputs}

    def arrays(chosen: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        return {name: value.numpy() for name, value in at(chosen).items()}

    return at(choose_distinct(len(trained.examples), count, arrays))


def inputs_at(trained: Trained, examples: ExampleSet, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
    """Return the network's inputs on some of a set of examples."""
    batch = batch_of(examples, chosen)
    with torch.no_grad():
        batch["user"] = trained.learner.users(batch.pop("users"))
    return {name: batch[name] for name in trained.network.inputs}


def _run(sessions: Sequence[Session], features: Features, recipe: Recipe) -> str:
    """Return what stands for everything that the weights depend on: the recipe with its seed, and every event."""
    rows = recipe.outcomes.rows
    encoder = features.encoder and features.encoder.sha256
    return fingerprint(features.kind, recipe, file_digest(Path(rows)) if rows else None, encoder, *sessions)
