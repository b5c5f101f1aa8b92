"""Types of the fields that several formats share, with the bounds that keep hostile values out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec

LAST_SECOND = 253_402_300_799
"""The end of the year 9999: no time of an event is later, and every calendar can show it."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND * 1_000)]


def seconds(moment: datetime) -> float:
    """Return seconds since 1970; a time without a zone is taken as UTC, so that no machine's own zone matters."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
