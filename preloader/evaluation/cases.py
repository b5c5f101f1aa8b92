"""What is to be predicted, and what may be known when it is: a session walked item by item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from preloader.events import CONTEXT_EVENTS, Context, Event
from preloader.history import Session


class Case(msgspec.Struct, frozen=True):
    """One item to predict.

    Attributes:
        context: All that may be known of its session.
        position: Which item of its session it is, from 0.
    """

    context: Context
    position: int


def items_of(session: Session, kind: str) -> list[str]:
    """Return a session's items of one kind, in order of use."""
    return [key for event in session.events for key in event.keys(kind)]


def without_repeats(session: Session, kind: str) -> Session:
    """Return the session without the items that repeat the one before, and without the events that had no other."""
    last: str | None = None
    events: list[Event] = []
    for event in session.events:
        repeats = False
        kept: list[str] = []
        for key in event.resources:
            if key.startswith(kind + ":"):
                if key == last:
                    repeats = True
                    continue
                last = key
            kept.append(key)
        if not repeats:
            events.append(event)
        elif any(key.startswith(kind + ":") for key in kept):
            events.append(_using(event, kept))
    return Session(session.user, session.session, tuple(events))


def learnable(session: Session) -> Iterator[Event]:
    """Yield the events as they may be learned: each as it was known when the session's next one began."""
    for event, following in pairwise(session.events):
        yield event.known_at(following.time_s)
    yield from session.events[-1:]


def walk(session: Session, kind: str) -> Iterator[tuple[list[Case], Event]]:
    """Yield, event by event, the items of it that are to be predicted, and the event as it may be learned afterwards.

    Nothing of an item's own event is known when it is predicted, except, for the second and later items of one event,
    the items before it. How an earlier event ended, and when, is known only if it had ended when the item's event
    began (``docs/protocols.md``).
    """
    position = 0
    recent: list[Event] = []
    for event, learned in zip(session.events, learnable(session), strict=True):
        keys = event.keys(kind)
        yield [Case(context_before(event, session, recent, keys[:n]), position + n) for n in range(len(keys))], learned
        position += len(keys)
        recent = [*recent[1 - CONTEXT_EVENTS :], event]


def context_before(event: Event, session: Session, recent: Sequence[Event], started: Sequence[str] = ()) -> Context:
    """Return what is known of a session when ``event`` is about to happen.

    Args:
        event: What comes next; only when it begins is used of it.
        session: Its session.
        recent: The latest events before it, oldest first.
        started: Those of its own items that were already used.
    """
    known = [earlier.known_at(event.time_s) for earlier in recent]
    if started:
        begun = msgspec.structs.replace(_using(event, started), text=None, ok=None, duration_s=None)
        known = [*known[1 - CONTEXT_EVENTS :], begun]
    return Context(session.user, session.session, tuple(known))


def _using(event: Event, resources: Sequence[str]) -> Event:
    return msgspec.structs.replace(event, resources=tuple(resources))
