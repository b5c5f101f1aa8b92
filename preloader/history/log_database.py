"""The SQLite file beneath the event log: making it, recognising it, and putting SQLite's refusals into words."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from preloader.errors import HistoryError

APPLICATION_ID = 0x50524C44  # "PRLD", which `file` and we know the log by
SCHEMA_VERSION = 1
_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR
_RETRY_S = 0.01

_SCHEMA = (
    # AUTOINCREMENT: a sequence number is never given twice, though the newest events may have been purged.
    "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, time_s REAL NOT NULL, "
    "body BLOB NOT NULL)",
    "CREATE INDEX event_user ON event (user)",
    "CREATE INDEX event_time ON event (time_s)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_REFUSALS = {
    sqlite3.SQLITE_NOTADB: "is no event log: not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or save what is left with `sqlite3 … .recover`",
    sqlite3.SQLITE_BUSY: "is locked by another process; close that, or wait longer with timeout_s",
    sqlite3.SQLITE_LOCKED: "is locked by another connection; close that, or wait longer with timeout_s",
    sqlite3.SQLITE_READONLY: "is read-only, and the log must be written to: make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: its folder must exist and be writable",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; nothing of this call was stored",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite refuses into one sentence.

    Raises:
        HistoryError: In place of any `sqlite3.Error`.
    """
    try:
        yield
    except sqlite3.Error as error:
        known = _REFUSALS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        raise HistoryError(f"{path}: {known or 'the database failed'} ({error})") from error


def open_database(path: Path, *, create: bool, timeout_s: float, survive_power_loss: bool) -> sqlite3.Connection:
    """Open the log's database in WAL mode; the file is readable and writable by its owner alone.

    Args:
        path: The file.
        create: Make it where there is none; otherwise that is an error.
        timeout_s: How long to wait for another process's lock.
        survive_power_loss: Sync the disk at each commit, not only at checkpoints.

    Raises:
        HistoryError: No event log, one of a newer version, damaged, locked, or not writable.
    """
    _protect(path, create)
    with explained(path):
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        with explained(path):
            _identify(connection, path, create)
            _enter_wal(connection, path, timeout_s)
            connection.execute(f"PRAGMA synchronous = {'FULL' if survive_power_loss else 'NORMAL'}")
            connection.execute(f"PRAGMA fullfsync = {survive_power_loss:d}")  # macOS: fsync alone stops at the drive
    except BaseException:
        connection.close()
        raise
    return connection


def truly_erase(connection: sqlite3.Connection, path: Path) -> None:
    """Rewrite the file so that nothing deleted can be found in it or in its ``-wal``.

    ``PRAGMA secure_delete`` would not do: it zeroes the deleted cell, but not the copies that the cell left behind
    where it moved between pages before. VACUUM builds every page anew.

    Raises:
        HistoryError: Another process reads or writes the log, so that the old bytes must stay for now.
    """
    try:
        connection.execute("VACUUM")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        busy = 1
    if busy:
        raise HistoryError(
            f"{path}: removed from the log, but the bytes stay on disk while another process uses it; "
            "close that and repeat"
        )


def _protect(path: Path, create: bool) -> None:
    """Create the file, or narrow its mode, before anything is in it; SQLite gives ``-wal`` and ``-shm`` the same.

    An existing file is never opened here: closing a descriptor of it would drop the POSIX locks that another connection
    of this process holds.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise HistoryError(f"{path}: is no event log: not a regular file")
        if stat.S_IMODE(mode) & ~stat.S_IRWXU:
            path.chmod(stat.S_IMODE(mode) & stat.S_IRWXU)
    except FileNotFoundError:
        if not create:
            raise HistoryError(f"{path}: there is no such event log") from None
        _create(path)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be opened ({error.strerror}): it must be a file of your own") from error


def _create(path: Path) -> None:
    try:
        with suppress(FileExistsError):  # another process was quicker
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    except OSError as error:
        raise HistoryError(f"{path}: cannot be created ({error.strerror}); its folder must exist") from error


def _identify(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    if create and _is_blank(connection):
        connection.execute("BEGIN IMMEDIATE")
        if _is_blank(connection):  # still, now that nobody else can write
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise HistoryError(f"{path}: is no event log: an SQLite database of another program, or an empty one")
    version = _pragma(connection, "user_version")
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"{path}: was written by a newer preloader (schema {version}, this one knows {SCHEMA_VERSION}): upgrade it"
        )


def _is_blank(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return not tables and not _pragma(connection, "application_id")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _enter_wal(connection: sqlite3.Connection, path: Path, timeout_s: float) -> None:
    """Switch to WAL. SQLite does not wait for others here, as it does elsewhere, so we do."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)
            continue
        if mode != "wal":
            raise HistoryError(f"{path}: write-ahead logging does not work here; keep the log on a local disk")
        return
