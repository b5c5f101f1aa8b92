"""``preloader history``: look into histories of any known format, and convert them to the package's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history import (
    DEFAULT_MAX_BAD_SHARE,
    READERS,
    WRITERS,
    CsvReader,
    Reader,
    ReadReport,
    discover_mine,
    sources,
    write,
)
from preloader.history.partitions import write_partitions
from preloader.history.redact import redact_event
from preloader.history.summary import KindSummary, Quantiles, Summary, summarize

_SHOWN_PLACES = 5  # bad records whose place the table names; --json has more
_SHOWN_TOP = 5
_STEP = 1_000  # events between two updates of the progress bar

_Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Files, directories or repositories.", show_default=False),
]
_Format = Annotated[
    str | None, typer.Option("--format", help=f"Their format, if not to be detected: {', '.join(READERS)}.")
]
_Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=COLUMN", help="For csv: which column holds a field; repeat as needed."),
]
_Mine = Annotated[bool, typer.Option("--mine", help="Your own agent transcripts and shell histories.")]
_MaxBad = Annotated[
    float, typer.Option("--max-bad-share", help="Fail when a larger share of records is malformed, 0 to 1.")
]


class Partitioning(StrEnum):
    """What a converted history can be partitioned by."""

    USER = "user"


def register(app: typer.Typer) -> None:
    """Add ``preloader history`` to the application."""
    group = typer.Typer(help="Look into histories, and convert them.", no_args_is_help=True)
    group.command()(inspect)
    group.command()(convert)
    app.add_typer(group, name="history")


def inspect(
    paths: _Paths = None,
    format_name: _Format = None,
    column: _Columns = None,
    mine: _Mine = False,
    max_bad_share: _MaxBad = DEFAULT_MAX_BAD_SHARE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Show users, sessions, span, vocabulary, repeats, gaps, durations, and what could not be read."""
    report = _report(max_bad_share)
    found = _found(paths, format_name, column, mine)
    with _watched(found, report) as events:
        summary = summarize(events)
    if as_json:
        print(msgspec.json.encode(_document(found, summary, report)).decode())
    else:
        _show(Console(), found, summary, report)


def convert(
    out: Annotated[Path, typer.Option(help="The file or directory to write.", show_default=False)],
    paths: _Paths = None,
    to: Annotated[
        str | None, typer.Option(help=f"The format to write: {', '.join(WRITERS)}; jsonl, or parquet for partitions.")
    ] = None,
    partition_by: Annotated[
        Partitioning | None, typer.Option(help="Write a directory of Parquet files, one for each user.")
    ] = None,
    format_name: _Format = None,
    column: _Columns = None,
    mine: _Mine = False,
    redact: Annotated[bool, typer.Option("--redact", help="Mask what is private in the words.")] = False,
    max_bad_share: _MaxBad = DEFAULT_MAX_BAD_SHARE,
) -> None:
    """Write histories as one file, or directory, of preloader's own; it appears whole or not at all."""
    if partition_by and to not in (None, "parquet"):
        raise HistoryError(f"--partition-by writes parquet, and --to is {to!r}; leave one of them out")
    report = _report(max_bad_share)
    found = _found(paths, format_name, column, mine)
    with _watched(found, report) as events:
        chosen = map(redact_event, events) if redact else events
        count = write_partitions(chosen, out) if partition_by else write(chosen, out, to or "jsonl")
    console = Console(stderr=True)
    console.print(f"Wrote {count:,} events to {out}; skipped {report.bad:,} bad records.", markup=False, soft_wrap=True)
    for place in report.examples[:_SHOWN_PLACES]:
        console.print(f"  {_printable(str(place), 200)}", markup=False, highlight=False, soft_wrap=True)


def _found(
    paths: Sequence[Path] | None, format_name: str | None, columns: Sequence[str] | None, mine: bool
) -> list[tuple[Reader, Path]]:
    """Return the files that the options name and their readers."""
    if mine == bool(paths):
        raise HistoryError("name the histories to read, or --mine for your own, and not both")
    if mine:
        found = discover_mine()
        if not found:
            raise HistoryError("no transcripts of Claude Code or Codex, and no zsh, bash or fish history, were found")
        return found
    mapping = dict(_pair(text) for text in columns or ())
    if mapping and format_name not in (None, "csv"):
        raise HistoryError(f"--column is for csv, and the format is {format_name}")
    return sources(paths or (), CsvReader(mapping) if mapping else format_name)


