"""Who brought or used a resident: what tells whether it is one user's alone."""

from __future__ import annotations

_MAX_USERS = 8
_MAX_SESSIONS = 8


class Owners:
    """The users and sessions of one resident, in bounded memory.

    Past a bound they are only known to be many, and what has many is nobody's alone: nothing is lost by forgetting who.
    """

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[str, set[str]] = {}

    def add(self, user: str, session: str) -> bool:
        """Note that a session brought or used the resident; return whether that was news."""
        sessions = self._sessions.get(user)
        if sessions is None:
            if len(self._sessions) > _MAX_USERS:
                return False
            sessions = self._sessions[user] = set()
        if session in sessions or len(sessions) > _MAX_SESSIONS:
            return False
        sessions.add(session)
        return True

    def only(self, user: str, session: str | None = None) -> bool:
        """Return whether nobody but ``user`` had to do with it, or nothing but that ``session`` of theirs."""
        if self._sessions.keys() != {user}:
            return False
        return session is None or self._sessions[user] == {session}
