"""Sessions, and which of them may be learned from: the splits that every published figure uses.

Each reader states its `SplitRule` as data, so that evaluation and replay cut a history at the same place.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from preloader.events import Event

Order = Literal["time", "task", "shuffled"]


class SplitRule(msgspec.Struct, frozen=True):
    """How a history is cut into a part that may be fitted and a part that is only tested on.

    Attributes:
        order: What orders a stream's sessions: the time of their first event; their ``task_id`` (by length, then text),
            where all sessions of a task fall on one side; or a seeded shuffle.
        per_user: Whether each user is a stream; otherwise all sessions are one.
        min_sessions: Streams with fewer sessions are left out.
        fit_percent: How much of each stream, rounded down to whole sessions (tasks), may be fitted.
    """

    order: Order = "time"
    per_user: bool = True
    min_sessions: int = 2
    fit_percent: int = 80


class Session(msgspec.Struct, frozen=True):
    """One user's session and its events, in order."""

    user: str
    session: str
    events: tuple[Event, ...]

    @property
    def start_s(self) -> float:
        """When its first event began."""
        return self.events[0].time_s

    @property
    def task(self) -> str:
        """The ``task_id`` of its first event's context, or its own id."""
        return str(self.events[0].context.get("task_id", self.session))


class Stream(msgspec.Struct, frozen=True):
    """Sessions that are split together, in their rule's order: usually one user's."""

    name: str
    sessions: tuple[Session, ...]


def group_sessions(events: Iterable[Event]) -> list[Session]:
    """Gather events into sessions, in order of first appearance; within each, events are ordered by time (stable)."""
    gathered: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        gathered.setdefault((event.user, event.session), []).append(event)
    return [
        Session(user, session, tuple(sorted(members, key=lambda event: event.time_s)))
        for (user, session), members in gathered.items()
    ]


def order_sessions(sessions: Iterable[Session], rule: SplitRule, seed: int = 0) -> list[Session]:
    """Return the sessions in the order that the rule gives them, whatever order they came in.

    Args:
        sessions: A history, or one of its official parts.
        rule: The reader's rule.
        seed: Of the shuffle, where the rule wants one.
    """
    ordered = sorted(sessions, key=lambda session: (session.start_s, session.user, session.session))
    if rule.order == "shuffled":
        random.Random(seed).shuffle(ordered)
    elif rule.order == "task":
        ordered.sort(key=_task_order)
    return ordered


def streams(sessions: Iterable[Session], rule: SplitRule, seed: int = 0) -> list[Stream]:
    """Return the rule's streams, by name, without those that have too few sessions."""
    members: dict[str, list[Session]] = defaultdict(list)
    for session in order_sessions(sessions, rule, seed):
        members[session.user if rule.per_user else ""].append(session)
    return [Stream(name, tuple(held)) for name, held in sorted(members.items()) if len(held) >= rule.min_sessions]


def split_sessions(sessions: Iterable[Session], rule: SplitRule, seed: int = 0) -> tuple[list[Session], list[Session]]:
    """Split a history into what may be fitted and what is test.

    Both parts come in the rule's order over all streams, so that learning online sees them as they happened.

    Args:
        sessions: The whole history.
        rule: The reader's rule.
        seed: Of the shuffle, where the rule wants one.

    Returns:
        The sessions to fit and the sessions to test on.
    """
    fit: list[Session] = []
    test: list[Session] = []
    for stream in streams(sessions, rule, seed):
        fitted = _fitted(stream.sessions, rule)
        for session in stream.sessions:
            (fit if _unit(session, rule) in fitted else test).append(session)
    if rule.per_user:
        return order_sessions(fit, rule, seed), order_sessions(test, rule, seed)
    return fit, test


def _fitted(sessions: Sequence[Session], rule: SplitRule) -> set[str]:
    units = list(dict.fromkeys(_unit(session, rule) for session in sessions))
    return set(units[: len(units) * rule.fit_percent // 100])


def _unit(session: Session, rule: SplitRule) -> str:
    """Name what falls on one side as a whole."""
    return session.task if rule.order == "task" else f"{session.user}\0{session.session}"


def _task_order(session: Session) -> tuple[str, int, str]:
    return session.user, len(session.task), session.task
