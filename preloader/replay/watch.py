"""Looks over the shoulders of a run's predictor, policy and store, without changing what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from preloader.events import Context, Decision, Event, Prediction, Preload
from preloader.ports import (
    AdaptiveEviction,
    Budget,
    DecisionPolicy,
    EvictionPolicy,
    Predictor,
    Resident,
    Snapshot,
)
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
            parts = msgspec.structs.replace(parts, eviction=_WatchedEviction(parts.eviction, memory))
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


class _WatchedEviction:
    """Passes everything on, and adds up what is resident."""

    def __init__(self, inner: EvictionPolicy, memory: MemoryTrace) -> None:
        self.name = inner.name
        self._inner = inner
        self._adaptive = inner if isinstance(inner, AdaptiveEviction) else None
        self._memory = memory
        self._bytes: dict[str, int] = {}

    def resized(self, capacity_bytes: int) -> None:
        if self._adaptive is not None:
            self._adaptive.resized(capacity_bytes)

    def missed(self, key: str) -> None:
        if self._adaptive is not None:
            self._adaptive.missed(key)

    def evicted(self, key: str) -> None:
        if self._adaptive is not None:
            self._adaptive.evicted(key)

    def admitted(self, resident: Resident) -> None:
        self._bytes[resident.key] = resident.bytes
        self._memory.held(sum(self._bytes.values()))
        self._inner.admitted(resident)

    def used(self, key: str) -> None:
        self._inner.used(key)

    def removed(self, key: str) -> None:
        del self._bytes[key]
        self._memory.held(sum(self._bytes.values()))
        self._inner.removed(key)

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        return self._inner.victims(bytes_needed, pinned, predictions, candidate)
