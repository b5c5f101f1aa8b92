"""The mixture of experts: an online predictor, networks, perhaps a language model, each believed as far as it earned.

For each kind and step, what the experts say is brought to one set of keys (`panel`), their logarithmic pool joins them
as one more expert (`pool`), fixed-share weights follow who does well for this user (`weights`), and what comes out is
calibrated as it goes (`calibration`). All of it learns from every item, scored by what had been said k items before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from preloader.errors import BundleError, ConfigurationError
from preloader.events import Context, ContextTracker, Event, Prediction, kind_of
from preloader.ndarray import NDArray
from preloader.ports import Predictor, Ready, Snapshot, StagedPredictor
from preloader.prediction.distribution import Distributes, Distribution, likeliest
from preloader.prediction.items import items_in_context, known_before
from preloader.prediction.kind_mixture import KindMixture
from preloader.prediction.mixture_settings import MixtureSettings
from preloader.prediction.mixture_state import MixtureState, WeightsState, read_state, under
from preloader.prediction.panel import Panel
from preloader.prediction.uses import EstimatesUse
from preloader.telemetry import logger

NAME, WEIGHTS = "mixture", "mixture-weights"
VERSION = 1
_HOPELESS_STEP, _HOPELESS_USE = 1e-4, 1e-3

FloatArray = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]


class Expert(Predictor, Distributes, Protocol):
    """What a mixture is made of: a predictor that gives its whole distribution.

    It *abstains* from a step by giving no key any probability. It may also say how likely keys are used
    (`EstimatesUse`), and have a whole number ``revision``, which grows whenever it changes otherwise than by
    ``learn_one``. Where it has ``is_done(kind)``, it says by that that it will never speak of the kind again.

    It may be inferred off the loop (`StagedPredictor`; once a request is finished, ``distribution`` of its context must
    be quick). Then it may have ``keep``, which is called in place of ``finish`` and spares it predictions that nobody
    asks for; and ``said(context, kind, steps)``, which asks nothing, and returns what it last said of a session if that
    was of this very context, else ``None``.
    """


class Request(msgspec.Struct, frozen=True, eq=False):
    """What is to be inferred for one prediction: for each staged expert, its number and its own request."""

    context: Context
    steps: int
    asked: list[tuple[int, Any]]


class MixturePredictor:
    """Predicts the next items of every kind as its experts do, and is about as good as the best of them, or better.

    The cumulative log loss of the mixture exceeds the best expert's by a known bound at most (see `weights`). Only the
    experts' inference runs in other threads, where they offer it in stages; all state is touched by the caller alone.

    Args:
        experts: What is mixed, by different names.
        kinds: The resource kinds to predict; every kind that is met, if not given.
        horizon: How many items ahead it looks; the experts must look as far.
        settings: The remaining `MixtureSettings` by name.

    Raises:
        ConfigurationError: There are no experts, two have one name, or a setting is out of range.

    Attributes:
        experts: As given.
        unsound: How many rows held what is no probability, by the expert's name; it was not heard there.
    """

    name = NAME

    def __init__(
        self, experts: Sequence[Expert], kinds: Sequence[str] | None = None, horizon: int = 3, **settings: Any
    ) -> None:
        self.experts = tuple(experts)
        names = [expert.name for expert in experts]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(f"a mixture needs experts of different names, not {names}", field="experts")
        self.settings = MixtureSettings(horizon=horizon, **settings)
        self.unsound: Counter[str] = Counter()
        self._is_served = False
        self._staged = {at: expert for at, expert in enumerate(experts) if isinstance(expert, StagedPredictor)}
        self._estimating = {at: expert for at, expert in enumerate(experts) if isinstance(expert, EstimatesUse)}
        self._kinds = None if kinds is None else tuple(dict.fromkeys(kinds))
        self._mixtures = {kind: self._new_mixture() for kind in self._kinds or ()}
        self._tracker = ContextTracker(self.settings.max_sessions)
        self._learned = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it predicts at present."""
        return tuple(self._mixtures)

    def mixture(self, kind: str) -> KindMixture | None:
        """Return the mixture of one kind, where there is one."""
        return self._mixtures.get(kind)

    def learn_one(self, event: Event) -> None:
        """Learn from one event, first the mixture and then its experts; see `Predictor.learn_one`."""
        self._weigh(event)
        self._learned += 1
        for expert in self.experts:
            expert.learn_one(event)
        self._tracker.observe(event)

    def weigh_one(self, event: Event) -> None:
        """Learn from one event how far to believe the experts, who learn nothing.

        For sessions that were held out from experts which will not learn in service either: one who is asked about
        what it has not learned is less right, and more often too sure, than one who has just learned all the rest.
        """
        self._weigh(event)
        self.follow(event)
        self._tracker.observe(event)

    def follow(self, event: Event) -> None:
        """Let those experts take note of ``event`` that have something to follow without learning."""
        for expert in self.experts:
            follow = getattr(expert, "follow", None)
            if follow is not None:
                follow(event)
                self._learned += 1

    def use_in_stages(self) -> None:
        """Learn, from now on, how far to believe staged experts from what they have said alone: nobody is asked then.

        For whoever has the experts inferred off the event loop, which learning must not hold up. An expert that was
        not asked about the very context of an item sleeps for it, and gets neither credit nor blame.
        """
        self._is_served = True

    def encode_in_stages(self) -> None:
        """Let no expert encode a text, from now on, but where it is inferred; see `SequencePredictor`."""
        for expert in self._staged.values():
            if hasattr(expert, "encode_in_stages"):
                expert.encode_in_stages()

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return predictions for the next ``steps`` items of every kind; see `Predictor.predict`."""
        self._check_steps(steps)
        found = [one for kind in self._mixtures for one in self._predictions(kind, context, steps)]
        return sorted(found, key=lambda one: -one.per_step[0]) if len(self._mixtures) > 1 else found

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what it says of every key that any expert names, of which `predict` lists the likeliest."""
        self._check_steps(steps)
        mixture = self._mixtures.get(kind)
        if mixture is None:
            return Distribution({}, np.zeros((steps, 0)))
        alone = self._left_alone(kind)
        if alone is not None:
            return alone.distribution(context, kind, steps)
        return mixture.distribution(self._panel(kind, context), context.user, steps)

    def said(self, context: Context, kind: str, steps: int) -> Distribution | None:
        """Return what it says of what its staged experts said of this very context; ``None`` where one said nothing."""
        self._check_steps(steps)
        mixture = self._mixtures.get(kind)
        if mixture is None or self._left_alone(kind) is not None:
            return self.distribution(context, kind, steps)
        if any(self._is_awaited(expert, context, kind) for expert in self._staged.values()):
            return None
        return mixture.distribution(self._panel(kind, context, may_ask=False), context.user, steps)

    def begin(self, context: Context, steps: int = 3) -> Request | Ready:
        """Prepare what the experts must infer; see `StagedPredictor.begin`."""
        self._check_steps(steps)
        begun = [(number, expert.begin(context, self.settings.horizon)) for number, expert in self._staged.items()]
        asked = [(number, one) for number, one in begun if not isinstance(one, Ready)]
        return Request(context, steps, asked) if asked else Ready(self.predict(context, steps))

    def infer(self, requests: Sequence[Request]) -> list[list[Any]]:
        """Return the experts' own results, each expert asked once for all requests; see `StagedPredictor.infer`."""
        batches: dict[int, list[Any]] = defaultdict(list)
        for request in requests:
            for number, asked in request.asked:
                batches[number].append(asked)
        results = {number: iter(self._staged[number].infer(batch)) for number, batch in batches.items()}
        return [[next(results[number]) for number, _ in request.asked] for request in requests]

    def finish(self, request: Request, result: list[Any]) -> list[Prediction]:
        """Return the predictions; see `StagedPredictor.finish`."""
        self.keep(request, result)
        return self.predict(request.context, request.steps)

    def keep(self, request: Request, result: list[Any]) -> None:
        """Have the experts take note of what `infer` returned; ``said`` then speaks of it. See `Expert`."""
        for (number, asked), answer in zip(request.asked, result, strict=True):
            expert = self._staged[number]
            getattr(expert, "keep", expert.finish)(asked, answer)

    def forget_sessions(self) -> None:
        """Forget the live sessions, the experts' too: their events are no part of what a bundle should hold."""
        self._tracker = ContextTracker(self.settings.max_sessions)
        for mixture in self._mixtures.values():
            mixture.forget_sessions()
        for expert in self.experts:
            forget = getattr(expert, "forget_sessions", None)
            if forget is not None:
                forget()

    def weights_snapshot(self) -> Snapshot:
        """Return what the mixture has learned, without its experts and sessions: what `restore_weights` takes."""
        state, arrays = self._dump_weights()
        return Snapshot({"predictor": WEIGHTS, "version": VERSION, **msgspec.to_builtins(state)}, arrays)

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Take over what a mixture of experts of the same names has learned; the experts and settings stay.

        Raises:
            BundleError: It is of other experts or another horizon, or damaged; nothing is changed then.
        """
        state = read_state(snapshot, WEIGHTS, VERSION, WeightsState)
        self._mixtures = self._load_weights(state, snapshot.arrays, self.settings)

    def snapshot(self) -> Snapshot:
        """Return the whole state, the experts' included; a network is no part of it, it is named by its SHA-256."""
        state, weights = self._dump_weights()
        arrays = {f"weights.{name}": array for name, array in weights.items()}
        parts = [expert.snapshot() for expert in self.experts]
        sessions = []
        for number, mixture in enumerate(self._mixtures.values()):
            meta, held = mixture.dump_sessions()
            sessions.append(meta)
            arrays |= {f"sessions.{number}.{name}": array for name, array in held.items()}
        for number, part in enumerate(parts):
            arrays |= {f"experts.{number}.{name}": array for name, array in part.arrays.items()}
        meta = {
            "predictor": NAME,
            "version": VERSION,
            "kinds": None if self._kinds is None else list(self._kinds),
            "settings": msgspec.to_builtins(self.settings),
            "weights": msgspec.to_builtins(state),
            "experts": [part.meta for part in parts],
            "sessions": sessions,
            "contexts": self._tracker.contexts(),
        }
        return Snapshot(meta, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state, and the settings with it; see `Predictor.restore`."""
        state = read_state(snapshot, NAME, VERSION, MixtureState)
        arrays = snapshot.arrays
        mixtures = self._load_weights(state.weights, under(arrays, "weights"), state.settings)
        try:
            for number, (mixture, meta) in enumerate(zip(mixtures.values(), state.sessions, strict=True)):
                mixture.load_sessions(meta, under(arrays, f"sessions.{number}"))
            contexts = ContextTracker(state.settings.max_sessions)
            contexts.restore(state.contexts)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BundleError(f"the state of the predictor {NAME!r} is damaged: {error}") from error
        self._restore_experts(
            [Snapshot(meta, under(arrays, f"experts.{number}")) for number, meta in enumerate(state.experts)]
        )
        self.settings, self._mixtures, self._tracker = state.settings, mixtures, contexts
        self._kinds = None if state.kinds is None else tuple(state.kinds)
        self._learned += 1

    def _weigh(self, event: Event) -> None:
        if not event.resources:
            return
        before = known_before(self._tracker, event)
        for kind in dict.fromkeys(map(kind_of, event.resources)):
            mixture = self._mixture_for(kind)
            if mixture is not None:
                for context, key in items_in_context(before, event, kind):
                    mixture.learn(context, self._panel(kind, context, may_ask=not self._is_served), key)

    def _check_steps(self, steps: int) -> None:
        if not 1 <= steps <= self.settings.horizon:
            raise ValueError(f"steps must be from 1 to {self.settings.horizon}, not {steps}")

    def _new_mixture(self) -> KindMixture:
        return KindMixture(len(self.experts), self.settings, self._count_unsound)

    def _mixture_for(self, kind: str) -> KindMixture | None:
        mixture = self._mixtures.get(kind)
        if mixture is None and (kind in self._kinds if self._kinds is not None else self._has_room()):
            mixture = self._mixtures[kind] = self._new_mixture()
        return mixture

    def _has_room(self) -> bool:
        return len(self._mixtures) < self.settings.max_kinds

    def _panel(self, kind: str, context: Context, *, may_ask: bool = True) -> Panel:
        def ask() -> list[Distribution]:
            return [self._told(number, context, kind, may_ask) for number in range(len(self.experts))]

        revision = (self._learned, *(getattr(expert, "revision", 0) for expert in self.experts))
        return self._mixtures[kind].panel(context, revision, ask)

    def _told(self, number: int, context: Context, kind: str, may_ask: bool) -> Distribution:
        """Return what an expert says, or, where it may not be asked, what it said; no keys where that is nothing."""
        expert, horizon = self.experts[number], self.settings.horizon
        said = getattr(self._staged.get(number), "said", None)
        if may_ask or said is None:
            return expert.distribution(context, kind, horizon)
        heard: Distribution | None = said(context, kind, horizon)
        return Distribution({}, np.zeros((horizon, 0))) if heard is None else heard

    def _is_awaited(self, expert: Expert, context: Context, kind: str) -> bool:
        """Return whether an expert that speaks of a kind in stages has not spoken of a context."""
        said = getattr(expert, "said", None)
        if said is None or kind not in getattr(expert, "kinds", (kind,)):
            return False
        is_done = hasattr(expert, "is_done") and expert.is_done(kind)
        return not is_done and said(context, kind, self.settings.horizon) is None

    def _count_unsound(self, number: int, rows: int) -> None:
        name = self.experts[number].name
        if name not in self.unsound:
            logger.debug("the expert %r says what is no probability, and is not heard where it does", name)
        self.unsound[name] += rows

    def _predictions(self, kind: str, context: Context, steps: int) -> list[Prediction]:
        """Return the likeliest keys of a kind, likeliest next item first, ties as the experts name them."""
        alone = self._left_alone(kind)
        if alone is not None:
            return [one for one in alone.predict(context, steps) if kind_of(one.key) == kind]
        told = self.distribution(context, kind, steps)
        if not told.index:
            return []
        order = likeliest(told.probabilities[0], self.settings.max_predictions)
        names = list(told.index)
        keys = [names[column] for column in order.tolist()]
        chances = told.probabilities[:, order]
        uses = self._uses(kind, context, keys, chances)
        hopeful = (chances >= _HOPELESS_STEP).any(axis=0) | (uses[0] >= _HOPELESS_USE)
        columns = zip(keys, chances.T.tolist(), *uses.tolist(), hopeful.tolist(), strict=True)
        return [Prediction(key, tuple(steps), loaded, soon) for key, steps, loaded, soon, is_kept in columns if is_kept]

    def _left_alone(self, kind: str) -> Expert | None:
        """Return the expert that speaks of a kind when all others are done with it: it is taken at its own word."""
        others = [one for one in self.experts if not (hasattr(one, "is_done") and one.is_done(kind))]
        return others[0] if len(others) == 1 < len(self.experts) else None

    def _uses(self, kind: str, context: Context, keys: Sequence[str], chances: FloatArray) -> FloatArray:
        """Return P(used if loaded) and P(used soon); where no expert can say, as if the steps were independent."""
        said = np.full((len(self.experts), 2, len(keys)), np.nan)
        for number, expert in self._estimating.items():
            said[number] = expert.uses(context, keys)
        said[(said < 0.0) | (said > 1.0)] = np.nan
        combined = self._mixtures[kind].uses.combine(said)
        is_unsaid = np.isnan(combined)
        if is_unsaid.any():
            combined = np.where(is_unsaid, 1.0 - np.prod(1.0 - chances, axis=0), combined)
        return combined

    def _dump_weights(self) -> tuple[WeightsState, Arrays]:
        users: dict[str, list[str]] = {}
        arrays: Arrays = {}
        for number, (kind, mixture) in enumerate(self._mixtures.items()):
            users[kind], held = mixture.blend.dump()
            arrays |= {f"{number}.blend.{name}": array for name, array in held.items()}
            arrays |= {f"{number}.uses.{name}": array for name, array in mixture.uses.dump().items()}
        return WeightsState([expert.name for expert in self.experts], self.settings.horizon, users), arrays

    def _load_weights(self, state: WeightsState, arrays: Arrays, settings: MixtureSettings) -> dict[str, KindMixture]:
        names = [expert.name for expert in self.experts]
        if state.experts != names or state.horizon != settings.horizon:
            raise BundleError(
                f"the weights are of the experts {', '.join(state.experts)} and {state.horizon} steps, not of "
                f"{', '.join(names)} and {settings.horizon}"
            )
        mixtures: dict[str, KindMixture] = {}
        try:
            for number, (kind, users) in enumerate(state.users.items()):
                mixtures[kind] = KindMixture(len(names), settings, self._count_unsound)
                mixtures[kind].blend.load(users, under(arrays, f"{number}.blend"))
                mixtures[kind].uses.load(under(arrays, f"{number}.uses"))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BundleError(f"the weights of the mixture are damaged: {error}") from error
        return mixtures

    def _restore_experts(self, parts: Sequence[Snapshot]) -> None:
        """Restore all experts, or none: whatever one of them raises, those before it go back to what they were."""
        if len(parts) != len(self.experts):
            raise BundleError(f"the state holds {len(parts)} experts, and the mixture has {len(self.experts)}")
        before = [expert.snapshot() for expert in self.experts]
        for number, (expert, part) in enumerate(zip(self.experts, parts, strict=True)):
            try:
                expert.restore(part)
            except BaseException:
                for restored, state in zip(self.experts[:number], before[:number], strict=True):
                    restored.restore(state)
                raise
