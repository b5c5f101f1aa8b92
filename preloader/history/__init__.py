"""Histories: readers of every format that this package understands, and how their sessions are split.

Give `read` or `load_sessions` paths and they find out the format; `READERS` holds all formats by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history.agent_sessions import AgentSessionsReader
from preloader.history.agent_transcripts import AgentTranscriptsReader
from preloader.history.bash import BashReader
from preloader.history.claude_code import ClaudeCodeReader
from preloader.history.codex import CodexReader
from preloader.history.csvfile import CsvReader
from preloader.history.fish import FishReader
from preloader.history.git import GitReader
from preloader.history.household import HouseholdReader
from preloader.history.jsonl import JsonlReader
from preloader.history.log_reader import EventLogReader
from preloader.history.mine import discover_mine
from preloader.history.parquet import ParquetReader
from preloader.history.reader import DEFAULT_MAX_BAD_SHARE, BadRecord, Reader, ReadReport
from preloader.history.sgd import SgdReader
from preloader.history.splits import (
    Session,
    SplitRule,
    Stream,
    group_sessions,
    order_sessions,
    split_sessions,
    streams,
)
from preloader.history.tau2 import Tau2Reader
from preloader.history.writing import WRITERS, write
from preloader.history.zsh import ZshReader

__all__ = [
    "DEFAULT_MAX_BAD_SHARE",
    "READERS",
    "WRITERS",
    "BadRecord",
    "CsvReader",
    "ReadReport",
    "Reader",
    "Session",
    "SplitRule",
    "Stream",
    "detect",
    "discover_mine",
    "group_sessions",
    "load_sessions",
    "order_sessions",
    "read",
    "reader_of",
    "sources",
    "split_sessions",
    "streams",
    "write",
]

Paths = Path | str | Iterable[Path | str]

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        JsonlReader(),
        ParquetReader(),
        AgentSessionsReader(),
        AgentTranscriptsReader(),
        SgdReader(),
        Tau2Reader(),
        ClaudeCodeReader(),
        CodexReader(),
        ZshReader(),
        BashReader(),
        FishReader(),
        GitReader(),
        CsvReader(),
        EventLogReader(),
        HouseholdReader(),
    )
}
"""Every format by its name, in the order in which detection asks them."""


def detect(path: Path | str) -> Reader:
    """Return the reader of a file's (or repository's) format.

    Raises:
        HistoryError: There is no such path, or its format is not known.
    """
    path = Path(path)
    _must_exist(path)
    for reader in READERS.values():
        if reader.detects(path):
            return reader
    raise HistoryError(f"{path}: not a history of a known format; name one of {', '.join(READERS)} with --format")


def reader_of(format: str | Reader) -> Reader:  # noqa: A002 - the word that users know it by
    """Return the reader of a format's name; a reader stands for itself.

    Raises:
        HistoryError: There is no such format.
    """
    if not isinstance(format, str):
        return format
    if format not in READERS:
        raise HistoryError(f"format {format!r} is not known; it must be one of {', '.join(READERS)}")
    return READERS[format]


def sources(
    paths: Paths,
    format: str | Reader | None = None,  # noqa: A002
) -> list[tuple[Reader, Path]]:
    """Return each file to read and its reader; a directory stands for the histories found in it, by name.

    Args:
        paths: One or several files, directories, or repositories.
        format: The format of all of them, or its reader (a `CsvReader` with its columns); otherwise each is detected.

    Raises:
        HistoryError: A path does not exist, its format is not known, or a directory holds no history.
    """
    reader = reader_of(format) if format else None
    named = [paths] if isinstance(paths, str | Path) else paths
    return [source for path in named for source in _sources(Path(path), reader)]


def read(
    paths: Paths,
    format: str | Reader | None = None,  # noqa: A002
    report: ReadReport | None = None,
) -> Iterator[Event]:
    """Yield the events of all paths, one file after the other.

    Args:
        paths: One or several files, directories, or repositories.
        format: The format of all of them, or its reader (a `CsvReader` with its columns); otherwise each is detected.
        report: Counts good and bad records; the default one refuses more than 5 % bad ones.

    Raises:
        HistoryError: A path cannot be read or its format is not known.
        TooManyBadRecords: Too many records are malformed.
    """
    report = report or ReadReport()
    for reader, path in sources(paths, format):
        yield from reader.read(path, report)


def load_sessions(
    paths: Paths,
    format: str | Reader | None = None,  # noqa: A002
    report: ReadReport | None = None,
) -> list[Session]:
    """Read all paths, as `read` does, and gather the events into sessions, in order of first appearance."""
    return group_sessions(read(paths, format, report))


def _sources(path: Path, reader: Reader | None) -> list[tuple[Reader, Path]]:
    readers = [reader] if reader else list(READERS.values())
    try:
        if not path.is_dir() or any(one.detects(path) for one in readers):
            _must_exist(path)
            return [(reader or detect(path), path)]
        held = [(one, file) for file in sorted(path.rglob("*")) if (one := _detected(file, readers))]
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not held:
        raise HistoryError(f"{path}: no {reader.name if reader else 'known'} history in this directory")
    return held


def _detected(path: Path, readers: Iterable[Reader]) -> Reader | None:
    return next((reader for reader in readers if reader.detects(path)), None) if path.is_file() else None


def _must_exist(path: Path) -> None:
    if not path.exists() and not READERS["household"].detects(path):  # a simulation is named, and needs no file
        raise HistoryError(f"{path}: no such file or directory")
