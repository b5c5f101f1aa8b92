"""What a replay plays: sessions as steps, each with its pause, its event, and the resources that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from preloader.events import Event
from preloader.history.splits import Session

Repeats = Literal["dropped", "kept"]


class Step(msgspec.Struct, frozen=True):
    """One event as it is replayed.

    Attributes:
        event: What the manager observes: without result and duration, which are not known yet when it begins.
        pause_s: Time that passes before it, once the previous step was served.
        needs: Resources that are asked for, in order, before it is observed.
        items: Every key of the target kind that it used, repeats included: what a prediction is measured against.
    """

    event: Event
    pause_s: float
    needs: tuple[str, ...]
    items: tuple[str, ...]


class SessionScript(msgspec.Struct, frozen=True):
    """One session as it is replayed.

    Attributes:
        user: As in its events.
        session: As in its events.
        stream: Whose store it uses where stores are kept between sessions.
        steps: Its events, in order.
    """

    user: str
    session: str
    stream: str
    steps: tuple[Step, ...]

    @property
    def start_s(self) -> float:
        """The wall clock when it begins, in seconds since 1970."""
        return self.steps[0].event.time_s

    def needs(self) -> Iterator[str]:
        """Yield all its needs, in order."""
        for step in self.steps:
            yield from step.needs


def write_script(
    sessions: Iterable[Session], kind: str, repeats: Repeats = "dropped", per_user: bool = True
) -> list[SessionScript]:
    """Return what is to be replayed.

    Args:
        sessions: In the order that they shall be replayed in; sessions that overlapped come one after another.
        kind: The resource kind that is needed, and predicted.
        repeats: Whether a key that equals the session's previous one is a need of its own (``kept``) or none.
        per_user: Whether each user is a stream; otherwise all sessions are one.
    """
    return [_session(session, kind, repeats, session.user if per_user else "") for session in sessions]


def vocabulary(sessions: Iterable[Session], kind: str) -> dict[str, int]:
    """Return every key of ``kind`` in a history and how often it was used, the most frequent first."""
    counts: dict[str, int] = {}
    for session in sessions:
        for event in session.events:
            for key in event.keys(kind):
                counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _session(session: Session, kind: str, repeats: Repeats, stream: str) -> SessionScript:
    steps: list[Step] = []
    before_s = session.start_s
    latest = ""
    for event in session.events:
        items = tuple(event.keys(kind))
        needs = items if repeats == "kept" else tuple(_changes(items, latest))
        pause_s = max(0.0, event.time_s - before_s)
        steps.append(Step(event.known_at(event.time_s), pause_s, needs, items))
        before_s = event.time_s
        latest = items[-1] if items else latest
    return SessionScript(session.user, session.session, stream, tuple(steps))


def _changes(items: Sequence[str], latest: str) -> Iterator[str]:
    """Yield the items that differ from the one before them."""
    for item in items:
        if item != latest:
            yield item
        latest = item
