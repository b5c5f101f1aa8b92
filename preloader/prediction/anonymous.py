"""The anonymous predictor: a network that knows no key's name, so that it is of use to an assistant it never met.

It looks at what a `Memory` of counts and times says of each candidate, and at the opinion of the online predictor; the
network has learned from other assistants how much of that to believe, and when (arXiv 2605.29863 does so with
identities that are assigned at random).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.events import Context, ContextTracker, Event, Prediction, kind_of
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.anonymous_features import STEPS, Seen, see
from preloader.prediction.anonymous_memory import AnonymousSettings, Memory, MemoryState
from preloader.prediction.distribution import Distribution
from preloader.prediction.items import items_in_context, known_before
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.runtime import Runtime, checked_output
from preloader.prediction.state import split_arrays

NAME = "anonymous"
VERSION = 1
_HOPELESS = 1e-4
_MOST_ODDS = 30.0
_MAX_REMEMBERED = 64  # sessions whose latest answers are remembered

FloatArray = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]


class Request(msgspec.Struct, frozen=True, eq=False):
    """What is asked of the network: for each kind, what it is to see of one context."""

    context: Context
    steps: int
    seen: dict[str, Seen]


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What the network said of one kind.

    Attributes:
        keys: The candidates, each with its slot.
        probabilities: Shape (horizon, candidates); what a row lacks to 1 is for a key that is no candidate.
        uses: P(used if loaded), P(used soon): shape (2, candidates).
    """

    keys: Mapping[str, int]
    probabilities: FloatArray
    uses: FloatArray


class Remembered(msgspec.Struct, frozen=True, eq=False):
    """What the network last said of a session.

    Attributes:
        context: What it was asked about.
        learned: How many events had been learned by then: later ones may make it say something else.
        answers: By kind.
        is_whole: Whether it was asked about every kind of which there was something to say.
    """

    context: Context
    learned: int
    answers: dict[str, Answer]
    is_whole: bool


