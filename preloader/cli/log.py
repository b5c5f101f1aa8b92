"""``preloader log``: take a copy of an event log, and take things out of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import rich
import typer

from preloader.errors import ConfigurationError, HistoryError
from preloader.history.log import EventLog
from preloader.history.redact import drop_words, redact_event

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_Log = Annotated[Path, typer.Argument(metavar="LOG", help="The event log's file.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a sentence.")]


def register(app: typer.Typer) -> None:
    """Add ``preloader log`` to the application."""
    group = typer.Typer(help="Export, prune, redact or purge an event log.", no_args_is_help=True)
    for command in (export, purge, prune, redact):
        group.command()(command)
    app.add_typer(group, name="log")


def export(
    log: _Log,
    to: Annotated[Path, typer.Argument(metavar="JSONL", help="The file to write.", show_default=False)],
    user: Annotated[str | None, typer.Option(help="Only this user's events.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: _Json = False,
) -> None:
    """Write the events as preloader JSONL, one a line."""
    if to.exists() and not force:
        raise HistoryError(f"{to} exists; name another file, or replace it with --force")
    with EventLog(log, create=False) as events:
        count = events.export(to, user)
    _report(as_json, f"Wrote {_counted(count)} to {to}.", log=str(log), written=count, path=str(to))


def purge(
    log: _Log,
    user: Annotated[str, typer.Option(help="The user to forget.", show_default=False)],
    as_json: _Json = False,
) -> None:
    """Remove everything of one user, from the files too."""
    with EventLog(log, create=False) as events:
        removed, remaining = events.purge(user), len(events)
    sentence = f"Removed {_counted(removed)} of {user}; {_counted(remaining)} remain."
    _report(as_json, sentence, log=str(log), removed=removed, remaining=remaining)


def prune(
    log: _Log,
    max_age: Annotated[str | None, typer.Option(help="Remove events older than this: 90d, 12h, 30m, …")] = None,
    max_events: Annotated[int | None, typer.Option(help="Keep at most this many, the newest.")] = None,
    as_json: _Json = False,
) -> None:
    """Remove what is too old or too much, from the files too."""
    if max_age is None and max_events is None:
        raise ConfigurationError("nothing says what to prune; give --max-age, --max-events or both")
    max_age_s = None if max_age is None else duration_s(max_age)
    with EventLog(log, create=False, max_age_s=max_age_s, max_events=max_events) as events:
        removed, remaining = events.prune(time.time()), len(events)
    sentence = f"Removed {_counted(removed)}; {_counted(remaining)} remain."
    _report(as_json, sentence, log=str(log), removed=removed, remaining=remaining)


def redact(
    log: _Log,
    older_than: Annotated[str, typer.Option(help="Only events older than this: 30d, 12h, …")] = "0s",
    drop: Annotated[bool, typer.Option("--drop-words", help="Drop all words, instead of masking what is private.")] = (
        False
    ),
    as_json: _Json = False,
) -> None:
    """Mask e-mail addresses, secrets, long numbers and home directories in what is stored, in the files too."""
    before_s = time.time() - duration_s(older_than)
    with EventLog(log, create=False) as events:
        changed = events.redact_texts(before_s, drop_words if drop else redact_event)
    _report(as_json, f"Redacted {_counted(changed)}.", log=str(log), redacted=changed)


def duration_s(text: str) -> float:
    """Return the seconds that ``90d``, ``12h``, ``30m``, ``2w`` or ``45s`` stand for.

    Raises:
        ConfigurationError: The text is nothing of that kind.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no duration; write a number and s, m, h, d or w, as in 90d")
    return float(match[1]) * _UNITS_S[match[2]]


def _counted(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _report(as_json: bool, sentence: str, **figures: Any) -> None:
    if as_json:
        print(msgspec.json.encode(figures).decode())
    else:
        rich.get_console().print(sentence, markup=False, highlight=False, soft_wrap=True)
