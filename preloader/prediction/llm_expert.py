"""A language model as an expert: asked in the background, heard if its answer comes before the next item does."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Annotated, Self

import msgspec
import numpy as np

from preloader.errors import BundleError
from preloader.events import Context, ContextTracker, Event, Prediction
from preloader.ports import LanguageModel, Snapshot
from preloader.prediction.distribution import Distribution, to_predictions
from preloader.telemetry import logger

VERSION = 1
_SHOWN_EVENTS = 12
_SHOWN_CHARACTERS = 200
_MINUTE_S = 60.0


class Guess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate, by its number in the list, and how likely it is next."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    probability: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Guesses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model answers: the likeliest candidates."""

    guesses: Annotated[list[Guess], msgspec.Meta(max_length=32)]


class LlmExpert:
    """Asks a language model for the next item, out of the keys used lately; abstains while no answer has come.

    Each event that uses a resource of the kind, or in which something is said, is followed by a question, as far as the
    budget allows; inside ``async with`` only, whose end cancels what is under way. So does the session's next event,
    whatever it is: an answer is of the latest context or of no use. A failed call is logged and counted, and no other
    follows for a while that doubles with each failure. The model is untrusted: it can only weigh candidates that were
    shown to it.

    Args:
        model: Whom to ask.
        kind: The resource kind to predict.
        horizon: How many items ahead predictions may be asked for; it speaks of the next one only.
        candidates: How many keys, the latest used, are shown.
        calls_per_minute: How often it asks at most.
        timeout_s: How long an answer may take.
        max_sessions: Of how many sessions events and answers are kept.
        on_answer: Called on the loop with the context that an answer is of, once it can be predicted with: answers come
            long after the event that they follow. What it raises is logged.

    Attributes:
        counts: Questions, answers, failures, questions that the session's next event superseded, and those that the
            budget forbade.
        revision: Grows with every answer.
    """

    name = "llm"

    def __init__(
        self,
        model: LanguageModel,
        kind: str,
        *,
        horizon: int = 3,
        candidates: int = 40,
        calls_per_minute: int = 6,
        timeout_s: float = 20.0,
        max_sessions: int = 64,
        on_answer: Callable[[Context], None] = lambda context: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.revision = 0
        self._model = model
        self.kind = kind
        self._horizon = horizon
        self._most_candidates = candidates
        self._calls_per_minute = calls_per_minute
        self._timeout_s = timeout_s
        self._max_sessions = max_sessions
        self._on_answer = on_answer
        self._candidates: OrderedDict[str, None] = OrderedDict()
        self._tracker = ContextTracker(max_sessions)
        self._answers: OrderedDict[tuple[str, str], tuple[Context, Distribution]] = OrderedDict()
        self._asked_s: deque[float] = deque(maxlen=calls_per_minute)
        self._silent_until_s = 0.0
        self._failures = 0
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}  # by user and session

    async def __aenter__(self) -> Self:
        """Begin to ask."""
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ask no more, and cancel what is under way."""
        assert self._group is not None
        group, self._group = self._group, None
        for task in self._tasks.values():
            task.cancel()
        await group.__aexit__(None, None, None)  # without the error: the group would wrap it, and it is the caller's

    def learn_one(self, event: Event) -> None:
        """Take note of what an event used or says, and ask what comes next; see `Predictor.learn_one`."""
        context = self.note(event)
        slot = (event.user, event.session)
        self._supersede(slot)
        if (event.keys(self.kind) or event.text) and self._candidates and self._group is not None and self._may_ask():
            task = self._group.create_task(self._try(context, self._listed()), name="ask a model")
            self._tasks[slot] = task
            task.add_done_callback(lambda task: self._forget(slot, task))

    def note(self, event: Event) -> Context:
        """Take note of the keys that an event used, ask nothing, and return what is known of the session then."""
        for key in event.keys(self.kind):
            self._candidates[key] = None
            self._candidates.move_to_end(key)
        while len(self._candidates) > self._most_candidates:
            self._candidates.popitem(last=False)
        return self._tracker.observe(event)

    async def ask(self, context: Context) -> None:
        """Ask what comes after ``context``, whatever the budget says, and speak of it from then on.

        Raises:
            LanguageModelError: There was no answer, or none in time.
        """
        await self._ask(context, self._listed())

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return what the model answered; see `Predictor.predict`."""
        return to_predictions(self.distribution(context, self.kind, steps))

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what the model answered of this very context; no keys where it did not, or not yet."""
        if not 1 <= steps <= self._horizon:
            raise ValueError(f"steps must be from 1 to {self._horizon}, not {steps}")
        answer = self._answers.get((context.user, context.session))
        if kind != self.kind or answer is None or answer[0] != context:
            return Distribution({}, np.zeros((steps, 0)))
        told = answer[1]
        return Distribution(told.index, told.probabilities[:steps])

    def snapshot(self) -> Snapshot:
        """Return the candidates and the live sessions; answers are not kept."""
        meta = {
            "predictor": self.name,
            "version": VERSION,
            "kind": self.kind,
            "candidates": list(self._candidates),
            "contexts": self._tracker.contexts(),
        }
        return Snapshot(meta, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the candidates and the live sessions; see `Predictor.restore`."""
        for field, expected in (("predictor", self.name), ("version", VERSION), ("kind", self.kind)):
            if snapshot.meta.get(field) != expected:
                raise BundleError(f"the state's {field} is {snapshot.meta.get(field)!r}; {expected!r} is needed")
        try:
            state = msgspec.convert(snapshot.meta, _State)
        except msgspec.ValidationError as error:
            raise BundleError(f"the state of the expert {self.name!r} is damaged: {error}") from error
        self._candidates = OrderedDict.fromkeys(state.candidates[-self._most_candidates :])
        self._tracker.restore(state.contexts[-self._max_sessions :])
        self._answers.clear()
        self.revision += 1

    def forget_sessions(self) -> None:
        """Forget the live sessions and what was answered of them; the candidates stay."""
        self._tracker = ContextTracker(self._max_sessions)
        self._answers.clear()
        self.revision += 1

    def _supersede(self, slot: tuple[str, str]) -> None:
        """Cancel the question that is under way for a session: its answer would be of a context that is no more."""
        task = self._tasks.pop(slot, None)
        if task is not None:
            task.cancel()
            self.counts["superseded"] += 1

    def _forget(self, slot: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(slot) is task:
            del self._tasks[slot]

    def _may_ask(self) -> bool:
        """Return whether the budget allows a call now, and take it."""
        now_s = asyncio.get_running_loop().time()
        is_full = len(self._asked_s) == self._calls_per_minute and now_s - self._asked_s[0] < _MINUTE_S
        if is_full or now_s < self._silent_until_s:
            self.counts["forbidden"] += 1
            return False
        self._asked_s.append(now_s)
        return True

    def _listed(self) -> list[str]:
        """Return the candidates, the latest used first."""
        return list(reversed(self._candidates))

    async def _try(self, context: Context, candidates: Sequence[str]) -> None:
        self.counts["questions"] += 1
        try:
            await self._ask(context, candidates)
        except Exception as error:  # also of a model that breaks its promise: it must not end the others' task group
            self._failed(error)
            return
        self._failures = 0
        self.counts["answers"] += 1
        try:
            self._on_answer(context)
        except Exception:
            logger.exception("what was to be done with a language model's answer failed")

    async def _ask(self, context: Context, candidates: Sequence[str]) -> None:
        answer = await self._model.complete(_prompt(context, candidates), Guesses, self._timeout_s)
        self.revision += 1
        self._remember(context, _distribution(answer, candidates, self._horizon))

    def _failed(self, error: Exception) -> None:
        self.counts["failures"] += 1
        self._failures += 1
        pause_s = self._timeout_s * 2 ** min(self._failures - 1, 10)
        self._silent_until_s = asyncio.get_running_loop().time() + pause_s
        logger.debug("a language model failed, and is not asked for %g s: %s", pause_s, error)

    def _remember(self, context: Context, told: Distribution) -> None:
        slot = (context.user, context.session)
        self._answers[slot] = (context, told)
        self._answers.move_to_end(slot)
        if len(self._answers) > self._max_sessions:
            self._answers.popitem(last=False)


class _State(msgspec.Struct, frozen=True):
    candidates: list[str]
    contexts: list[Context]


def _prompt(context: Context, candidates: Sequence[str]) -> str:
    events = [_line(event) for event in context.recent[-_SHOWN_EVENTS:]]
    listed = [f"{number}. {_shown(key)}" for number, key in enumerate(candidates, start=1)]
    return "\n".join(
        [
            "These are the latest events of a session, oldest first:",
            *events,
            "",
            "One of these resources may be used next:",
            *listed,
            "",
            "Give the numbers of those that are likely to be the very next one, each with its probability.",
        ]
    )


def _line(event: Event) -> str:
    parts = [f"- {_shown(event.action)}", *map(_shown, event.resources[:4])]
    if event.ok is not None:
        parts.append("succeeded" if event.ok else "failed")
    if event.text:
        parts.append(repr(_shown(event.text)))
    return ", ".join(parts)


def _shown(text: str) -> str:
    return text[:_SHOWN_CHARACTERS].replace("\n", " ")


def _distribution(answer: Guesses, candidates: Sequence[str], horizon: int) -> Distribution:
    """Return the answer about the next item; later steps are left to others."""
    chances: dict[str, float] = {}
    for guess in answer.guesses:
        if guess.number <= len(candidates):
            key = candidates[guess.number - 1]
            chances[key] = max(chances.get(key, 0.0), guess.probability)
    probabilities = np.zeros((horizon, len(chances)))
    probabilities[0] = list(chances.values())
    probabilities[0] /= max(probabilities[0].sum(), 1.0) if chances else 1.0
    return Distribution({key: column for column, key in enumerate(chances)}, probabilities)
