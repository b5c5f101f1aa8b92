"""Looks over the shoulders of a run's predictor, policy and store, without changing what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import msgspec

from preloader.events import Context, Decision, Event, Prediction, Preload
from preloader.ports import Budget, DecisionPolicy, Predictor, Snapshot
from preloader.replay.residency import WatchedEviction
from preloader.replay.run import Cast, Casting
from preloader.replay.script import SessionScript


class Moment(msgspec.Struct, frozen=True):
    """What was known, and decided, once one event had been observed.

    Attributes:
        session: The session that is played.
        step: Index of the step whose event was observed; the steps behind it are the future.
        predictions: What was expected.
        decisions: What the policy made of it.
        residents: What was ready.
        budget: What was free, and what things cost.
    """

    session: SessionScript
    step: int
    predictions: Sequence[Prediction]
    decisions: Sequence[Decision]
    residents: Collection[str]
    budget: Budget


class Watcher(Protocol):
    """Is shown every moment of a run, in order."""

    def see(self, moment: Moment) -> None:
        """Look at one moment; what it refers to is valid during the call only."""


class MemoryTrace:
    """How many bytes the store in play held, and when that changed.

    Attributes:
        points: Seconds on the virtual clock, and resident bytes from then on.
    """

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = []

    def held(self, bytes_: int) -> None:
        """Note what is held now."""
        self.points.append((asyncio.get_running_loop().time(), bytes_))


def watched(casting: Casting, watchers: Sequence[Watcher], memory: MemoryTrace | None = None) -> Casting:
    """Return a casting whose parts do the same and are watched."""

    def cast(sessions: Sequence[SessionScript]) -> Cast:
        parts = casting(sessions)
        if watchers:
            place = _Place(sessions)
            predictor = _WatchedPredictor(parts.predictor, place)
            policy = _WatchedPolicy(parts.policy, place, watchers)
            parts = msgspec.structs.replace(parts, predictor=predictor, policy=policy)
        if memory is not None:
            parts = msgspec.structs.replace(parts, eviction=WatchedEviction(parts.eviction, memory.held))
        return parts

    return cast


class _Place:
    """Where in the script a store's manager is: it observes every event of its sessions once, in order."""

    def __init__(self, sessions: Sequence[SessionScript]) -> None:
        self._steps = self._walk(sessions)
        self.session: SessionScript
        self.step: int

    def advance(self) -> None:
        self.session, self.step = next(self._steps)

    @staticmethod
    def _walk(sessions: Sequence[SessionScript]) -> Iterator[tuple[SessionScript, int]]:
        for session in sessions:
            for step in range(len(session.steps)):
                yield session, step


class _WatchedPredictor:
    """Passes everything on, and keeps the place."""

    def __init__(self, inner: Predictor, place: _Place) -> None:
        self.name = inner.name
        self._inner = inner
        self._place = place

    def learn_one(self, event: Event) -> None:
        self._place.advance()
        self._inner.learn_one(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        return self._inner.predict(context, steps)

    def snapshot(self) -> Snapshot:
        return self._inner.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        self._inner.restore(snapshot)


class _WatchedPolicy:
    """Passes everything on, and shows what it was asked and what it said."""

    def __init__(self, inner: DecisionPolicy, place: _Place, watchers: Sequence[Watcher]) -> None:
        self.name = inner.name
        self._inner = inner
        self._place = place
        self._watchers = watchers

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        decisions = self._inner.decide(predictions, residents, budget)
        moment = Moment(self._place.session, self._place.step, predictions, decisions, residents, budget)
        for watcher in self._watchers:
            watcher.see(moment)
        return decisions

    def outcome(self, preload: Preload) -> None:
        self._inner.outcome(preload)
