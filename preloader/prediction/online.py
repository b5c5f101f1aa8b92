"""The online predictor: counts contexts, hears words, weighs both, and learns from every event as it comes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import msgspec
import numpy as np

from preloader.errors import BundleError
from preloader.events import Context, ContextTracker, Event, Prediction, kind_of
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.distribution import Distribution
from preloader.prediction.items import items_in_context, known_before
from preloader.prediction.kind import KindModel
from preloader.prediction.settings import NAME, OnlineSettings
from preloader.prediction.state import read_snapshot, split_arrays
from preloader.prediction.vocabulary import FIRST

VERSION = 2


class OnlinePredictor:
    """Predicts the next items of every kind from counted contexts, words and recency; learns online.

    Contexts of order 0-3, global and of the user, with latest actions and their results, circumstances and time of
    day, are counted for each step apart (`contexts`, `counts`); a sparse linear model hears the latest words (`words`);
    the session's own recency is read from the context (`recency`). `mixture` weighs it all. ``p_use_soon`` and
    ``p_use_if_loaded`` are learned from what happened within the horizon and within 10 items (`reuse`).

    Memory is bounded: for each kind at most ``max_contexts`` × 150 bytes, ``max_keys`` × 400 bytes, ``2 ** word_bits``
    × 25 bytes once texts are heard, and ``max_sessions`` × 5 kB, with three steps; the live sessions' latest events
    come on top. The oldest contexts, and the keys unused for longest, are forgotten.

    Args:
        kinds: The resource kinds to predict; every kind that is met, if not given.
        horizon: How many items ahead it can look.
        max_contexts: See `OnlineSettings`, as are the others.
        settings: The remaining settings by name.

    Raises:
        ConfigurationError: A setting is out of range.
    """

    name = NAME

    def __init__(
        self,
        kinds: Sequence[str] | None = None,
        horizon: int = 3,
        max_contexts: int = 32_768,
        max_predictions: int = 64,
        **settings: Any,
    ) -> None:
        self._kinds = None if kinds is None else tuple(dict.fromkeys(kinds))
        self.settings = OnlineSettings(
            horizon=horizon, max_contexts=max_contexts, max_predictions=max_predictions, **settings
        )
        self.name = self.settings.name
        self._models = {kind: KindModel(kind, self.settings) for kind in self._kinds or ()}
        self._tracker = ContextTracker(self.settings.max_sessions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it predicts at present."""
        return tuple(self._models)

    def says_nothing_but(self, kinds: Set[str]) -> bool:
        """Return whether all that it predicts at present is of these kinds."""
        return self._models.keys() <= kinds

    def model(self, kind: str) -> KindModel | None:
        """Return the model of one kind, where there is one."""
        return self._models.get(kind)

    def learn_one(self, event: Event) -> None:
        """Learn from one event; see `Predictor.learn_one`."""
        if event.resources:
            before = known_before(self._tracker, event)
            for kind in dict.fromkeys(map(kind_of, event.resources)):
                model = self._model_for(kind)
                if model is not None:
                    for context, key in items_in_context(before, event, kind):
                        model.learn(context, key, event.time_s)
        self._tracker.observe(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return predictions for the next ``steps`` items of every kind; see `Predictor.predict`."""
        if not 1 <= steps <= self.settings.horizon:
            raise ValueError(f"steps must be from 1 to {self.settings.horizon}, not {steps}")
        most = self.settings.max_predictions
        found = [model.predict(context, steps, most) for model in self._models.values()]
        if len(found) == 1:
            return found[0]
        return sorted((one for of_kind in found for one in of_kind), key=lambda one: -one.per_step[0])

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what it says of every candidate of a kind, of which `predict` lists the likeliest."""
        model = self._models.get(kind)
        if model is None or len(model.vocabulary) == FIRST:
            return Distribution({}, np.zeros((steps, 0)))
        scored = model.score(model.evidence(context))
        named = scored.numbers >= FIRST
        keys = model.vocabulary.keys
        index = {keys[number]: column for column, number in enumerate(scored.numbers[named].tolist())}
        return Distribution(index, scored.probabilities[:steps, named])

    def uses(self, context: Context, keys: Sequence[str]) -> NDArray[np.float64]:
        """Return P(used if loaded) and P(used soon) of some keys, not a number of those not met: see `EstimatesUse`."""
        found = np.full((2, len(keys)), np.nan)
        kinds = [kind_of(key) for key in keys]
        for kind in dict.fromkeys(kinds):
            model = self._models.get(kind)
            if model is not None:
                of_kind = [at for at, other in enumerate(kinds) if other == kind]
                found[:, of_kind] = model.uses(context, [keys[at] for at in of_kind])
        return found

    def forget_sessions(self) -> None:
        """Forget the live sessions, whose events and texts are no part of what a bundle should hold."""
        for model in self._models.values():
            model.forget_sessions()
        self._tracker = ContextTracker(self.settings.max_sessions)

    def snapshot(self) -> Snapshot:
        """Return the whole state: copies of arrays, and the live sessions' contexts as they are: they never change."""
        kinds: list[dict[str, Any]] = []
        arrays = {}
        for number, model in enumerate(self._models.values()):
            meta, held = model.dump()
            kinds.append(meta)
            arrays.update({f"{number}.{name}": array for name, array in held.items()})
        meta = {
            "predictor": NAME,
            "version": VERSION,
            "settings": msgspec.to_builtins(self.settings),
            "kinds": None if self._kinds is None else list(self._kinds),
            "models": kinds,
            "contexts": self._tracker.contexts(),
        }
        return Snapshot(meta, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state, and the settings with it; see `Predictor.restore`."""
        other = _restored(snapshot)
        self.settings, self.name = other.settings, other.name
        self._kinds, self._models, self._tracker = other._kinds, other._models, other._tracker

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> OnlinePredictor:
        """Return a new predictor in the state, and with the settings, of a snapshot.

        Raises:
            BundleError: The snapshot is of another kind or version, or damaged.
        """
        return _restored(snapshot)

    def _model_for(self, kind: str) -> KindModel | None:
        model = self._models.get(kind)
        if model is None and self._kinds is None and len(self._models) < self.settings.max_kinds:
            model = self._models[kind] = KindModel(kind, self.settings)
        return model


def _restored(snapshot: Snapshot) -> OnlinePredictor:
    state = read_snapshot(snapshot, NAME, VERSION)
    try:
        predictor = OnlinePredictor(state.kinds, **msgspec.structs.asdict(state.settings))
        for meta, arrays in zip(state.models, split_arrays(snapshot.arrays, len(state.models)), strict=True):
            model = predictor._models.setdefault(str(meta["kind"]), KindModel(str(meta["kind"]), state.settings))
            model.load(meta, arrays)
        predictor._tracker.restore(state.contexts)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise BundleError(f"the state of the online predictor is damaged: {error}") from error
    return predictor
