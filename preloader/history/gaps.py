"""Sessions for histories that name none: a long pause ends one."""

from __future__ import annotations

GAP_S = 1_800.0
"""A pause this long begins a new session, as web analytics has it since the 1990s."""


class GapSessions:
    """Numbers the sessions of one user by the pauses between events.

    Args:
        prefix: What session names begin with.
        gap_s: The pause that ends a session; a step as far back in time ends it, too.
    """

    def __init__(self, prefix: str, gap_s: float = GAP_S) -> None:
        self._prefix = prefix
        self._gap_s = gap_s
        self._number = -1
        self._latest_s = 0.0

    def place(self, time_s: float) -> tuple[str, float]:
        """Return the session of an event, and its time: never earlier than the event before it in that session."""
        if self._number < 0 or abs(time_s - self._latest_s) >= self._gap_s:
            self._number += 1
            self._latest_s = time_s
        self._latest_s = max(self._latest_s, time_s)
        return f"{self._prefix}:{self._number:05d}", self._latest_s
