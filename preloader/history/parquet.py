"""Events as a Parquet table, for other tools and for histories larger than memory.

==============  ====================  =======================================================
column          type                  holds
==============  ====================  =======================================================
``user``        string                as in `Event`, and so the others
``session``     string
``time_s``      double                seconds since 1970
``action``      string
``text``        string, nullable
``resources``   list of strings
``duration_s``  double, nullable
``ok``          bool, nullable
``context``     string                the mapping, as JSON
==============  ====================  =======================================================

The first four must be there; a missing one of the others counts as absent in every row, further columns are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from preloader.errors import HistoryError, require
from preloader.events import ContextValue, Event
from preloader.history.fields import Malformed, checked
from preloader.history.lines import UNDECODABLE, blame
from preloader.history.partition_names import directories, is_partitioned, parts
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

_MAGIC = b"PAR1"
_ROWS = 8_192  # a row group, and a batch: what is held in memory at once
_REQUIRED = ("user", "session", "time_s", "action")
_OPTIONAL = ("text", "resources", "duration_s", "ok", "context")
_CONTEXT = msgspec.json.Decoder(dict[str, ContextValue])


class ParquetReader:
    """Reads what `write_parquet` writes, a batch of rows at a time. Needs the extra ``parquet``.

    A directory that is partitioned by user is read user by user (`preloader.history.partitions` reads one of them).
    """

    name = "parquet"
    kinds: tuple[str, ...] = ()
    rule = SplitRule()

    def detects(self, path: Path) -> bool:
        """Return whether the file begins as Parquet files do, or the directory is partitioned by user."""
        if path.is_dir():
            return is_partitioned(path)
        try:
            with path.open("rb") as file:
                return file.read(len(_MAGIC)) == _MAGIC
        except OSError:
            return False

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per row; see `Reader.read`. A record's line is the number of its row, from 1.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        for file in _files(path):
            yield from self._read(file, report)
        report.finish()

    def _read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        for number, row in enumerate(_rows(path), 1):
            try:
                event = _event(row)
            except UNDECODABLE as error:
                report.skip(path, number, *blame(error))
            else:
                report.ok()
                yield event


def write_parquet(events: Iterable[Event], path: Path) -> int:
    """Write events to a file, a row group at a time, and return how many there were.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow = require("pyarrow", "parquet")
    tables = require("pyarrow.parquet", "parquet")
    schema = _schema(arrow)
    stream = iter(events)
    count = 0
    with tables.ParquetWriter(path, schema) as writer:
        while rows := [_row(event) for event in islice(stream, _ROWS)]:
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    try:
        for directory in directories(path):
            yield from parts(path / directory)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read ({error.strerror or error})") from error


def _schema(arrow: Any) -> Any:
    text, number = arrow.string(), arrow.float64()
    return arrow.schema(
        [
            arrow.field("user", text, nullable=False),
            arrow.field("session", text, nullable=False),
            arrow.field("time_s", number, nullable=False),
            arrow.field("action", text, nullable=False),
            arrow.field("text", text),
            arrow.field("resources", arrow.list_(text), nullable=False),
            arrow.field("duration_s", number),
            arrow.field("ok", arrow.bool_()),
            arrow.field("context", text, nullable=False),
        ]
    )


def _row(event: Event) -> dict[str, Any]:
    row = msgspec.structs.asdict(event)
    return {**row, "context": msgspec.json.encode(event.context).decode()}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    arrow = require("pyarrow", "parquet")
    tables = require("pyarrow.parquet", "parquet")
    try:
        with tables.ParquetFile(path) as table:
            present = set(table.schema_arrow.names)
            missing = [name for name in _REQUIRED if name not in present]
            if missing:
                raise HistoryError(f"{path}: there is no column {missing[0]!r}; the columns are {sorted(present)}")
            columns = [name for name in (*_REQUIRED, *_OPTIONAL) if name in present]
            for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise HistoryError(f"{path}: not a readable Parquet file ({str(error).partition(chr(10))[0]})") from error


def _event(row: Mapping[str, Any]) -> Event:
    fields = {name: value for name, value in row.items() if value is not None}
    try:
        context = _CONTEXT.decode(fields.pop("context", "{}"))
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise Malformed("context", "expected a JSON object of plain values") from error
    return checked(msgspec.convert({**fields, "context": context}, Event))
