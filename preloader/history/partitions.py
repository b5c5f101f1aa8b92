"""Histories as one Parquet file per user, so that work on one user reads that user only.

``DIR/user=<name>/part-00000.parquet`` (`partition_names` says how names are encoded), with the columns of
`preloader.history.parquet`: what Spark, DuckDB and `pyarrow.dataset` take for a table partitioned by ``user``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history.parquet import ParquetReader, write_parquet
from preloader.history.partition_names import directories, directory_of, is_partitioned, part_name, parts, user_of
from preloader.history.reader import ReadReport
from preloader.history.sorting import RUN_EVENTS, by_user
from preloader.history.splits import Session, group_sessions


class UserHistory(Protocol):
    """One user's history, wherever it is: what work that is divided by user is given, and sent to workers."""

    @property
    def user(self) -> str:
        """Whose it is."""

    def sessions(self) -> list[Session]:
        """Return the user's sessions, in order of first appearance; the same at every call.

        Raises:
            HistoryError: They cannot be read.
        """


class Partition(msgspec.Struct, frozen=True):
    """A user's history on disk: read when it is asked for, and then only that user's files.

    Attributes:
        root: The partitioned directory, which workers must see under the same path.
        user: Whose it is.
    """

    root: str
    user: str

    def sessions(self) -> list[Session]:
        """See `UserHistory.sessions`; malformed rows are skipped, as far as `ReadReport` lets them be."""
        return group_sessions(self.events(ReadReport()))

    def events(self, report: ReadReport) -> Iterator[Event]:
        """Yield the user's events.

        Raises:
            HistoryError: The files cannot be read, there are none, or they hold an event of somebody else.
            TooManyBadRecords: Too many rows are malformed.
        """
        directory = Path(self.root) / directory_of(self.user)
        for part in _parts(directory, self.user):
            for event in _READER.read(part, report):
                if event.user != self.user:
                    raise HistoryError(f"{part}: an event of {event.user!r} is in the partition of {self.user!r}")
                yield event


class PartitionedHistory:
    """A partitioned directory: it knows its users, and reads none of them until asked.

    Args:
        root: The directory.

    Raises:
        HistoryError: It is not partitioned by user, or cannot be read.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not is_partitioned(self.root):
            raise HistoryError(
                f"{root}: not a directory that is partitioned by user; write one with "
                "preloader history convert --partition-by user"
            )

    def partitions(self) -> Iterator[Partition]:
        """Yield one partition a user, in the order of the directories' names.

        Users are known from these; only where a long name was cut is the first row of the partition looked at.
        """
        for name in _listed(self.root):
            user = user_of(name)
            yield Partition(str(self.root), self._first_user(name) if user is None else user)

    def sessions(self, user: str) -> list[Session]:
        """Return one user's sessions; no file of another's is opened.

        Raises:
            HistoryError: There is no such user, or the partition cannot be read.
        """
        return Partition(str(self.root), user).sessions()

    def _first_user(self, directory: str) -> str:
        for part in _parts(self.root / directory, directory):
            for event in _READER.read(part, ReadReport()):
                if directory_of(event.user) == directory:
                    return event.user
        raise HistoryError(f"{self.root / directory}: no row in it says whose it is")


def write_partitions(events: Iterable[Event], root: Path | str, run_events: int = RUN_EVENTS) -> int:
    """Write events as a directory that is partitioned by user, and return how many there were.

    It appears whole or not at all. Events need not fit in memory, and may come in any order.

    Args:
        events: What to write.
        root: The directory to make; nothing but an empty directory may be there.
        run_events: How many events are held in memory at once.

    Raises:
        HistoryError: ``root`` holds something already, or cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    root = Path(root)
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise HistoryError(f"{root}: is there already; name a directory that does not exist or is empty")
        with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.", suffix=".part") as held:
            runs, draft = Path(held) / "runs", Path(held) / "draft"
            runs.mkdir()
            draft.mkdir()
            count = sum(
                _write_user(draft / directory_of(user), own)
                for user, own in groupby(by_user(events, runs, run_events), key=attrgetter("user"))
            )
            draft.replace(root)
    except OSError as error:
        raise HistoryError(f"{root}: cannot be written ({error.strerror or error})") from error
    return count


def _write_user(directory: Path, events: Iterable[Event]) -> int:
    directory.mkdir()
    return write_parquet(events, directory / part_name(0))


def _listed(root: Path) -> list[str]:
    try:
        return directories(root)
    except OSError as error:
        raise HistoryError(f"{root}: cannot be read ({error.strerror or error})") from error


def _parts(directory: Path, user: str) -> list[Path]:
    try:
        found = parts(directory)
    except OSError as error:
        raise HistoryError(f"{directory}: no partition of user {user!r} ({error.strerror or error})") from error
    if not found:
        raise HistoryError(f"{directory}: the partition of user {user!r} holds no part-*.parquet")
    return found


_READER = ParquetReader()
