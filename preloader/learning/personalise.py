"""Personalisation: fits an adapter to one user's sessions, and keeps it only if it helped on his latest ones.

What is fitted to little must be held back. Rank, rate, epochs and how much of the difference is kept are chosen on the
user's last sessions, and the base stays where no adapter beats it there by more than chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Annotated, cast

import msgspec
import numpy as np
import torch
from torch import Tensor

from preloader.errors import ConfigurationError, HistoryError
from preloader.evaluation.cases import items_of
from preloader.evaluation.metrics import LOSS_FLOOR
from preloader.history import Session
from preloader.learning.adapter import MAX_RANK, Adapter, AdapterInfo, extracted, injected, new_rows
from preloader.learning.base import Base
from preloader.learning.examples import NOTHING, Examples, examples
from preloader.learning.lookahead import say
from preloader.learning.network import SequenceNetwork
from preloader.learning.parallel import Backend
from preloader.learning.settings import Count, Rate, Seed, TrainingSettings
from preloader.learning.trainer import Fit, Learner
from preloader.ndarray import NDArray
from preloader.prediction.features import OUTSIDE
from preloader.prediction.manifest import session_hash
from preloader.prediction.sequence import MAX_VOCABULARY
from preloader.prediction.users import UserVectors

FloatArray = NDArray[np.float32]

_MOST_NEW_KEYS = 256
_STANDARD_ERRORS = 2.0  # by which an adapter must beat the base, so that it is not kept by chance
_LEAST_THAT_CHOOSE = 3
"""Sessions, where that is at most half of them: how sure a gain is, the items of one cannot tell by themselves."""


class PersonalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an adapter is fitted and chosen.

    Attributes:
        ranks: Of the low-rank updates; each is tried.
        rates: The largest learning rates; each is tried.
        shares: How much of the difference to the base is kept; each is tried.
        epochs: How often a user's sessions are seen at most.
        patience: After how many epochs without a gain the fitting ends.
        batch: How many examples at once.
        held_out: How much of the user's sessions, from their end, only chooses; three at least, of fewer than six two.
        min_sessions: Users with fewer are refused.
        min_uses: A key that the base has no number for gets one if the user used it so often.
        seed: Of everything random.
    """

    ranks: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=MAX_RANK)], ...], msgspec.Meta(min_length=1)] = (8,)
    rates: Annotated[tuple[Rate, ...], msgspec.Meta(min_length=1)] = (2e-3, 5e-3)
    shares: Annotated[tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...], msgspec.Meta(min_length=1)] = (0.5, 1.0)
    epochs: Count = 12
    patience: Count = 3
    batch: Count = 32
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.25
    min_sessions: Annotated[int, msgspec.Meta(ge=2)] = 3
    min_uses: Count = 2
    seed: Seed = 0


class Choice(msgspec.Struct, frozen=True):
    """What was chosen on a user's last sessions: rank, rate, epochs, and how much of the difference is kept."""

    rank: int
    rate: float
    epochs: int
    share: float


class Personalised(msgspec.Struct, frozen=True, eq=False):
    """What came of one user.

    Attributes:
        user: Who.
        sessions: How many sessions he has.
        adapter: His adapter; ``None`` where the base is as good.
        choice: The best that was tried.
        base_loss: The base's mean log loss of the next item on the sessions that chose.
        loss: The best adapter's.
        error: The standard error of the mean, over those sessions, of the difference within each.
    """

    user: str
    sessions: int
    adapter: Adapter | None
    choice: Choice
    base_loss: float
    loss: float
    error: float


def personalise(
    base: Base,
    sessions: Mapping[str, Sequence[Session]],
    settings: PersonalSettings | None = None,
    backend: Backend | None = None,
    on_user: Callable[[str], None] = lambda label: None,
) -> Iterator[Personalised]:
    """Fit an adapter for each user.

    Args:
        base: What they start from; it is not changed.
        sessions: Each user's, oldest first. None of a test: all of them choose or are learned. A mapping that reads
            them when asked is asked for one user after the other, only a little ahead of the work.
        settings: How.
        backend: Where the users are worked on; in this thread if not given.
        on_user: Called with a user's name once that user is done.

    Yields:
        What came of each user, in their order.

    Raises:
        HistoryError: A user has too few sessions with items of the base's kind.
        ConfigurationError: A session is filed under another user than its own.
    """
    settings = settings or PersonalSettings()
    checked = (_using(user, own, base.spec.kind, settings) for user, own in sessions.items())
    fit_one = partial(_personalise_one, base, settings)
    yield from (backend or Backend("serial")).stream(fit_one, checked, describe=_user_of, on_done=on_user)


