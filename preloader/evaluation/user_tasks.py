"""One user's part of a task: from sessions in memory, or from a partition that is read when it is asked for.

Where each user is a stream of its own, what is fitted and what is tested of one user depends on that user's sessions
only, so that both ways give the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from preloader.evaluation.task import Task, cut, task_of_split
from preloader.history import ReadReport, Session, SplitRule, group_sessions
from preloader.history.parquet import ParquetReader
from preloader.history.partitions import Partition, PartitionedHistory


class UserTasks(Protocol):
    """The tasks of a history's users."""

    @property
    def users(self) -> Sequence[str]:
        """Whose tasks there are, in order."""

    def of(self, user: str, report: ReadReport | None = None) -> Mapping[str, Task]:
        """Return a user's task of each kind, whose parts are empty where there is nothing to cut.

        Args:
            user: One of `users`.
            report: Counts what could not be read, where reading it takes place now.

        Raises:
            HistoryError: What holds the user's events cannot be read.
        """


class HeldTasks:
    """Tasks of sessions in memory.

    Args:
        sessions: All users'.
        rule: How they are cut.
        kinds: What is predicted.

    Raises:
        HistoryError: As `task_of_split`.
    """

    def __init__(self, sessions: Sequence[Session], rule: SplitRule, kinds: Iterable[str]) -> None:
        self._tasks = {kind: _divided(task_of_split(sessions, rule, kind)) for kind in kinds}
        self.users: Sequence[str] = sorted({user for tasks in self._tasks.values() for user in tasks})

    def of(self, user: str, report: ReadReport | None = None) -> Mapping[str, Task]:
        """See `UserTasks.of`."""
        del report  # everything was read before
        return {kind: tasks.get(user) or Task(kind, (), ()) for kind, tasks in self._tasks.items()}


class PartitionTasks(msgspec.Struct, frozen=True):
    """Tasks of a history that is partitioned by user: nothing of it is held, and one user is read at a time.

    Attributes:
        root: The directory, which workers must see under the same path.
        rule: How each is cut; every user is a stream.
        kinds: What is predicted.
    """

    root: str
    rule: SplitRule
    kinds: tuple[str, ...]

    @classmethod
    def under(cls, root: Path, kinds: Iterable[str], fit_percent: int | None = None) -> PartitionTasks:
        """Return the tasks of the users beneath a directory, cut as its format says.

        Args:
            root: The directory.
            kinds: What is predicted.
            fit_percent: How much of each stream may be fitted, if not what the format says.

        Raises:
            HistoryError: The directory is not partitioned by user.
        """
        rule = ParquetReader.rule
        if fit_percent is not None:
            rule = msgspec.structs.replace(rule, fit_percent=fit_percent)
        return cls(str(PartitionedHistory(root).root), rule, tuple(kinds))

    @property
    def users(self) -> Sequence[str]:
        """Whose partitions there are now, in the order of their directories."""
        return [partition.user for partition in PartitionedHistory(self.root).partitions()]

    def of(self, user: str, report: ReadReport | None = None) -> Mapping[str, Task]:
        """See `UserTasks.of`."""
        sessions = group_sessions(Partition(self.root, user).events(report or ReadReport()))
        return {kind: cut(sessions, self.rule, kind) for kind in self.kinds}


def _divided(task: Task) -> dict[str, Task]:
    """Return each user's part of a task."""
    fit: dict[str, list[Session]] = {}
    test: dict[str, list[Session]] = {}
    for divided, sessions in ((fit, task.fit), (test, task.test)):
        for session in sessions:
            divided.setdefault(session.user, []).append(session)
    return {user: Task(task.kind, fit.get(user, ()), test.get(user, ())) for user in {**fit, **test}}
