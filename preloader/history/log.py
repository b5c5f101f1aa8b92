"""The event log of a running assistant: append-only, on SQLite with a write-ahead log.

An event is *acknowledged* when `EventLog.append` or `EventLog.flush` returns: it then survives ``kill -9`` of the
process (and, with ``survive_power_loss``, a power cut). Words are redacted before anything reaches the disk, and what
is removed later (`prune`, `redact_texts`, `purge`) is gone from the files too, not only from the table.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from preloader.errors import ClosedError, ConfigurationError, HistoryError
from preloader.events import Event
from preloader.history.fields import Malformed, checked
from preloader.history.log_database import explained, open_database, truly_erase
from preloader.history.redact import Redaction, drop_words, redact_event
from preloader.history.writing import write

_BATCH = 1_000  # events fetched at once: bounds memory, and how long a reader keeps writers of this log waiting

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class EventLog:
    """Keeps what happened. Safe to use from several threads, and on one file from several processes.

    Every method but `buffer` waits for the disk, so an asyncio program calls them in a thread. Those that remove
    rewrite the whole file: for every day, not for every event. A log does not survive a fork; open it in the child.

    Args:
        path: The file; its folder must exist. Made readable by its owner alone.
        create: Make the file where there is none.
        redact: Applied to each event before it is written; must not raise. By default `redact_event`.
        max_age_s: `prune` removes events older than this.
        max_events: `prune` keeps at most this many, the newest.
        timeout_s: How long to wait for another process's lock.
        survive_power_loss: Acknowledge only what is on the disk itself; costs a disk sync for each commit.

    Raises:
        ConfigurationError: A limit is not positive.
        HistoryError: The file is no event log, of a newer version, damaged, locked, or not writable.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        create: bool = True,
        redact: Redaction = redact_event,
        max_age_s: float | None = None,
        max_events: int | None = None,
        timeout_s: float = 5.0,
        survive_power_loss: bool = False,
    ) -> None:
        for name, limit in (("max_age_s", max_age_s), ("max_events", max_events)):
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} is {limit}; it must be positive, or None for no limit")
        self.path = Path(path)
        self.max_age_s = max_age_s
        self.max_events = max_events
        self._redact = redact
        self._lock = threading.RLock()  # one connection, one user at a time
        self._buffered: deque[Event] = deque()  # filled by any thread, drained under the lock
        self._closed = False
        self._connection = open_database(
            self.path, create=create, timeout_s=timeout_s, survive_power_loss=survive_power_loss
        )

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return how many events are stored; buffered ones do not count."""
        return int(self._query("SELECT count(*) FROM event")[0][0])

    @property
    def buffered(self) -> int:
        """How many events wait for `flush`."""
        return len(self._buffered)

    def append(self, events: Event | Iterable[Event]) -> None:
        """Store events, after those that are buffered, in one transaction: all of them or, if this raises, none.

        Raises:
            ClosedError: The log is closed.
            HistoryError: An event is malformed, or the file cannot be written.
        """
        new = [events] if isinstance(events, Event) else list(events)
        for event in new:
            _check(event)
        self._store(new)

    def buffer(self, event: Event) -> None:
        """Keep an event in memory until the next `flush` or `append`, without touching the disk: not yet acknowledged.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The event is malformed.
        """
        if self._closed:
            raise ClosedError(f"{self.path}: the event log is closed")
        _check(event)
        self._buffered.append(event)

    def flush(self) -> None:
        """Store what is buffered, in one transaction; if this raises, it stays buffered.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The file cannot be written.
        """
        self._store([])

    def events(self, user: str | None = None, since_s: float | None = None) -> Iterator[Event]:
        """Yield the events that are stored when the iteration begins, in the order in which they were appended.

        Streams in batches, and holds no lock between them.

        Args:
            user: Only this user's.
            since_s: Only those that began at or after this time, in seconds since 1970.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The file cannot be read, or a record in it is malformed.
        """
        for seq, body in self._rows(user=user, since_s=since_s):
            yield _event(self.path, seq, body)

    def export(self, path: Path | str, user: str | None = None) -> int:
        """Write the events as preloader JSONL, one event a line, and return how many.

        The file appears whole or not at all, replaces one of that name, and is readable by its owner alone.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The log cannot be read, or the file cannot be written.
        """
        return write(self.events(user), path, "jsonl", private=True)

    def prune(self, now_s: float) -> int:
        """Remove, truly, what is past ``max_age_s`` at ``now_s`` or beyond the newest ``max_events``; return how many.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The file cannot be written.
        """
        too_old = self._oldest_kept_s(now_s)
        with self._erasing() as connection:
            removed = connection.execute("DELETE FROM event WHERE time_s < ?", (too_old,)).rowcount
            if self.max_events is not None:
                newest = "SELECT seq FROM event ORDER BY seq DESC LIMIT 1 OFFSET ?"
                removed += connection.execute(
                    f"DELETE FROM event WHERE seq <= ({newest})",  # noqa: S608 (a constant)
                    (self.max_events,),
                ).rowcount
        return removed

    def purge(self, user: str) -> int:
        """Remove everything of one user, truly, and return how many events that were.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The file cannot be written.
        """
        with self._erasing() as connection:
            return connection.execute("DELETE FROM event WHERE user = ?", (user,)).rowcount

    def redact_texts(self, before_s: float, redact: Redaction = drop_words) -> int:
        """Redact what is already stored, truly, and return how many events changed.

        Args:
            before_s: Events that began before this time, in seconds since 1970.
            redact: What becomes of them; by default their words are dropped.

        Raises:
            ClosedError: The log is closed.
            HistoryError: The file cannot be written, or a record in it is malformed.
        """
        changed = 0
        with self._erasing() as connection:
            for seq, body in self._rows(before_s=before_s):
                redacted = _encode(redact(_event(self.path, seq, body)))
                if redacted != body:
                    connection.execute("UPDATE event SET body = ? WHERE seq = ?", (redacted, seq))
                    changed += 1
        return changed

    def close(self) -> None:
        """Store what is buffered and close the file; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._connection.close()

    def _store(self, new: Sequence[Event]) -> None:
        with self._lock:
            waiting = [self._buffered.popleft() for _ in range(len(self._buffered))]
            try:
                rows = [_row(self._redact(event)) for event in (*waiting, *new)]
                with self._transaction() as connection:
                    connection.executemany("INSERT INTO event (user, time_s, body) VALUES (?, ?, ?)", rows)
            except BaseException:
                self._buffered.extendleft(reversed(waiting))
                raise

    def _oldest_kept_s(self, now_s: float) -> float:
        return float("-inf") if self.max_age_s is None else now_s - self.max_age_s

    def _rows(
        self, user: str | None = None, since_s: float | None = None, before_s: float | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield sequence number and body, paging by the number, so that nothing is held open between two pages."""
        filters = {"user = ?": user, "time_s >= ?": since_s, "time_s < ?": before_s}
        chosen = {clause: value for clause, value in filters.items() if value is not None}
        clauses = " AND ".join(("seq > ?", "seq <= ?", *chosen))
        page = f"SELECT seq, body FROM event WHERE {clauses} ORDER BY seq LIMIT {_BATCH}"  # noqa: S608 (constants)
        last = self._query("SELECT coalesce(max(seq), 0) FROM event")[0][0]
        seq = 0
        while rows := self._query(page, seq, last, *chosen.values()):
            yield from rows
            seq = rows[-1][0]

    def _query(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            self._require_open()
            with explained(self.path):
                return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block writes, or nothing. Takes the write lock first: a later upgrade could only fail."""
        with self._lock:
            self._require_open()
            with explained(self.path):
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise

    @contextmanager
    def _erasing(self) -> Iterator[sqlite3.Connection]:
        """Store what is buffered, commit what the block removes, and leave no trace of it in the files."""
        with self._lock:
            self.flush()
            with self._transaction() as connection:
                yield connection
            with explained(self.path):
                truly_erase(self._connection, self.path)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.path}: the event log is closed")


def _check(event: Event) -> None:
    """Refuse an event that could be written and not read back: a NaN time, a number for a name, a broken key."""
    try:
        checked(_decode(_encode(event)))
    except (msgspec.MsgspecError, Malformed, UnicodeError, TypeError) as error:
        raise HistoryError(f"event {event.action!r} of user {event.user!r} cannot be logged: {error}") from error


def _row(event: Event) -> tuple[str, float, bytes]:
    return event.user, event.time_s, _encode(event)


def _event(path: Path, seq: int, body: bytes) -> Event:
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise HistoryError(f"{path}: event {seq} is malformed: {error}") from error
