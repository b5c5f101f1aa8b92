"""Histories kept as CSV: a header line, and one event per row, in columns of any name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from preloader.errors import HistoryError
from preloader.events import ContextValue, Event, resource_key
from preloader.history.fields import Malformed, checked, moment_s
from preloader.history.gaps import GapSessions
from preloader.history.lines import UNDECODABLE, blame, head, lines
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

FIELDS = ("user", "session", "time_s", "action", "text", "duration_s", "ok")
"""What a column may hold, besides ``resource.KIND`` (a name of that kind) and ``context.NAME``."""

_REQUIRED = ("time_s", "action")
_RESOURCE = "resource."
_CONTEXT = "context."
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class CsvReader:
    """Reads a CSV file with a header line; comma, semicolon and tab are understood.

    Times are seconds since 1970, or ISO 8601. Without a column for them, the user is ``user`` and sessions end at
    pauses of half an hour. Without a ``resource.KIND`` column an event uses ``action:ACTION``.

    Args:
        columns: The column that holds each field, where it is not called as the field is: ``{"user": "who"}``.

    Raises:
        HistoryError: A field in ``columns`` is none that an event has.
    """

    name = "csv"
    kinds: tuple[str, ...] = ()
    rule = SplitRule()

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self._columns = dict(columns or {})
        for field in self._columns:
            if field not in FIELDS and not field.startswith((_RESOURCE, _CONTEXT)):
                raise HistoryError(
                    f"{field!r} is no field of an event; a column can hold {', '.join(FIELDS)}, "
                    "resource.KIND or context.NAME"
                )

    def detects(self, path: Path) -> bool:
        """Return whether the first line names a column for the time and one for the action."""
        first = head(path).partition(b"\n")[0].decode(errors="replace")
        header = _split_header(first)
        return len(header) > 1 and all(self._columns.get(field, field) in header for field in _REQUIRED)

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per row; see `Reader.read`."""
        feed = _Feed(path, report)
        header_line = next(iter(feed), "")
        header = _split_header(header_line)
        if not header_line.strip():
            return
        places = self._places(path, header)
        sessions: dict[str, GapSessions] = {}
        rows = csv.reader(feed, delimiter=_delimiter(header_line))
        while (row := _next_row(rows, feed, path, report)) is not None:
            if not row:
                continue
            try:
                event = _event({field: row[place] for field, place in places.items() if place < len(row)})
            except UNDECODABLE as error:
                report.skip(path, feed.number, *self._in_column(blame(error)))
                continue
            report.ok()
            yield event if "session" in places else _placed(event, sessions, path)
        report.finish()

    def _places(self, path: Path, header: list[str]) -> dict[str, int]:
        named = {field: field for field in header if field in FIELDS or field.startswith((_RESOURCE, _CONTEXT))}
        wanted = {**{field: field for field in _REQUIRED}, **named, **self._columns}
        for field, column in wanted.items():
            if column not in header:
                raise HistoryError(f"{path}:1: there is no column {column!r} for {field}; there are {header}")
        return {field: header.index(column) for field, column in wanted.items()}

    def _in_column(self, blamed: tuple[str, str]) -> tuple[str, str]:
        """Name the column, which is what the user sees, rather than the field."""
        return self._columns.get(blamed[0], blamed[0]), blamed[1]


class _Feed:
    """Lines as `csv` wants them, counted; its own count leaves out lines that were too long."""

    def __init__(self, path: Path, report: ReadReport) -> None:
        self._lines = lines(path, report)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for self.number, line in self._lines:  # noqa: B020 - the attribute is the loop's own counter
            yield line.decode(errors="replace") + "\n"


def _next_row(rows: Iterator[list[str]], feed: _Feed, path: Path, report: ReadReport) -> list[str] | None:
    while True:
        try:
            return next(rows, None)
        except csv.Error as error:
            report.skip(path, feed.number, "", f"not a CSV row: {error}")


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _split_header(line: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]
    except csv.Error:
        return []


def _event(row: Mapping[str, str]) -> Event:
    for field in _REQUIRED:
        if not row.get(field, "").strip():
            raise Malformed(field, "the column is empty")
    resources = [
        resource_key(field.removeprefix(_RESOURCE), name)
        for field, name in row.items()
        if field.startswith(_RESOURCE) and name
    ]
    context: dict[str, ContextValue] = {
        field.removeprefix(_CONTEXT): value for field, value in row.items() if field.startswith(_CONTEXT) and value
    }
    stated = any(field.startswith(_RESOURCE) for field in row)
    event = {
        "user": row.get("user") or "user",
        "session": row.get("session") or "",
        "time_s": _number("time_s", row["time_s"]),
        "action": row["action"],
        "text": row.get("text") or None,
        "resources": resources if stated else [resource_key("action", row["action"])],
        "duration_s": _number("duration_s", row["duration_s"]) if row.get("duration_s") else None,
        "ok": _TRUTH.get(row.get("ok", "").strip().lower()),
        "context": context,
    }
    return checked(msgspec.convert(event, Event))


def _number(field: str, text: str) -> float:
    try:
        return moment_s(text.strip()) if field == "time_s" else float(text)
    except (ValueError, OverflowError) as error:
        wanted = "seconds since 1970 or an ISO 8601 time" if field == "time_s" else "a number of seconds"
        raise Malformed(field, f"expected {wanted}, got {text[:40]!r}") from error


def _placed(event: Event, sessions: dict[str, GapSessions], path: Path) -> Event:
    gaps = sessions.setdefault(event.user, GapSessions(path.name))
    session, time_s = gaps.place(event.time_s)
    return msgspec.structs.replace(event, session=session, time_s=time_s)
