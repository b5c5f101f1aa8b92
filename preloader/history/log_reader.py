"""Reads the event log of a running assistant as a history: to evaluate, replay or train on what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preloader.events import Event
from preloader.history.lines import head
from preloader.history.log import EventLog
from preloader.history.log_database import APPLICATION_ID
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID_AT = slice(68, 72)  # https://www.sqlite.org/fileformat.html, "Application ID"


class EventLogReader:
    """Reads what `EventLog` writes, also while another process writes it. Which kinds there are, the events say.

    A process that has the log open calls `EventLog.events` instead: `detects` opens and closes the file, and that drops
    the POSIX locks by which SQLite in other processes knows that the log is in use.
    """

    name = "event-log"
    kinds: tuple[str, ...] = ()
    rule = SplitRule()

    def detects(self, path: Path) -> bool:
        """Return whether the file is an event log's database."""
        start = head(path, 100)
        return start.startswith(_MAGIC) and start[_APPLICATION_ID_AT] == APPLICATION_ID.to_bytes(4, "big")

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events in the order in which they were appended; see `Reader.read`."""
        with EventLog(path, create=False) as log:
            for event in log.events():
                report.ok()
                yield event