def starting_vector(base: Base, sessions: Sequence[Session]) -> FloatArray:
    """Return the vector that the base's own users suggest for a user who acts as the sessions say."""
    users, features = UserVectors(base.users.names, base.users.vectors, base.users.profiles), base.features
    for session in sessions:
        for key in items_of(session, base.spec.kind):
            users.observe(session.user, features.number(key))
    return users.of(sessions[0].user)


def _user_of(sessions: Sequence[Session]) -> str:
    return f"user {sessions[0].user!r}"


def _using(user: str, own: Sequence[Session], kind: str, settings: PersonalSettings) -> list[Session]:
    """Return a user's sessions that use items of the kind, if they are enough, and that user's."""
    sessions = [one for one in own if items_of(one, kind)]
    if len(sessions) < settings.min_sessions:
        raise HistoryError(
            f"user {user!r} has {len(sessions)} sessions with items of the kind {kind!r} to learn from, and an adapter "
            f"needs at least {settings.min_sessions}: the base serves them until then"
        )
    other = next((one for one in sessions if one.user != user), None)
    if other is not None:
        raise ConfigurationError(f"session {other.session!r} is filed under {user!r}, and is of {other.user!r}")
    return sessions


def _personalise_one(base: Base, settings: PersonalSettings, sessions: Sequence[Session]) -> Personalised:
    held = _how_many_choose(len(sessions), settings)
    fit, chooses = sessions[:-held], sessions[-held:]
    trials = [_try(base, settings, fit, chooses, *way) for way in product(settings.ranks, settings.rates)]
    best = min(trials, key=lambda trial: float(trial.losses.mean()))
    base_losses = _base_losses(base, fit, chooses)
    gains = _by_session(base, chooses, base_losses - best.losses)
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else float("inf")
    helps = float(gains.mean()) > _STANDARD_ERRORS * error
    return Personalised(
        user=sessions[0].user,
        sessions=len(sessions),
        adapter=_fitted(base, settings, sessions, best.choice) if helps else None,
        choice=best.choice,
        base_loss=float(base_losses.mean()),
        loss=float(best.losses.mean()),
        error=error,
    )


def _how_many_choose(sessions: int, settings: PersonalSettings) -> int:
    least = _LEAST_THAT_CHOOSE if sessions >= 2 * _LEAST_THAT_CHOOSE else _LEAST_THAT_CHOOSE - 1
    return min(max(least, round(sessions * settings.held_out)), sessions - 1)


def _by_session(base: Base, chooses: Sequence[Session], gains: FloatArray) -> FloatArray:
    """Return each session's mean of what was gained on its items; items of one session are not independent."""
    ends = np.cumsum([len(_scored(_examples(base, [one]))) for one in chooses])
    return np.array([own.mean() for own in np.split(gains, ends[:-1]) if len(own)], np.float32)


class _Trial(msgspec.Struct, frozen=True, eq=False):
    """One way to fit, and the log loss of each item of the sessions that choose."""

    choice: Choice
    losses: FloatArray


def _try(
    base: Base, settings: PersonalSettings, fit: Sequence[Session], chooses: Sequence[Session], rank: int, rate: float
) -> _Trial:
    """Fit until it no longer helps, and then find how much of it is best kept."""
    run = _Run(base, settings, fit, rank, rate)
    asked = run.examples(chooses)
    best, adapter, epochs = float("inf"), run.adapter(), 0
    while run.fit.epoch < settings.epochs and run.fit.epoch - epochs < settings.patience:
        run.fit.run_epoch()
        with run.averaged():
            loss = float(_losses(run.fit.learner, asked).mean())
            if loss < best:
                best, adapter, epochs = loss, run.adapter(), run.fit.epoch
    kept = {
        share: _losses(_learner(adapter.shrunk(share, run.start).personal(base)), asked) for share in settings.shares
    }
    share = min(kept, key=lambda one: (float(kept[one].mean()), one))
    return _Trial(Choice(rank, rate, epochs, share), kept[share])


def _fitted(base: Base, settings: PersonalSettings, sessions: Sequence[Session], choice: Choice) -> Adapter:
    """Fit to all of a user's sessions in the way that was chosen."""
    run = _Run(base, settings, sessions, choice.rank, choice.rate)
    for _ in range(choice.epochs):
        run.fit.run_epoch()
    with run.averaged():
        return run.adapter().shrunk(choice.share, run.start)


