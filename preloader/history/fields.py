"""The fields that several formats share, with the bounds that keep hostile values out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from preloader.events import Event

LAST_SECOND = 253_402_300_799
"""The end of the year 9999: no time of an event is later, and every calendar can show it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Name = Annotated[str, msgspec.Meta(min_length=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND * 1_000)]


class Malformed(ValueError):
    """A record that can be decoded but makes no sense.

    Args:
        field: The field to blame, ``""`` if none.
        reason: What is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


def seconds(moment: datetime, field: str = "timestamp") -> float:
    """Return seconds since 1970; a time without a zone is taken as UTC, so that no machine's own zone matters.

    Raises:
        Malformed: It is before 1970; ``field`` is blamed.
    """
    since = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
    if not 0 <= since <= LAST_SECOND:
        raise Malformed(field, f"{moment.isoformat()} is not between 1970 and the year 9999")
    return since


def checked(event: Event) -> Event:
    """Return the event, once its figures are found to be possible ones.

    Raises:
        Malformed: They are not.
    """
    if not 0 <= event.time_s <= LAST_SECOND:
        raise Malformed("time_s", f"{event.time_s!r} is not a time in seconds since 1970, before the year 10000")
    if event.duration_s is not None and not 0 <= event.duration_s <= LAST_SECOND:
        raise Malformed("duration_s", f"{event.duration_s!r} is not a duration in seconds")
    if not event.action:
        raise Malformed("action", "an event needs an action")
    return event


def moment_s(text: str) -> float:
    """Return seconds since 1970 of a number of seconds, or of an ISO 8601 date and time (UTC where it names no zone).

    Raises:
        ValueError: It is neither; `Malformed` where the date is before 1970.
    """
    try:
        return float(text)
    except ValueError:
        return seconds(datetime.fromisoformat(text))
