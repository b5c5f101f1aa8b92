"""Scores saved predictors, frozen, on a history whose users are read one at a time.

Nothing is learned, so that a user's figures depend on that user alone: only these, and when each tested session began,
are held of all. They are put together in the order of the test, and so are those of `evaluate` to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from preloader.evaluation.apart import joined, numbered
from preloader.evaluation.cases import items_of
from preloader.evaluation.evaluate import Candidate, Row, row_of
from preloader.evaluation.metrics import Resamples, StepScores
from preloader.evaluation.scoring import score
from preloader.evaluation.task import Task, TaskSummary
from preloader.evaluation.user_tasks import UserTasks
from preloader.history import ReadReport
from preloader.ports import Predictor, Snapshot

_BATCHES = 64  # each sets up the predictors anew


class Survey(msgspec.Struct, frozen=True):
    """What was found in a history before anything is scored.

    Attributes:
        summary: How much there is.
        test: When each test session began, and whose it is; in the order of the test.
    """

    summary: TaskSummary
    test: Sequence[tuple[float, str, str]]


class Batch(msgspec.Struct, frozen=True):
    """Some users, to be scored in one go."""

    users: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.users) - 1} more" if len(self.users) > 1 else ""
        return f"user {self.users[0]!r}{more}"


Scored = list[tuple[str, list[list[list[StepScores]]]]]
"""For each user, for each candidate, for each test session: the scores of each step."""

Divide = Callable[[Callable[[Batch], Scored], Sequence[Batch]], Iterable[Scored]]
"""Applies a pure function to every batch, wherever that is done, and returns the results in order."""


def survey(
    tasks: UserTasks,
    bare: Task,
    report: ReadReport | None = None,
    on_user: Callable[[str], None] = lambda user: None,
) -> Survey:
    """Go through a history once, user by user, and count what there is.

    Args:
        tasks: The users' parts, cut in order of time.
        bare: The task without its sessions.
        report: Counts what could not be read.
        on_user: Called with each user's name, for a progress bar.

    Raises:
        HistoryError: A user's events cannot be read.
    """
    learned: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    test: list[tuple[float, str, str]] = []
    fit_sessions = 0
    for user in tasks.users:
        task = _part(tasks, user, bare, report)
        fit_sessions += len(task.fit)
        learned.update(key for session in task.fit for key in items_of(session, task.kind))
        asked.update(key for session in task.test for key in items_of(session, task.kind))
        test += [(session.start_s, user, session.session) for session in task.test]
        on_user(user)
    unseen = sum(count for key, count in asked.items() if key not in learned)
    summary = TaskSummary(
        fit_sessions=fit_sessions,
        test_sessions=len(test),
        fit_items=learned.total(),
        test_items=asked.total(),
        vocabulary=len(learned),
        unseen_share=unseen / asked.total() if asked else 0.0,
    )
    return Survey(summary, sorted(test))


def evaluate_users(
    tasks: UserTasks,
    bare: Task,
    found: Survey,
    candidates: Sequence[Candidate],
    *,
    seed: int = 0,
    bootstraps: int = 1_000,
    divide: Divide | None = None,
) -> list[Row]:
    """Score candidates, frozen, as `evaluate` does.

    Args:
        tasks: The users' parts.
        bare: The task without its sessions.
        found: What `survey` found in them.
        candidates: Fitted ones, whose context is the session alone (`follows`).
        seed: Of the intervals' resamples.
        bootstraps: How many resamples.
        divide: Has the scoring done elsewhere; `Backend.map` does.

    Raises:
        HistoryError: A user's events cannot be read.
    """
    made = [(candidate.make, candidate.make().snapshot()) for candidate in candidates]
    numbers: dict[str, list[int]] = {}
    for number, (_, user, _) in enumerate(found.test):
        numbers.setdefault(user, []).append(number)
    work = partial(_score_batch, made, tasks, bare)
    by_session: list[dict[int, list[StepScores]]] = [{} for _ in candidates]
    for scored in (divide or map)(work, _batches(list(numbers))):
        for user, said in scored:
            for held, sessions in zip(by_session, said, strict=True):
                held.update(zip(numbers[user], sessions, strict=True))
    resamples = Resamples(len(found.test), bootstraps, seed)
    return [
        row_of(candidate.name, "frozen", step + 1, joined([one[step] for one in _numbered(held)]), resamples)
        for candidate, held in zip(candidates, by_session, strict=True)
        for step in range(bare.steps)
    ]


def _batches(users: Sequence[str]) -> list[Batch]:
    size = -(-len(users) // _BATCHES)
    return [Batch(tuple(users[at : at + size])) for at in range(0, len(users), max(size, 1))]


def _score_batch(
    made: Sequence[tuple[Callable[[], Predictor], Snapshot]], tasks: UserTasks, bare: Task, batch: Batch
) -> Scored:
    predictors = [make() for make, _ in made]
    for predictor, (_, snapshot) in zip(predictors, made, strict=True):
        predictor.restore(snapshot)
    return [(user, _score_user(predictors, _part(tasks, user, bare))) for user in batch.users]


def _score_user(predictors: Sequence[Predictor], task: Task) -> list[list[list[StepScores]]]:
    alone = [msgspec.structs.replace(task, fit=(), test=[session]) for session in task.test]
    return [[score(predictor, one, "frozen") for one in alone] for predictor in predictors]


def _part(tasks: UserTasks, user: str, bare: Task, report: ReadReport | None = None) -> Task:
    """Return a user's prepared task, with the test in order of time."""
    own = tasks.of(user, report)[bare.kind]
    test = sorted(own.test, key=lambda session: (session.start_s, session.session))
    return msgspec.structs.replace(bare, fit=own.fit, test=test).prepared()


def _numbered(held: dict[int, list[StepScores]]) -> list[list[StepScores]]:
    return [numbered(held[number], number) for number in range(len(held))]