class _Run:
    """One fitting of an adapter, epoch by epoch.

    Args:
        base: What it is the difference to.
        settings: How.
        sessions: What is learned from.
        rank: Of the low-rank updates.
        rate: The largest learning rate.
    """

    def __init__(
        self, base: Base, settings: PersonalSettings, sessions: Sequence[Session], rank: int, rate: float
    ) -> None:
        outside = _outside(base, sessions)
        keys = _new_keys(outside, settings, base)
        self.start = starting_vector(base, sessions)
        self.info = AdapterInfo(
            user=sessions[0].user,
            kind=base.spec.kind,
            base=base.digest,
            rank=rank,
            keys=keys,
            sessions=sorted(session_hash(one.user, one.session) for one in sessions),
        )
        self._wide = base.widened(keys)
        torch.manual_seed(settings.seed)
        self._model = injected(self._wide.network, rank)
        network = cast("SequenceNetwork", self._model.get_base_model())
        network.bias.requires_grad_(True)
        if keys:
            _share_out(network.bias, outside, keys, network.steps)
            _train_rows(network.keys.weight, new_rows(network, len(keys)))
        self.fit = Fit(
            _learner_of(network, self.start),
            self.examples(sessions),
            TrainingSettings(
                epochs=settings.epochs, batch=settings.batch, rate=rate, weight_decay=0.0, seed=settings.seed
            ),
        )

    def examples(self, sessions: Sequence[Session]) -> Examples:
        """Return what sessions teach, by the numbers of the wider vocabulary."""
        return _examples(self._wide, sessions)

    def adapter(self) -> Adapter:
        """Return the adapter as it is now."""
        return extracted(self._model, self._wide, self.fit.learner.users.weight[0], self.info)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the weights be their running means meanwhile."""
        learner = self.fit.learner
        raw = {name: value.clone() for name, value in learner.state_dict().items()}
        learner.load_state_dict(self.fit.means)
        try:
            yield
        finally:
            learner.load_state_dict(raw)


def _outside(base: Base, sessions: Sequence[Session]) -> Counter[str]:
    """Return how often a user used each key that the base has no number for."""
    known = set(base.spec.vocabulary)
    return Counter(key for one in sessions for key in items_of(one, base.spec.kind) if key not in known)


def _new_keys(outside: Counter[str], settings: PersonalSettings, base: Base) -> list[str]:
    """Return those of them that get a number, the most frequent first."""
    room = min(_MOST_NEW_KEYS, MAX_VOCABULARY - len(base.spec.vocabulary))
    often = [(key, count) for key, count in outside.items() if count >= settings.min_uses]
    return [key for key, _ in sorted(often, key=lambda entry: (-entry[1], entry[0]))[:room]]


def _share_out(bias: Tensor, outside: Counter[str], keys: Sequence[str], steps: int) -> None:
    """Share what the base gives to all keys outside its vocabulary out among the new ones, and those that still are."""
    total = sum(outside.values()) + 1
    shares = torch.tensor([outside[key] / total for key in keys])
    with torch.no_grad():
        bias[:steps, -len(keys) :] += shares.log()
        bias[:steps, OUTSIDE] += float(np.log(max(1.0 - float(shares.sum()), 1.0 / total)))


def _train_rows(weight: Tensor, rows: slice) -> None:
    """Have only some rows of a table be trained."""
    trained = torch.zeros(len(weight), 1)
    trained[rows] = 1.0
    weight.requires_grad_(True)
    weight.register_hook(lambda gradient: gradient * trained)  # type: ignore[no-untyped-call]


def _base_losses(base: Base, fit: Sequence[Session], chooses: Sequence[Session]) -> FloatArray:
    """Return the losses of the base as it would serve this user: as a stranger whom it has got to know."""
    return _losses(_learner_of(base.network, starting_vector(base, fit)), _examples(base, chooses))


def _examples(base: Base, sessions: Sequence[Session]) -> Examples:
    return examples(sessions, base.features, base.network.steps, {sessions[0].user: 0})


def _learner(base: Base) -> Learner:
    """Return a personal base's network with its only user's vector."""
    return _learner_of(base.network, base.users.vectors[0])


def _learner_of(network: SequenceNetwork, vector: FloatArray) -> Learner:
    learner = Learner(network, 1)
    with torch.no_grad():
        learner.users.weight[0] = torch.from_numpy(vector)
    return learner


def _losses(learner: Learner, asked: Examples) -> FloatArray:
    """Return the log loss of each next item; one that has no number was given nothing, whatever all such were given."""
    scored = _scored(asked)
    logs, _ = say(learner, asked, scored)  # (scored, steps, 1 + V)
    labels = asked.labels[scored, 0]
    told = logs[np.arange(len(scored)), 0, labels]
    floor = np.float32(np.log(LOSS_FLOOR))
    return np.asarray(-np.maximum(np.where(labels == OUTSIDE, floor, told), floor), np.float32)


def _scored(asked: Examples) -> NDArray[np.int64]:
    """Return which examples have a next item that counts."""
    return np.flatnonzero((asked.weights == 1.0) & (asked.labels[:, 0] != NOTHING))
