"""``preloader workspace replay``: what a workspace would have been worth in recorded sessions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from preloader.cli.histories import progress, warn_of
from preloader.errors import HistoryError
from preloader.history import ReadReport

if TYPE_CHECKING:
    from preloader.workspace.replaying import Replayed

_ALL = "all"
_COLUMNS = {
    "sessions": "sessions",
    "reads": "reads",
    "hits": "hits",
    "cold": "cold",
    "cold_ready": "ready",
    "correct": "used",
    "incorrect": "wasted",
    "background_s": "loaded s",
    "saved_s": "saved s",
}


def replay(
    transcripts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRANSCRIPT…",
            help="Recorded sessions: files or directories of agent-transcripts, claude-code, codex.",
        ),
    ],
    format_name: Annotated[str | None, typer.Option("--format", help="Their format, if not to be detected.")] = None,
    models: Annotated[
        Path | None, typer.Option(help="Rank by the models of this file (.npz); by rules unless given.")
    ] = None,
    load_ms: Annotated[float, typer.Option(min=0.0, help="How long a file takes to load.")] = 50.0,
    latest: Annotated[int | None, typer.Option(min=1, help="Replay the latest N sessions only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Replay sessions through a workspace in virtual time: which files were ready when they were read."""
    from preloader.workspace.learn.fitting import Known
    from preloader.workspace.learn.models import load_models
    from preloader.workspace.recordings import recordings
    from preloader.workspace.replaying import replay_session

    report = ReadReport()
    found = recordings(transcripts, report, format_name)
    warn_of(report)
    if not found:
        raise HistoryError(f"{', '.join(map(str, transcripts))}: holds no session")
    learned = load_models(models) if models else None
    known: defaultdict[str, Known] = defaultdict(Known)
    results = []
    with progress("replaying", len(found[-(latest or 0) :])) as advance:
        for one in found[-(latest or 0) :]:
            earlier = known[one.repository] if learned else None
            results.append(replay_session(one, models=learned, known=earlier, load_s=load_ms / 1_000))
            advance("replaying")
    rows = _rows(results)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({"rows": rows, "sessions": results})).decode())
    else:
        Console().print(_table(rows))


def _rows(results: Sequence[Replayed]) -> list[dict[str, str | float]]:
    """Return the sums by repository, those of all first."""
    rows: dict[str, dict[str, str | float]] = {}
    for one in results:
        counted = {"sessions": 1, "reads": one.reads, "cold": one.cold, "cold_ready": one.cold_ready}
        counted |= {name: value for name, value in msgspec.structs.asdict(one.statistics).items() if value is not None}
        for repository in (_ALL, one.repository):
            row = rows.setdefault(repository, {"repository": repository})
            for name, value in counted.items():
                row[name] = row.get(name, 0) + value  # type: ignore[operator]
    return list(rows.values())


def _table(rows: Sequence[dict[str, str | float]]) -> Table:
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    for heading in ("repository", *_COLUMNS.values()):
        table.add_column(heading, justify="left" if heading == "repository" else "right", no_wrap=True)
    for row in rows:
        table.add_row(str(row["repository"]), *(f"{row[name]:,.1f}".removesuffix(".0") for name in _COLUMNS))
    return table
