"""Whether a bundle can be judged on a history: whether it predicts what is asked for, and did not learn from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from preloader.errors import ConfigurationError
from preloader.history import Session
from preloader.history.household import HouseholdReader, household_name
from preloader.prediction import Bundle
from preloader.prediction.manifest import FittedOn, session_hash, shared_user


def name_of(path: Path | str) -> str:
    """Return what a history is called where its users do not tell its sessions apart from another's.

    Raises:
        HistoryError, ConfigurationError: It is the spec of a household, and a wrong one.
    """
    return household_name(str(path)) if HouseholdReader().detects(Path(path)) else str(path)


def check_kind(bundle: Bundle, kind: str) -> None:
    """Check that a bundle predicts a kind.

    Raises:
        ConfigurationError: It is of others.
    """
    kinds = bundle.manifest.kinds
    if kinds is not None and kind not in kinds:
        raise ConfigurationError(f"{bundle.path} predicts {', '.join(kinds)}, and the target is {kind!r}")


def households_of(paths: Iterable[Path | str]) -> list[str]:
    """Return the names of the simulated households that a history is of, without doubles; none if of anything else.

    Raises:
        HistoryError, ConfigurationError: As for `name_of`.
    """
    paths = list(paths)
    if not all(HouseholdReader().detects(Path(path)) for path in paths):
        return []
    return sorted(set(map(name_of, paths)))


def learned_from(fitted_on: FittedOn, paths: Sequence[str], sessions: Sequence[Session]) -> int:
    """Return how many of a history's sessions a bundle learned from.

    Args:
        fitted_on: What the bundle learned from.
        paths: Where the history was read from.
        sessions: Some of its sessions.
    """
    learned = set(fitted_on.sessions)
    names = dict.fromkeys([*map(name_of, paths), *paths])
    households = households_of(paths)
    only_namesakes = bool(fitted_on.households and households) and not set(fitted_on.households) & set(households)

    def hashes(one: Session) -> Iterator[str]:
        if not only_namesakes:
            yield session_hash(one.user, one.session)
        for name in names:  # where all users of a history share one assistant
            yield session_hash(shared_user(name, one.user), one.session)

    return sum(any(one in learned for one in hashes(session)) for session in sessions)
