"""Whether a bundle learned from sessions that it is to be judged on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from preloader.history import Session
from preloader.history.household import HouseholdReader, household_name
from preloader.prediction.manifest import FittedOn, session_hash, shared_user


def name_of(path: Path | str) -> str:
    """Return what a history is called where its users do not tell its sessions apart from another's.

    Raises:
        HistoryError, ConfigurationError: It is the spec of a household, and a wrong one.
    """
    return household_name(str(path)) if HouseholdReader().detects(Path(path)) else str(path)


def learned_from(fitted_on: FittedOn, paths: Sequence[str], sessions: Sequence[Session]) -> int:
    """Return how many of a history's sessions a bundle learned from.

    Args:
        fitted_on: What the bundle learned from.
        paths: Where the history was read from.
        sessions: Some of its sessions.
    """
    learned = set(fitted_on.sessions)
    names = dict.fromkeys([*map(name_of, paths), *paths])

    def hashes(one: Session) -> Iterator[str]:
        yield session_hash(one.user, one.session)
        for name in names:  # where all users of a history share one assistant
            yield session_hash(shared_user(name, one.user), one.session)

    return sum(any(one in learned for one in hashes(session)) for session in sessions)
