"""What was known before each item of an event that has just come: what a predictor may learn the item from."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_

import msgspec

from preloader.events import Context, ContextTracker, Event

_ITEMS_AN_EVENT = 32  # of one kind: an event that uses thousands of resources teaches no more than its first ones
_ENDING = 2  # how many latest events are asked how they ended


def known_before(tracker: ContextTracker, event: Event) -> Context:
    """Return the session before ``event``, as far as it was known when that began."""
    before = tracker.context(event.user, event.session)
    latest = before.recent[-_ENDING:]
    ending = tuple([earlier.known_at(event.time_s) for earlier in latest])
    if all(map(is_, ending, latest)):  # nearly always they had ended by then
        return before
    return Context(before.user, before.session, (*before.recent[:-_ENDING], *ending))


def items_in_context(before: Context, event: Event, kind: str) -> Iterator[tuple[Context, str]]:
    """Yield an event's items of one kind; of the event itself, each knows only the items before it.

    Args:
        before: The session before the event, as `known_before` returns it.
        event: What happened.
        kind: Whose items.

    Yields:
        What was known before the item, and the item.
    """
    keys = event.keys(kind)[:_ITEMS_AN_EVENT]
    for position, key in enumerate(keys):
        if not position:
            yield before, key
            continue
        begun = msgspec.structs.replace(event, resources=tuple(keys[:position]), text=None, ok=None, duration_s=None)
        yield before.after(begun), key
