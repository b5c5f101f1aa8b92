"""The graph on disk: one SQLite file of facts, each kept with the hash of the bytes that it was read from.

The file is a cache: what is missing, damaged, of another version or another program's is set aside and read anew. Only
facts are kept; edges follow from them and from which files there are, and are found again in memory.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from preloader.telemetry import logger
from preloader.workspace.graph.facts import Definition, FileFacts

APPLICATION_ID = 0x50524C47  # "PRLG"
SCHEMA_VERSION = 2
"""Raised whenever the tables change, or what the readers find in the same bytes."""

FILE_NAME = "code-graph.sqlite3"
BUSY_S = 2.0
_SIDECARS = ("", "-wal", "-shm")
_SCHEMA = (
    "CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, read_ns INTEGER NOT NULL, digest BLOB NOT NULL, facts BLOB)",
    "CREATE TABLE definition (name TEXT NOT NULL, file INTEGER NOT NULL, line INTEGER NOT NULL, "
    "end_line INTEGER NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL)",
    "CREATE INDEX definition_name ON definition (name)",
    "CREATE INDEX definition_file ON definition (file)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Stamp(Struct, frozen=True):
    """How a file was when it was read.

    Attributes:
        size: Its bytes.
        mtime_ns: When it was changed last, as the file system says.
        ctime_ns: When its entry was: that of a file which is put in its place with its time of change kept.
        read_ns: When it was read; a change of the same moment would not show in these.
        digest: BLAKE2b of its bytes.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    read_ns: int
    digest: bytes


_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH})


def is_damaged(error: sqlite3.Error) -> bool:
    """Return whether an error says that the file is of no use, and not that it is locked, full or not to be written."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED


class Foreign(Exception):
    """The file is not what this module writes."""


class Store:
    """Keeps facts by path. Not thread-safe: its owner lets one thread in at a time.

    Where the file turns out to be damaged or full while it is in use, a method raises `sqlite3.Error`.

    Args:
        directory: Where the file is, or is to be, made where it is missing; in memory alone where ``None``.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / FILE_NAME if directory is not None else None
        self._database = self._opened()
        self._decoder = msgspec.json.Decoder(FileFacts)

    def close(self) -> None:
        """Close the file; what was not committed is lost."""
        self._database.close()

    def start_anew(self, *, on_disk: bool) -> None:
        """Set the file aside and begin an empty one, in memory alone where the disk is not to be used again."""
        with suppress(sqlite3.Error):
            self._database.close()
        if self._path is not None and on_disk:
            _set_aside(self._path)
        self._path = self._path if on_disk else None
        self._database = self._opened()

    def commit(self) -> None:
        """Make what was put lasting."""
        self._database.commit()

    def stamps(self) -> dict[str, Stamp]:
        """Return how each file was when it was read."""
        rows = self._database.execute("SELECT path, size, mtime_ns, ctime_ns, read_ns, digest FROM file")
        return {path: Stamp(*stamp) for path, *stamp in rows}

    def facts(self, path: str) -> FileFacts | None:
        """Return the facts of a file, ``None`` where there are none."""
        row = self._database.execute("SELECT facts FROM file WHERE path = ?", (path,)).fetchone()
        if row is None or row[0] is None:
            return None
        try:
            return self._decoder.decode(row[0])
        except (msgspec.DecodeError, TypeError) as error:
            raise sqlite3.DatabaseError(f"the facts of {path} are none: {error}") from error

    def put(self, path: str, stamp: Stamp, facts: FileFacts | None) -> None:
        """Enter a file in place of what was known of it."""
        self.discard(path)
        body = msgspec.json.encode(facts) if facts is not None else None
        cursor = self._database.execute(
            "INSERT INTO file (path, size, mtime_ns, ctime_ns, read_ns, digest, facts) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (path, stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.read_ns, stamp.digest, body),
        )
        key = cursor.lastrowid
        self._database.executemany(
            "INSERT INTO definition VALUES (?, ?, ?, ?, ?, ?)",
            ((one.name, key, one.line, one.end_line, one.kind, one.parent) for one in _definitions(facts)),
        )

    def restamp(self, path: str, stamp: Stamp) -> None:
        """Enter that a file was looked at again and has the bytes that it had."""
        self._database.execute(
            "UPDATE file SET size = ?, mtime_ns = ?, ctime_ns = ?, read_ns = ?, digest = ? WHERE path = ?",
            (stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.read_ns, stamp.digest, path),
        )

    def discard(self, path: str) -> None:
        """Remove a file."""
        row = self._database.execute("SELECT id FROM file WHERE path = ?", (path,)).fetchone()
        if row is not None:
            self._database.execute("DELETE FROM definition WHERE file = ?", row)
            self._database.execute("DELETE FROM file WHERE id = ?", row)

    def defining(self, name: str, limit: int) -> Iterator[tuple[str, Definition]]:
        """Yield the definitions of a name, each with its file, in the order of paths."""
        rows = self._database.execute(
            "SELECT path, kind, line, end_line, parent FROM definition JOIN file ON file.id = definition.file "
            "WHERE name = ? ORDER BY path, line LIMIT ?",
            (name, limit),
        )
        for path, kind, line, end_line, parent in rows.fetchall():
            yield path, Definition(name, kind, line, end_line, parent)

    def _opened(self) -> sqlite3.Connection:
        if self._path is None:
            return _memory()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return _open(self._path)
        except (sqlite3.Error, OSError, Foreign) as error:
            if not isinstance(error, Foreign) and not (isinstance(error, sqlite3.Error) and is_damaged(error)):
                logger.warning("%s cannot be used (%s): the code graph is kept in memory", self._path, error)
                return _memory()
            aside = _set_aside(self._path)
            logger.warning("%s is no code graph of this version (%s): set aside as %s", self._path, error, aside)
            return _open(self._path)


def _definitions(facts: FileFacts | None) -> Iterable[Definition]:
    return facts.definitions if facts is not None else ()


def _memory() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    for statement in _SCHEMA:
        database.execute(statement)
    return database


def _open(path: Path) -> sqlite3.Connection:
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=True)
    database = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables and not _pragma(database, "application_id"):
            for statement in _SCHEMA:
                database.execute(statement)
            database.commit()
        if (found := _pragma(database, "application_id")) != APPLICATION_ID:
            raise Foreign(f"application {found:#x}")
        if (version := _pragma(database, "user_version")) != SCHEMA_VERSION:
            raise Foreign(f"schema {version}, not {SCHEMA_VERSION}")
        _check(database)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    """Raise where the file is damaged."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= {"file", "definition"}:
        raise Foreign(f"its tables are {', '.join(sorted(tables)) or 'missing'}")
    with closing(database.execute("PRAGMA quick_check(1)")) as rows:
        verdict = rows.fetchone()[0]
    if verdict != "ok":
        raise Foreign(str(verdict))


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _set_aside(path: Path) -> Path:
    """Move a file that is of no use out of the way, in the place of one that was moved there before."""
    aside = path.with_name(f"{path.name}.set-aside")
    for suffix in _SIDECARS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    return aside
