"""Fakes for every port: what this package's own tests use, shipped because an application's tests need them too.

All are deterministic. Their delays are `asyncio.sleep`, so that on a virtual-time loop they take no time at all.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod

import msgspec

from preloader.errors import BundleError, LanguageModelAnswerError, LanguageModelTimeoutError, UnknownResourceError
from preloader.events import Context, Event, Prediction, resource_key
from preloader.ports import A, Cost, Loaded, Snapshot

EPOCH_S = 1_750_000_000.0
"""When the fakes' time begins: a Sunday in June 2025."""


class FakeValue(msgspec.Struct, frozen=True):
    """What `FakeProvider` loads: which key, the how-manieth value of it, and the version that it was made from."""

    key: str
    number: int
    version: int


class Hang:
    """A step of a `FakeProvider` script: the load never ends, unless it is cancelled."""


Step = BaseException | float | Hang
"""What one load does: raise this, take so many seconds in place of the cost's, or hang."""


class FakeProvider:
    """A provider whose loads take what their costs say, fail as a script says, and are all written down.

    >>> provider = FakeProvider(
    ...     {"fake:a": Cost(0.0, 10), "fake:b": Cost(0.0, 5)},
    ...     dependencies={"fake:b": ["fake:a"]},
    ...     script={"fake:a": [OSError("not now")]},  # the first load fails, later ones do not
    ... )
    >>> asyncio.run(provider.load("fake:a"))
    Traceback (most recent call last):
    OSError: not now
    >>> asyncio.run(provider.load("fake:a"))
    Loaded(value=FakeValue(key='fake:a', number=1, version=0), bytes=10, ttl_s=None)
    >>> provider.assert_all_unloaded()
    Traceback (most recent call last):
    AssertionError: never unloaded: FakeValue(key='fake:a', number=1, version=0)

    Args:
        costs: What each resource costs; nothing else exists.
        dependencies: Direct requirements of a key; transitive ones follow from them.
        script: For each key, what its successive loads do; once it is used up they succeed.
        immutable: As in the port; when False, `change` makes values stale.

    Attributes:
        started: Keys of loads that began, in order.
        loaded: Values handed out, in order.
        unloaded: Values taken back, in order.
        cancelled: Keys of loads that were cancelled, in order.
    """

    def __init__(
        self,
        costs: Mapping[str, Cost],
        dependencies: Mapping[str, Sequence[str]] | None = None,
        script: Mapping[str, Iterable[Step]] | None = None,
        *,
        immutable: bool = True,
    ) -> None:
        self.costs = dict(costs)
        self.immutable = immutable
        self.started: list[str] = []
        self.loaded: list[FakeValue] = []
        self.unloaded: list[FakeValue] = []
        self.cancelled: list[str] = []
        self._requires = dict(dependencies or {})
        self._script = {key: iter(steps) for key, steps in (script or {}).items()}
        self._versions = Counter[str]()
        self._numbers = Counter[str]()

    async def load(self, key: str) -> Loaded:
        """Take the cost's seconds, or do what the script says."""
        cost = self.cost(key)
        self.started.append(key)
        version = self._versions[key]
        step = next(self._script.get(key, iter(())), cost.seconds)
        try:
            await self._perform(step)
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        self._numbers[key] += 1
        value = FakeValue(key, self._numbers[key], version)
        self.loaded.append(value)
        return Loaded(value, cost.bytes)

    async def unload(self, key: str, value: FakeValue) -> None:
        """Note that ``value`` was taken back."""
        if value.key != key:
            raise AssertionError(f"{value} was unloaded as {key!r}")
        self.unloaded.append(value)

    async def is_fresh(self, key: str, value: FakeValue) -> bool:
        """Return whether `change` was not called for ``key`` since the value's load began."""
        return value.version == self._versions[key]

    def cost(self, key: str) -> Cost:
        """Return what ``key`` costs."""
        try:
            return self.costs[key]
        except KeyError:
            raise UnknownResourceError(f"there is no {key!r} among the {len(self.costs)} fake resources") from None

    def dependencies(self, key: str) -> Sequence[str]:
        """Return every key that must be ready before ``key``, in loadable order."""
        self.cost(key)
        order: dict[str, None] = {}
        stack, begun = [*reversed(self._requires.get(key, ()))], {key}
        while stack:  # no recursion: chains are deep
            if stack[-1] in begun:
                order.setdefault(stack.pop())
            else:
                begun.add(stack[-1])
                stack += [each for each in reversed(self._requires.get(stack[-1], ())) if each not in begun]
        return tuple(order)

    def change(self, key: str) -> None:
        """Make every value of ``key`` stale that was loaded so far."""
        self._versions[key] += 1

    @property
    def live(self) -> list[FakeValue]:
        """Values handed out and not taken back yet."""
        return list((Counter(self.loaded) - Counter(self.unloaded)).elements())

    def assert_all_unloaded(self) -> None:
        """Check that every value handed out was taken back exactly once.

        Raises:
            AssertionError: One was not, or was more than once, or was never handed out.
        """
        surplus = Counter(self.unloaded) - Counter(self.loaded)
        if surplus:
            raise AssertionError(f"unloaded too often: {', '.join(map(repr, surplus))}")
        if self.live:
            raise AssertionError(f"never unloaded: {', '.join(map(repr, self.live))}")

    @staticmethod
    async def _perform(step: Step) -> None:
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, Hang):
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(step)