class AnonymousPredictor:
    """Predicts the items of every kind with a network that has no vocabulary.

    It names keys that it met; what a new one might get is the mass that a distribution lacks to 1. Of a kind that is no
    longer new to the assistant it says nothing (`AnonymousSettings.max_items`). Memory is bounded,
    for each kind, as `AnonymousSettings` says; the online predictor's comes on top.

    Args:
        runtime: Runs the network.
        settings: What the network was made for, and how much is remembered.
        kinds: The resource kinds to predict; every kind that is met, if not given.
        online: Whose opinion is heard. Where one is given, as in a mixture that holds it too, it is taught and saved
            there; otherwise the predictor has its own.
        digest: The SHA-256 of the network, by which a saved state knows its own.
    """

    name = NAME
    horizon = STEPS

    def __init__(
        self,
        runtime: Runtime,
        settings: AnonymousSettings | None = None,
        kinds: Sequence[str] | None = None,
        online: OnlinePredictor | None = None,
        digest: str = "",
    ) -> None:
        self.runtime = runtime
        self.settings = settings or AnonymousSettings()
        self.digest = digest
        self._kinds = None if kinds is None else tuple(dict.fromkeys(kinds))
        self._memories: dict[str, Memory] = {}
        self._tracker = ContextTracker(self.settings.max_sessions)
        self._shares = online is not None
        self._online = online or OnlinePredictor(self._kinds)
        self._learned = 0
        self._remembered: OrderedDict[tuple[str, str], Remembered] = OrderedDict()  # by user and session

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that it predicts at present."""
        return tuple(self._memories)

    def learn_one(self, event: Event) -> None:
        """Remember what came; see `Predictor.learn_one`. The network never changes."""
        if event.resources:
            before = known_before(self._tracker, event)
            for kind in dict.fromkeys(map(kind_of, event.resources)):
                memory = self._memory_for(kind)
                if memory is not None and self._speaks(memory):
                    for context, key in items_in_context(before, event, kind):
                        memory.learn(context, key, event.time_s)
        self._tracker.observe(event)
        self._learned += 1
        if not self._shares:
            self._online.learn_one(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return predictions for every candidate that may come; see `Predictor.predict`."""
        request = self.begin(context, steps)
        return self.finish(request, self.infer([request])[0])

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what `predict` says of one kind; what it lacks to 1 is for keys that are no candidates."""
        _check_steps(steps)
        answer = self._answer(context, kind)
        if answer is None:
            return Distribution({}, np.zeros((steps, 0)))
        return Distribution(answer.keys, answer.probabilities[:steps])

    def said(self, context: Context, kind: str, steps: int) -> Distribution | None:
        """Return what it last said of a session, if that was this very context; asks nothing. See `Expert`."""
        latest = self._remembered.get((context.user, context.session))
        if latest is None or kind not in latest.answers or latest.context != context:
            return None
        answer = latest.answers[kind]
        return Distribution(answer.keys, answer.probabilities[:steps])

    def begin(self, context: Context, steps: int = 3) -> Request:
        """Return what is to be asked; see `StagedPredictor.begin`."""
        _check_steps(steps)
        speaking = {kind: memory for kind, memory in self._memories.items() if self._speaks(memory)}
        return Request(context, steps, {kind: self._see(memory, context) for kind, memory in speaking.items()})

    def inputs(self, requests: Sequence[Request]) -> Arrays:
        """Return what the network takes for requests of which there is anything to ask, all their kinds in a row."""
        return _stacked([seen for request in requests for seen in request.seen.values()])

    def infer(self, requests: Sequence[Request]) -> list[list[Answer]]:
        """Ask the network, once for all kinds of all requests; see `StagedPredictor.infer`.

        Raises:
            BundleError: What the network says is of another shape than the settings ask for, or no number.
        """
        asked = [seen for request in requests for seen in request.seen.values()]
        if not asked:
            return [[] for _ in requests]
        said = self.runtime.run(_stacked(asked))
        keys = self.settings.candidates + 1
        logs = checked_output(said, "log_probabilities", (len(asked), STEPS, keys))
        odds = checked_output(said, "uses", (len(asked), 2, keys))
        answers = map(_answer, asked, logs, odds)
        return [[next(answers) for _ in request.seen] for request in requests]

    def finish(self, request: Request, result: Sequence[Answer]) -> list[Prediction]:
        """Return the predictions; see `StagedPredictor.finish`."""
        self.keep(request, result)
        found = [prediction for answer in result for prediction in _predictions(answer, request.steps)]
        return sorted(found, key=lambda prediction: -prediction.per_step[0])

    def keep(self, request: Request, result: Sequence[Answer]) -> None:
        """Take note of what `infer` returned, of which ``distribution`` and ``uses`` then speak without delay."""
        answers = dict(zip(request.seen, result, strict=True))
        self._remember(Remembered(request.context, self._learned, answers, is_whole=True))

    def uses(self, context: Context, keys: Sequence[str]) -> FloatArray:
        """Return P(used if loaded) and P(used soon) of some keys: shape (2, keys); not a number for no candidate."""
        found = np.full((2, len(keys)), np.nan)
        for column, key in enumerate(keys):
            answer = self._answer(context, kind_of(key))
            if answer is not None and key in answer.keys:
                found[:, column] = answer.uses[:, answer.keys[key]]
        return found

    def snapshot(self) -> Snapshot:
        """Return all but the network itself, which the state names by its SHA-256."""
        memories: list[dict[str, Any]] = []
        arrays: Arrays = {}
        for number, memory in enumerate(self._memories.values()):
            meta, held = memory.dump()
            memories.append(meta)
            arrays.update({f"{number}.{name}": array for name, array in held.items()})
        online = None if self._shares else self._online.snapshot()
        if online is not None:
            arrays.update({f"{len(memories)}.{name}": array for name, array in online.arrays.items()})
        meta = {
            "predictor": self.name,
            "version": VERSION,
            "network": self.digest,
            "settings": msgspec.to_builtins(self.settings),
            "kinds": None if self._kinds is None else list(self._kinds),
            "memories": memories,
            "contexts": self._tracker.contexts(),
            "online": None if online is None else online.meta,
        }
        return Snapshot(meta, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace what is remembered; see `Predictor.restore`.

        Raises:
            BundleError: The snapshot is damaged, or of another network.
        """
        state = _read(snapshot)
        if state.network != self.digest or state.settings != self.settings:
            raise BundleError("the state belongs to another network than the one that is loaded")
        if (state.online is None) != self._shares:
            raise BundleError("the state's online predictor is kept elsewhere than this predictor's")
        memories, online = _restored(state, snapshot.arrays)
        self._kinds, self._memories = state.kinds and tuple(state.kinds), memories
        self._online = online or self._online
        self._tracker.restore(state.contexts)
        self._remembered.clear()

    def forget_sessions(self) -> None:
        """Forget the live sessions; what was learned from them stays."""
        self._tracker = ContextTracker(self.settings.max_sessions)
        self._remembered.clear()
        if not self._shares:
            self._online.forget_sessions()

    def is_done(self, kind: str) -> bool:
        """Return whether nothing more will be said of a kind, since it is no longer new to the assistant."""
        memory = self._memories.get(kind)
        return memory is not None and not self._speaks(memory)

    def _memory_for(self, kind: str) -> Memory | None:
        memory = self._memories.get(kind)
        if memory is None and (kind in self._kinds if self._kinds is not None else self._has_room()):
            memory = self._memories[kind] = Memory(kind, self.settings)
        return memory

    def _has_room(self) -> bool:
        return len(self._memories) < self.settings.max_kinds

    def _speaks(self, memory: Memory) -> bool:
        """Return whether the assistant is so new yet that there is something to say of a kind."""
        return memory.items < self.settings.max_items

    def _answer(self, context: Context, kind: str) -> Answer | None:
        """Return what the network says of a kind, asked unless it was already; ``None`` where nothing is to be said."""
        memory = self._memories.get(kind)
        if memory is None or not self._speaks(memory):
            return None
        latest = self._remembered.get((context.user, context.session))
        if latest is None or latest.learned != self._learned or latest.context != context:
            latest = Remembered(context, self._learned, {}, is_whole=False)
        if kind not in latest.answers and not latest.is_whole:
            request = Request(context, STEPS, {kind: self._see(memory, context)})
            answer = self.infer([request])[0][0]
            latest = msgspec.structs.replace(latest, answers={**latest.answers, kind: answer})
            self._remember(latest)
        return latest.answers.get(kind)

    def _remember(self, latest: Remembered) -> None:
        slot = (latest.context.user, latest.context.session)
        self._remembered[slot] = latest
        self._remembered.move_to_end(slot)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _see(self, memory: Memory, context: Context) -> Seen:
        return see(memory, context, self.settings, self._online.distribution(context, memory.kind, STEPS))


