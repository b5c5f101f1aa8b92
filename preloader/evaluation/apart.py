"""Frozen scoring divided by user: nothing is learned, so the sessions of different users can be scored anywhere.

The figures are those of one process to the last bit: scores are put together in the order of the test's sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import numpy as np

from preloader.evaluation.metrics import StepScores
from preloader.evaluation.scoring import score
from preloader.evaluation.task import Task
from preloader.history import Session
from preloader.ports import Predictor, Snapshot

_SHARES = 64  # each sets up the predictor anew


class Share(msgspec.Struct, frozen=True):
    """Some users' test sessions, with their numbers in the whole test."""

    users: tuple[str, ...]
    sessions: tuple[tuple[int, Session], ...]

    def __str__(self) -> str:
        more = f" and {len(self.users) - 1} more" if len(self.users) > 1 else ""
        return f"user {self.users[0]!r}{more}"


Scored = list[tuple[int, list[StepScores]]]
"""Each session's number and the scores of each step."""

Divide = Callable[[Callable[[Share], Scored], Sequence[Share]], Iterable[Scored]]
"""Applies a pure function to every share, wherever that is done, and returns the results in order."""


def score_apart(
    predictor: Predictor, make: Callable[[], Predictor], task: Task, known: set[str] | None, divide: Divide
) -> list[StepScores]:
    """Return what `score` does for a predictor that is frozen and whose context is the session alone.

    Args:
        predictor: Fitted.
        make: Returns a new predictor that can be restored from its snapshot.
        task: What is measured, repeats already removed.
        known: As `score` takes it.
        divide: Has the shares scored.
    """
    bare = msgspec.structs.replace(task, fit=(), test=())
    work = partial(_score_share, make, predictor.snapshot(), bare, known)
    by_session = dict(entry for scored in divide(work, _shares(task.test)) for entry in scored)
    return [joined([by_session[number][step] for number in range(len(task.test))]) for step in range(task.steps)]


def _shares(test: Sequence[Session]) -> list[Share]:
    """Divide the test by user, into equally many sessions as far as users allow."""
    by_user: dict[str, list[tuple[int, Session]]] = {}
    for number, session in enumerate(test):
        by_user.setdefault(session.user, []).append((number, session))
    shares: list[Share] = []
    users: list[str] = []
    held: list[tuple[int, Session]] = []
    for user, sessions in by_user.items():
        users.append(user)
        held += sessions
        if len(held) * _SHARES >= len(test):
            shares.append(Share(tuple(users), tuple(held)))
            users, held = [], []
    return [*shares, Share(tuple(users), tuple(held))] if held else shares


def _score_share(
    make: Callable[[], Predictor], snapshot: Snapshot, bare: Task, known: set[str] | None, share: Share
) -> Scored:
    predictor = make()
    predictor.restore(snapshot)
    return [
        (number, numbered(score(predictor, msgspec.structs.replace(bare, test=[session]), "frozen", known), number))
        for number, session in share.sessions
    ]


def numbered(scores: Sequence[StepScores], number: int) -> list[StepScores]:
    """Return one session's scores with its number in the whole test."""
    return [msgspec.structs.replace(one, session=np.full_like(one.session, number)) for one in scores]


def joined(scores: Sequence[StepScores]) -> StepScores:
    """Return the scores of several sessions as those of all."""
    fields = StepScores.__struct_fields__
    return StepScores(**{name: np.concatenate([getattr(one, name) for one in scores]) for name in fields})
