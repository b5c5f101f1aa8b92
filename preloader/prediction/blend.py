"""The mixture of one kind's experts: their pool joins them, weights follow who does well, the result is calibrated."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.calibration import Calibration
from preloader.prediction.mixture_settings import MixtureSettings
from preloader.prediction.panel import Panel
from preloader.prediction.pool import LogPool
from preloader.prediction.state import fitting, within
from preloader.prediction.weights import even, shares

_LEAST = 1e-300

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Own:
    """What belongs to one user: weights of the experts and of the pool, and how many items were learned.

    Attributes:
        log_weights: Shape (horizon, experts + 1).
        pool: See `LogPool.new_user`.
        seen: How many items of theirs were learned.
    """

    __slots__ = ("log_weights", "pool", "seen")

    def __init__(self, log_weights: FloatArray, pool: FloatArray, seen: int = 0) -> None:
        self.log_weights = log_weights
        self.pool = pool
        self.seen = seen


class _Said(msgspec.Struct, frozen=True, eq=False):
    """What was made of a panel: everything has a row a step.

    Attributes:
        mixed: The mixture before calibration, shape (steps, keys + 1).
        pool: What the pool said, of the same shape.
        taken: Which weights that took.
    """

    mixed: FloatArray
    pool: FloatArray
    taken: IntArray


class Blend:
    """Mixes what the experts say of one kind, and learns how.

    Users have weights of their own, which begin at the population's; past ``max_users`` the one unheard of for longest
    is forgotten.

    Args:
        experts: How many.
        settings: Bounds, and which parts are on.
    """

    def __init__(self, experts: int, settings: MixtureSettings) -> None:
        horizon = settings.horizon
        self._settings = settings
        self._pool = LogPool(experts, horizon)
        self._calibration = Calibration(horizon)
        self._population = even(horizon, experts + 1)
        self._losses = np.zeros((2, horizon, experts + 1))  # the sum of log losses, and of how many items
        self._users: OrderedDict[str, Own] = OrderedDict()
        self._stranger = Own(self._population, self._pool.new_user())

    @property
    def losses(self) -> FloatArray:
        """The mean log loss of each expert, and of their pool, at each step: (horizon, experts + 1); 0 if unheard."""
        losses: FloatArray = self._losses[0] / np.maximum(self._losses[1], 1.0)
        return losses

    def weights(self, user: str) -> FloatArray:
        """Return the weights that a user's experts, and their pool, have by now: (horizon, experts + 1)."""
        return shares(self._own(user).log_weights)

    def say(self, panel: Panel, user: str) -> FloatArray:
        """Return the calibrated probabilities of all keys at all steps of a panel, shape (steps, keys)."""
        steps = np.arange(panel.logs.shape[1])
        mixed = self._say(panel, steps, self._own(user)).mixed
        if self._settings.calibrate:
            mixed = self._calibration.apply(mixed, steps)
            if panel.awake is not None:
                mixed[~panel.awake.any(axis=-1)] = 0.0
        return mixed[:, :-1]

    def learn(self, panel: Panel, steps: IntArray, columns: IntArray, user: str) -> None:
        """Learn from what came.

        Args:
            panel: What had been said of some steps, in double precision.
            steps: Which steps these are, from 0, each at most once.
            columns: The columns of what came, one a step.
            user: Whose item it was.
        """
        if panel.awake is not None:
            heard: BoolArray = np.logical_or.reduce(panel.awake, axis=-1)
            panel, steps, columns = panel.of(heard), steps[heard], columns[heard]
        if not len(steps):
            return
        own = self._make_own(user)
        said = self._say(panel, steps, own)
        self._weigh(panel, steps, columns, own, said)
        if self._settings.pool:
            self._pool.learn(panel, steps, columns, own.pool, said.pool, said.taken)
        if self._settings.calibrate:
            self._calibration.learn(said.mixed, steps, columns)

    def count(self, user: str) -> None:
        """Count an item of a user."""
        self._make_own(user).seen += 1

    def dump(self) -> tuple[list[str], dict[str, NDArray[np.generic]]]:
        """Return the state: the users, the one unheard of for longest first, and copies of all arrays."""
        arrays: dict[str, NDArray[np.generic]] = {name: array.copy() for name, array in self._fixed()}
        users = list(self._users.values())
        horizon, voices = self._population.shape
        arrays["users.weights"] = np.array([own.log_weights for own in users]).reshape(-1, horizon, voices)
        arrays["users.pool"] = np.array([own.pool for own in users]).reshape(-1, 2, horizon, voices - 1)
        arrays["users.seen"] = np.array([own.seen for own in users], np.int64)
        return list(self._users), arrays

    def load(self, users: Any, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill a new blend with what `dump` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        names = msgspec.convert(users, list[str])
        if len(set(names)) != len(names) or len(names) > self._settings.max_users:
            raise ValueError("users have weights twice, or are too many")
        known = {name for name, _ in self._fixed()} | {"users.weights", "users.pool", "users.seen"}
        if set(arrays) != known:
            raise ValueError(f"the arrays of a mixture are {', '.join(sorted(known))}")
        for name, held in self._fixed():
            fitting(name, arrays[name], held)
            held[...] = arrays[name]
        self._pool.check()
        self._calibration.check()
        like = self._stranger
        fitting("users.weights", arrays["users.weights"], np.array([like.log_weights]), len(names))
        fitting("users.pool", arrays["users.pool"], np.array([like.pool]), len(names))
        fitting("users.seen", arrays["users.seen"], np.zeros(1, np.int64), len(names))
        within("users.pool", arrays["users.pool"][:, 1], 1e-9, math.inf)
        parts = (arrays["users.weights"], arrays["users.pool"], arrays["users.seen"].tolist())
        for name, weights, pool, seen in zip(names, *parts, strict=True):
            self._users[name] = Own(weights.copy(), pool.copy(), seen)

    def _say(self, panel: Panel, steps: IntArray, own: Own) -> _Said:
        pool, taken = self._pool.mix(panel, steps, own.pool, own.seen)
        awake = _awake(panel)
        if not self._settings.mix:
            awake = self._best(steps, awake)
        elif not self._settings.pool:
            awake[:, -1] = False
        mixed = np.empty_like(pool)
        kernel.active.join(mixed, pool, panel.logs, own.log_weights, awake, steps)
        return _Said(mixed, pool, taken)

    def _weigh(self, panel: Panel, steps: IntArray, columns: IntArray, own: Own, said: _Said) -> None:
        """Score what the experts and their pool said, and weigh them anew."""
        awake = _awake(panel)
        rows = np.arange(len(steps))
        likelihood = np.empty(awake.shape)
        likelihood[:, :-1] = panel.logs[:, rows, columns].T
        likelihood[:, -1] = np.log(np.maximum(said.pool[rows, columns], _LEAST))
        self._losses[0, steps] -= likelihood * awake
        self._losses[1, steps] += awake
        for weights in (self._population, own.log_weights):
            kernel.active.weigh(weights, likelihood, awake, steps, self._settings.share)

    def _best(self, steps: IntArray, awake: BoolArray) -> BoolArray:
        """Return the one expert, of those awake, that did best so far as the only one awake."""
        losses = np.where(awake[:, :-1], self.losses[steps, :-1], np.inf)
        best: BoolArray = np.arange(awake.shape[1]) == losses.argmin(axis=1)[:, None]
        return best

    def _own(self, user: str) -> Own:
        return self._users.get(user, self._stranger)

    def _make_own(self, user: str) -> Own:
        own = self._users.get(user)
        if own is None:
            own = self._users[user] = Own(self._population.copy(), self._pool.new_user())
            if len(self._users) > self._settings.max_users:
                self._users.popitem(last=False)
        self._users.move_to_end(user)
        return own

    def _fixed(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield the arrays that always have the same shape: the state itself."""
        yield "population", self._population
        yield "losses", self._losses
        for name, array in self._pool.arrays().items():
            yield f"pool.{name}", array
        for name, array in self._calibration.arrays().items():
            yield f"calibration.{name}", array


def _awake(panel: Panel) -> BoolArray:
    """Return who is awake, the pool with them: it is whenever anybody is. Shape (steps, experts + 1)."""
    experts, steps, _ = panel.logs.shape
    if panel.awake is None:
        return np.ones((steps, experts + 1), np.bool_)
    return np.column_stack([panel.awake, panel.awake.any(axis=-1)])