def read_settings(snapshot: Snapshot) -> AnonymousSettings:
    """Return the settings in a saved state, by which its network must be run.

    Raises:
        BundleError: It is of another predictor or version, or damaged.
    """
    return _read(snapshot).settings


class _State(msgspec.Struct, frozen=True):
    """What a snapshot's meta holds, besides its kind and version."""

    network: str
    settings: AnonymousSettings
    kinds: tuple[str, ...] | None
    memories: list[MemoryState]
    contexts: list[Context]
    online: dict[str, Any] | None


def _read(snapshot: Snapshot) -> _State:
    meta = snapshot.meta
    for field, expected in (("predictor", NAME), ("version", VERSION)):
        if meta.get(field) != expected:
            raise BundleError(f"the state's {field} is {shown(meta.get(field))}; it must be {expected!r}")
    try:
        return msgspec.convert(meta, _State)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BundleError(f"the state of the anonymous predictor is damaged: {error}") from error


def _restored(state: _State, arrays: Arrays) -> tuple[dict[str, Memory], OnlinePredictor | None]:
    memories: dict[str, Memory] = {}
    try:
        split = split_arrays(arrays, len(state.memories) + (state.online is not None))
        for held, of_memory in zip(state.memories, split, strict=False):
            memory = memories[held.kind] = Memory(held.kind, state.settings)
            memory.load(held, of_memory)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(f"the state of the anonymous predictor is damaged: {error}") from error
    if state.online is None:
        return memories, None
    return memories, OnlinePredictor.from_snapshot(Snapshot(state.online, split[-1]))


def _stacked(asked: Sequence[Seen]) -> Arrays:
    return {name: np.stack([seen.arrays[name] for seen in asked]) for name in asked[0].arrays}


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= STEPS:
        raise ValueError(f"steps must be from 1 to {STEPS}, not {steps}")


def _answer(seen: Seen, logs: FloatArray, odds: FloatArray) -> Answer:
    last = len(seen.keys) + 1
    if_loaded, soon = 1.0 / (1.0 + np.exp(-np.clip(odds[:, 1:last], -_MOST_ODDS, _MOST_ODDS)))
    probabilities = np.exp(logs - logs.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # single precision may sum to a little more than 1
    return Answer(seen.keys, probabilities[:, 1:last], np.stack([np.maximum(if_loaded, soon), soon]))


def _predictions(answer: Answer, steps: int) -> list[Prediction]:
    keys = list(answer.keys)
    chances = answer.probabilities[:steps]
    order = np.argsort(-chances[0], kind="stable") if keys else np.zeros(0, np.int64)
    order = order[(chances.max(axis=0)[order] >= _HOPELESS) | (answer.uses[0, order] >= _HOPELESS)] if keys else order
    columns = zip(order.tolist(), chances[:, order].T.tolist(), *answer.uses[:, order].tolist(), strict=True)
    return [Prediction(keys[at], tuple(per_step), if_loaded, soon) for at, per_step, if_loaded, soon in columns]