def fake_prediction(key: str, *per_step: float) -> Prediction:
    """Return a prediction whose use probabilities are those of at least one of its steps.

    >>> fake_prediction("tool:Bash", 0.5, 0.5).p_use_soon
    0.75
    """
    p_use = 1.0 - prod(1.0 - p for p in per_step)
    return Prediction(key, per_step, p_use, p_use)


PredictionTable = Mapping[str, Sequence[Prediction]]


class FakePredictor:
    """A predictor that says what it was told to say.

    >>> predictor = FakePredictor({"wake": [fake_prediction("component:asr", 0.9)]})
    >>> predictor.predict(Context().after(Event(user="u", session="s", time_s=0.0, action="wake")), steps=1)[0].key
    'component:asr'

    Args:
        answers: Predictions by the latest event's action (``""`` for a session that has none yet), or a function
            from context and steps to predictions.

    Attributes:
        learned: Events that it was shown, in order.
    """

    name = "fake"

    def __init__(self, answers: PredictionTable | Callable[[Context, int], list[Prediction]]) -> None:
        self.learned: list[Event] = []
        self._answers = answers

    def learn_one(self, event: Event) -> None:
        """Remember the event."""
        self.learned.append(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return the told predictions, cut to ``steps``."""
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        if callable(self._answers):
            return self._answers(context, steps)
        latest = context.recent[-1].action if context.recent else ""
        cut = [msgspec.structs.replace(p, per_step=p.per_step[:steps]) for p in self._answers.get(latest, ())]
        return sorted(cut, key=lambda prediction: -prediction.per_step[0])

    def snapshot(self) -> Snapshot:
        """Return the events shown so far."""
        return Snapshot({"predictor": self.name, "learned": msgspec.to_builtins(self.learned)}, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Take the shown events from a snapshot; the answers are not part of the state."""
        if snapshot.meta.get("predictor") != self.name:
            raise BundleError(f"this is a snapshot of {snapshot.meta.get('predictor')!r}, not of {self.name!r}")
        self.learned = msgspec.convert(snapshot.meta["learned"], list[Event])


class FakeStagedPredictor(FakePredictor):
    """A `FakePredictor` in stages, which writes down its batches.

    >>> predictor = FakeStagedPredictor({"wake": [fake_prediction("component:asr", 0.9)]})
    >>> context = Context().after(Event(user="u", session="s", time_s=0.0, action="wake"))
    >>> request = predictor.begin(context, steps=1)
    >>> (result,) = predictor.infer([request])
    >>> predictor.finish(request, result) == predictor.predict(context, steps=1)
    True

    Args:
        answers: As those of `FakePredictor`.
        during: Called by `infer`, in its thread, with the contexts of the batch: it may block, sleep or raise.

    Attributes:
        batches: How many requests each call of `infer` got.
    """

    def __init__(
        self,
        answers: PredictionTable | Callable[[Context, int], list[Prediction]],
        during: Callable[[Sequence[Context]], None] = lambda contexts: None,
    ) -> None:
        super().__init__(answers)
        self.batches: list[int] = []
        self._during = during

    def begin(self, context: Context, steps: int = 3) -> tuple[Context, int]:
        """Return the request."""
        return context, steps

    def infer(self, requests: Sequence[tuple[Context, int]]) -> list[list[Prediction]]:
        """Return the told predictions of each request."""
        self.batches.append(len(requests))
        self._during([context for context, _ in requests])
        return [self.predict(context, steps) for context, steps in requests]

    def finish(self, request: tuple[Context, int], result: list[Prediction]) -> list[Prediction]:
        """Return the result as it is."""
        return result


class FakeLanguageModel:
    """A language model that answers what it was told to, in turn.

    >>> class Colour(msgspec.Struct):
    ...     name: str
    >>> model = FakeLanguageModel([{"name": "red"}, {"colour": "red"}])
    >>> asyncio.run(model.complete("Which?", Colour, timeout_s=1.0))
    Colour(name='red')
    >>> asyncio.run(model.complete("Which?", Colour, timeout_s=1.0))
    Traceback (most recent call last):
    preloader.errors.LanguageModelAnswerError: the answer is no Colour: Object missing required field `name`

    Args:
        answers: For each call what is answered, what is raised, or `Hang`; calls past the last one hang.

    Attributes:
        prompts: What it was asked, in order.
    """

    def __init__(self, answers: Iterable[Mapping[str, object] | BaseException | Hang]) -> None:
        self.prompts: list[str] = []
        self._answers = iter(answers)

    async def complete(self, prompt: str, answer: type[A], timeout_s: float) -> A:
        """Answer as told."""
        self.prompts.append(prompt)
        told = next(self._answers, Hang())
        if isinstance(told, BaseException):
            raise told
        if isinstance(told, Hang):
            await asyncio.sleep(timeout_s)
            raise LanguageModelTimeoutError(f"there was no answer within {timeout_s:g} s")
        try:
            return msgspec.convert(told, answer)
        except msgspec.ValidationError as error:
            raise LanguageModelAnswerError(f"the answer is no {answer.__name__}: {error}") from error


def random_events(
    seed: int, users: int = 3, sessions: int = 4, length: int = 20, kind: str = "component", items: int = 12
) -> list[Event]:
    """Return a history with habits to learn, the same for the same arguments.

    Each user has an order of their own in which they mostly go through ``items`` resources, and strays from it a third
    of the time. One event in five uses no resource, one in ten uses two. Users' sessions overlap in time.

    >>> events = random_events(seed=7, users=2, sessions=1, length=3)
    >>> len(events), events == random_events(seed=7, users=2, sessions=1, length=3)
    (6, True)
    >>> events == sorted(events, key=lambda event: event.time_s)
    True

    Args:
        seed: What all randomness comes from.
        users: How many users.
        sessions: Sessions for each user.
        length: Events in each session.
        kind: Kind of the resources used.
        items: How many resources there are.
    """
    rng = random.Random(seed)
    keys = [resource_key(kind, f"item{number}") for number in range(items)]
    events: list[Event] = []
    for user in range(users):
        habit = rng.sample(keys, items)
        for session in range(sessions):
            start_s = EPOCH_S + 86_400.0 * session + rng.uniform(0.0, 3_600.0)
            events += _session(rng, f"user{user}", f"session{session}", start_s, length, habit)
    return sorted(events, key=lambda event: event.time_s)


def _session(
    rng: random.Random, user: str, session: str, start_s: float, length: int, habit: list[str]
) -> Iterable[Event]:
    time_s, at = start_s, rng.randrange(len(habit))
    for _ in range(length):
        count = rng.choices((0, 1, 2), weights=(2, 7, 1))[0]
        used = []
        for _ in range(count):
            at = (at + 1) % len(habit) if rng.random() < 2 / 3 else rng.randrange(len(habit))
            used.append(habit[at])
        duration_s = round(rng.expovariate(1.0), 3)
        yield Event(
            user=user,
            session=session,
            time_s=time_s,
            action=used[0] if used else "user",
            text=None if used else rng.choice(("yes", "no", "go on", "stop")),
            resources=tuple(used),
            duration_s=duration_s,
            ok=rng.random() < 0.95,
        )
        time_s += duration_s + round(rng.expovariate(0.2), 3)