def _pair(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not (field and equals and column):
        raise HistoryError(f"--column {text!r} is not of the form FIELD=COLUMN, as in user=who")
    return field, column


def _report(max_bad_share: float) -> ReadReport:
    if not 0 <= max_bad_share <= 1:
        raise HistoryError(f"--max-bad-share {max_bad_share} is not between 0 and 1")
    return ReadReport(max_bad_share)


@contextmanager
def _watched(found: Sequence[tuple[Reader, Path]], report: ReadReport) -> Iterator[Iterable[Event]]:
    """Give the events of all files, while a bar on stderr shows how far their reading is."""
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files · {task.fields[events]:,} events"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        yield _reading(found, report, bar)


def _reading(found: Sequence[tuple[Reader, Path]], report: ReadReport, bar: Progress) -> Iterator[Event]:
    task = bar.add_task("", total=len(found), events=0)
    count = 0
    for reader, path in found:
        bar.update(task, description=_printable(path.name, 40))
        for event in reader.read(path, report):
            yield event
            count += 1
            if count % _STEP == 0:
                bar.update(task, events=count)
        bar.update(task, advance=1, events=count)


def _document(found: Sequence[tuple[Reader, Path]], summary: Summary, report: ReadReport) -> dict[str, Any]:
    return {
        "files": [{"path": str(path), "format": reader.name} for reader, path in found],
        "summary": summary,
        "records": {"good": report.good, "bad": report.bad, "examples": report.examples},
    }


def _show(console: Console, found: Sequence[tuple[Reader, Path]], summary: Summary, report: ReadReport) -> None:
    console.print(_overview(found, summary, report))
    if summary.kinds:
        console.print(_kinds(summary))
    for place in report.examples[:_SHOWN_PLACES]:
        console.print(Text(_printable(str(place), 200), style="yellow"), soft_wrap=True)


def _overview(found: Sequence[tuple[Reader, Path]], summary: Summary, report: ReadReport) -> Table:
    formats = Counter(reader.name for reader, _ in found)
    table = Table(show_header=False, title="History", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "format": ", ".join(f"{name} ({count} file{'s'[: count > 1]})" for name, count in formats.items()),
        "users": f"{summary.users:,}",
        "sessions": f"{summary.sessions:,}",
        "events": f"{summary.events:,}, {summary.with_text:,} with words, {summary.failed:,} failed",
        "span": _span(summary),
        "actions": f"{summary.actions:,}: {_top(summary.top_actions)}",
        "gaps": _spread(summary.gaps_s),
        "durations": _spread(summary.durations_s),
        "records": f"{report.good:,} good, {report.bad:,} bad",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _kinds(summary: Summary) -> Table:
    table = Table(title="Resources", title_justify="left")
    table.add_column("kind", style="bold")
    for name in ("items", "vocabulary", "repeats"):
        table.add_column(name, justify="right")
    table.add_column("most frequent", overflow="fold")
    for name, kind in summary.kinds.items():
        table.add_row(*_kind_row(name, kind))
    return table


def _kind_row(name: str, kind: KindSummary) -> tuple[str, str, str, str, Text]:
    top = {key.partition(":")[2]: count for key, count in kind.top.items()}
    return name, f"{kind.items:,}", f"{kind.vocabulary:,}", f"{kind.repeats_share:.1%}", Text(_top(top, "\n"))


def _top(counts: dict[str, int], between: str = ", ") -> str:
    shown = list(counts.items())[:_SHOWN_TOP]
    return between.join(f"{_printable(name, 48)} {count:,}" for name, count in shown)


def _span(summary: Summary) -> str:
    if summary.first_s is None or summary.last_s is None:
        return "none"
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (summary.first_s, summary.last_s))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {(last - first).days:,} days"


def _spread(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "none"
    return f"median {quantiles.p50:,.3g} s, p10 {quantiles.p10:,.3g} s, p90 {quantiles.p90:,.3g} s ({quantiles.n:,})"


def _printable(text: str, longest: int) -> str:
    """Keep what a history says from steering the terminal, and from filling it."""
    clean = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
