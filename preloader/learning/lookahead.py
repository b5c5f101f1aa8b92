"""Fits a sequence model for one kind: vocabulary, examples, network, users, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from preloader.history import Session
from preloader.learning.calibrate import calibrate
from preloader.learning.checkpoint import Checkpoint, fingerprint
from preloader.learning.examples import NOTHING, Examples, Outcomes, examples, profiles, users_of, vocabulary_of
from preloader.learning.network import INPUTS, AnyNetwork, SequenceNetwork
from preloader.learning.recipe import Recipe
from preloader.learning.trainer import Fit, Learner, averaged, batch_of
from preloader.ndarray import NDArray
from preloader.prediction.features import Features
from preloader.prediction.manifest import session_hash
from preloader.prediction.sequence import Calibration, SequenceSpec
from preloader.prediction.users import UserVectors

FloatArray = NDArray[np.float32]
MakeOutcomes = Callable[[Sequence[Session], Sequence[str]], Outcomes]
OnEpoch = Callable[[str], None]

_CHUNK = 512


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
    examples: Examples
    losses: list[float]
    held_out: list[float]

    @property
    def network(self) -> AnyNetwork:
        """The network alone: what is exported."""
        return self.learner.network

    def spec(self, calibration: Calibration) -> SequenceSpec:
        """Return what a predictor must know beside the network."""
        return SequenceSpec(
            kind=self.features.kind,
            vocabulary=list(self.features.vocabulary),
            horizon=self.network.steps,
            features=self.features.settings,
            calibration=calibration,
            users=list(self.users.names),
        )


def fit_network(
    sessions: Sequence[Session],
    kind: str,
    recipe: Recipe,
    *,
    held_out: Sequence[Session] = (),
    outcomes: MakeOutcomes | None = None,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch = lambda label: None,
) -> Trained:
    """Fit a network to sessions.

    Args:
        sessions: What is learned from.
        kind: The kind of the items.
        recipe: How.
        held_out: Sessions whose log loss is taken after each epoch, for the curve; nothing is learned from them.
        outcomes: Returns the counterfactual outcomes of a vocabulary, where they are to be learned.
        checkpoint: Where files are written after each epoch, and gone on from where they are there.
        on_epoch: Called with a label after each epoch.

    Raises:
        ConfigurationError: The checkpoint is damaged, or of another run.
    """
    vocabulary = vocabulary_of(sessions, kind, recipe.sequence.min_uses, recipe.sequence.max_vocabulary)
    features = Features(kind, vocabulary, recipe.features)
    names = users_of(sessions, recipe.sequence.min_user_sessions) if recipe.features.use_users else []
    numbers = {name: number for number, name in enumerate(names)}
    steps = recipe.sequence.horizon
    paying = None if outcomes is None else outcomes(sessions, vocabulary)
    learned = examples(sessions, features, steps, numbers, paying, waits=recipe.training.waits)
    asked = examples(held_out, features, steps, numbers, waits=False) if held_out else None
    members, curves = [], []
    for member in range(recipe.sequence.members):
        training = msgspec.structs.replace(recipe.training, seed=recipe.training.seed + member)
        torch.manual_seed(training.seed)
        network = SequenceNetwork(len(vocabulary), steps, recipe.features, recipe.network)
        fit = Fit(Learner(network, len(names)), learned, training)
        place = checkpoint and checkpoint.with_name(f"{checkpoint.name}-{member}.safetensors")
        kept = Checkpoint(place, _run(sessions, kind, recipe)) if place else None
        curves.append(_epochs(fit, kept, asked, on_epoch))
        members.append(fit.finish())
    learner = averaged(members)
    with torch.no_grad():
        vectors = learner.users.weight[: len(names)].numpy().copy()
    users = UserVectors(names, vectors, profiles(sessions, features, names))
    return Trained(features, learner, users, learned, *curves[0])


def _epochs(
    fit: Fit, checkpoint: Checkpoint | None, asked: Examples | None, on_epoch: OnEpoch
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


def _held_loss(fit: Fit, asked: Examples) -> float:
    """Return the log loss of the first step with the running means of the weights."""
    raw = {name: value.clone() for name, value in fit.learner.state_dict().items()}
    fit.learner.load_state_dict(fit.means)
    scored = np.flatnonzero((asked.weights == 1.0) & (asked.labels[:, 0] != NOTHING))
    logs, _ = say(fit.learner, asked, scored)
    fit.learner.load_state_dict(raw)
    return float(-np.mean(logs[np.arange(len(scored)), 0, asked.labels[scored, 0]]))


def say(learner: Learner, asked: Examples, chosen: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return the log-probabilities and the log-odds of use of some examples."""
    learner.eval()
    logs, odds = [], []
    with torch.no_grad():
        for start in range(0, len(chosen), _CHUNK):
            told, uses = learner(batch_of(asked, chosen[start : start + _CHUNK]))
            logs.append(told.numpy())
            odds.append(uses.numpy())
    return np.concatenate(logs), np.concatenate(odds)


def calibration_of(
    trained: Trained, sessions: Sequence[Session], outcomes: MakeOutcomes | None = None, waits: bool = True
) -> Calibration:
    """Return the calibration of a network on sessions that it was not fitted to.

    Args:
        trained: The network.
        sessions: What was held out.
        outcomes: Returns the counterfactual outcomes of a vocabulary, where the heads of use are to be calibrated.
        waits: Whether those heads are calibrated on contexts, too, that nothing comes next in.
    """
    numbers = {name: number for number, name in enumerate(trained.users.names)}
    paying = None if outcomes is None else outcomes(sessions, trained.features.vocabulary)
    asked = examples(sessions, trained.features, trained.network.steps, numbers, paying, waits=waits)
    logs, odds = say(trained.learner, asked, np.arange(len(asked)))
    return calibrate(logs, odds, asked)


def inputs_of(trained: Trained, count: int) -> dict[str, Tensor]:
    """Return the network's inputs on evenly spaced examples that it was fitted to: what an export is verified on.

    A history with fewer examples is gone through more than once.
    """
    chosen = np.linspace(0, len(trained.examples) - 1, count).astype(np.int64)
    batch = batch_of(trained.examples, chosen)
    with torch.no_grad():
        batch["user"] = trained.learner.users(batch.pop("users"))
    return {name: batch[name] for name in INPUTS}


def _run(sessions: Sequence[Session], kind: str, recipe: Recipe) -> str:
    """Return what stands for everything that the weights depend on."""
    names = [f"{session_hash(one.user, one.session)} {len(one.events)}" for one in sessions]
    return fingerprint(names, kind, recipe)
