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
    "prepared": "files",
    "prepared_then_read": "read",
    "correct": "used",
    "incorrect": "wasted",
    "saved_s": "saved s",
}
_CAPTION = (
    "hits: reads that found their file ready; cold: reads of a file that no call had named, and how many of these were "
    "ready; files: how many were prepared, and how many of them then read; used, wasted: of their preloads; "
    "saved s: seconds that reads did not wait."
)


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
    load_ms: Annotated[float, typer.Option(min=0.0, max=10_000.0, help="How long a file takes to load.")] = 50.0,
    latest: Annotated[int | None, typer.Option(min=1, help="Replay the latest N sessions only.")] = None,
    held_out: Annotated[
        bool, typer.Option(help="Replay those sessions only that `preloader workspace evaluate` leaves for its test.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Replay sessions through a workspace in virtual time: which files were ready when they were read."""
    from preloader.workspace.learn.items import split
    from preloader.workspace.learn.models import load_models
    from preloader.workspace.recorded import Recorded
    from preloader.workspace.recordings import recordings
    from preloader.workspace.replaying import replay_session

    report = ReadReport()
    found = recordings(transcripts, report, format_name)
    warn_of(report)
    if not found:
        raise HistoryError(f"{', '.join(map(str, transcripts))}: holds no session")
    learned = load_models(models) if models else None
    chosen = split(found).test if held_out else found
    chosen = chosen[-(latest or 0) :]
    replayed = {id(one) for one in chosen}
    recorded: defaultdict[str, Recorded] = defaultdict(Recorded)
    results = []
    with progress("replaying", len(found) + len(chosen)) as advance:
        for one in found:
            recorded[one.repository].look(one, is_earlier=id(one) not in replayed)
            advance("looking through")
        for one in chosen:
            of = recorded[one.repository]
            known = of.known if learned else None
            results.append(replay_session(one, files=of.files, models=learned, known=known, load_s=load_ms / 1_000))
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
        figures = {"sessions": 1, **msgspec.structs.asdict(one), **msgspec.structs.asdict(one.statistics)}
        counted = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        for repository in (_ALL, one.repository):
            row = rows.setdefault(repository, {"repository": repository})
            for name, value in counted.items():
                row[name] = row.get(name, 0) + value  # type: ignore[operator]
    return list(rows.values())


def _table(rows: Sequence[dict[str, str | float]]) -> Table:
    table = Table(box=SIMPLE, padding=0, pad_edge=False, caption=_CAPTION, caption_justify="left")
    for heading in ("repository", *_COLUMNS.values()):
        table.add_column(heading, justify="left" if heading == "repository" else "right", no_wrap=True)
    for row in rows:
        table.add_row(str(row["repository"]), *(f"{row[name]:,.1f}".removesuffix(".0") for name in _COLUMNS))
    return table
