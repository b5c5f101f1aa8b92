"""Labels that people added to a history afterwards: no assistant sees them while it runs."""

from __future__ import annotations

import msgspec

from preloader.events import Event, kind_of
from preloader.history.splits import Session

ANNOTATED_KINDS = frozenset({"intent"})
"""Kinds that only annotators know. An intent names the call that follows it: to see it would be to see the answer."""


def without_annotations(session: Session, kind: str) -> Session:
    """Return the session as an assistant sees it that predicts ``kind``: without annotations of other kinds.

    An event that was nothing but such annotations is left out.
    """
    hidden = ANNOTATED_KINDS - {kind}
    if not any(kind_of(key) in hidden for event in session.events for key in event.resources):
        return session
    seen = [_seen(event, hidden) for event in session.events]
    return Session(session.user, session.session, tuple(event for event in seen if event is not None))


def _seen(event: Event, hidden: frozenset[str]) -> Event | None:
    kept = tuple(key for key in event.resources if kind_of(key) not in hidden)
    if len(kept) == len(event.resources):
        return event
    if not kept and event.text is None:
        return None
    return msgspec.structs.replace(event, resources=kept)
