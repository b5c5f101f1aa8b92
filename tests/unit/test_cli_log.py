"""``preloader log``, as a user runs it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from preloader.cli.log import duration_s, register
from preloader.errors import ConfigurationError, HistoryError
from preloader.events import Event
from preloader.history.log import EventLog
from preloader.history.redact import keep_words

DAY_S = 86_400


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["log", *map(str, arguments)])


def report(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of two users, an event each for the last five days."""
    path = tmp_path / "events.db"
    with EventLog(path, redact=keep_words) as log:
        for days in reversed(range(5)):
            for user in ("ada", "ben"):
                when_s = time.time() - (days + 0.5) * DAY_S
                log.append(
                    Event(user=user, session="s", time_s=when_s, action="say", text=f"{user}@example.org {days}")
                )
    return path


def texts(path: Path) -> list[str | None]:
    with EventLog(path) as log:
        return [event.text for event in log.events()]


def test_export(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = run("export", path, out, "--user", "ben")
    assert result.stdout == f"Wrote 5 events to {out}.\n"
    assert {msgspec.json.decode(line, type=Event).user for line in out.read_bytes().splitlines()} == {"ben"}
    refused = run("export", path, out).exception
    assert isinstance(refused, HistoryError)
    assert str(refused) == f"{out} exists; name another file, or replace it with --force"
    assert report("export", path, out, "--force")["written"] == 10


def test_purge(path: Path) -> None:
    assert report("purge", path, "--user", "ada") == {"log": str(path), "removed": 5, "remaining": 5}
    assert run("purge", path, "--user", "ada").stdout == "Removed 0 events of ada; 5 events remain.\n"
    assert b"ada" not in path.read_bytes()


def test_prune(path: Path) -> None:
    assert report("prune", path, "--max-age", "3d")["removed"] == 4
    assert report("prune", path, "--max-events", "1") == {"log": str(path), "removed": 5, "remaining": 1}
    assert isinstance(run("prune", path).exception, ConfigurationError)


def test_redact(path: Path) -> None:
    assert report("redact", path, "--older-than", "3d")["redacted"] == 4
    assert texts(path)[3:5] == ["<email> 3", "ada@example.org 2"]
    assert report("redact", path)["redacted"] == 6
    assert report("redact", path, "--drop-words")["redacted"] == 10
    assert texts(path) == [None] * 10


def test_a_missing_log_is_refused_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    for command in (("purge", missing, "--user", "ada"), ("export", missing, tmp_path / "out"), ("redact", missing)):
        assert str(run(*command).exception) == f"{missing}: there is no such event log"
    assert not list(tmp_path.iterdir())


def test_durations() -> None:
    assert [duration_s(text) for text in ("45s", "1.5m", "2h", "90d", "1w")] == [45, 90, 7_200, 7_776_000, 604_800]
    for text in ("", "90", "d", "-1d", "1 month", "1y"):
        with pytest.raises(ConfigurationError, match="is no duration; write a number and s, m, h, d or w"):
            duration_s(text)
