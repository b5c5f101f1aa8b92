"""``preloader history`` as a user runs it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from preloader.cli import history
from preloader.errors import HistoryError
from preloader.history import read
from tests.contract.reader_samples import JSONL, ZSH


def run(*arguments: str | Path, home: Path | None = None) -> Result:
    """Run the command; a user's mistake is the error that ``main`` turns into one sentence."""
    app = typer.Typer()
    history.register(app)
    environment = {"COLUMNS": "120", "HOME": str(home or "/nonexistent")}
    places = dict.fromkeys(("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "ZDOTDIR"))
    return CliRunner().invoke(app, ["history", *map(str, arguments)], env={**environment, **places})


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(JSONL.text(JSONL.bad[0].text))
    return path


def test_inspect_shows_tables_and_where_records_are_bad(events: Path) -> None:
    done = run("inspect", events, "--max-bad-share", "0.5")
    assert done.exit_code == 0
    for word in ("jsonl (1 file)", "skill", "lights 1", "3 good, 1 bad", "events.jsonl:2: JSON is malformed"):
        assert word.lower() in done.stdout.lower()


def test_inspect_prints_one_json_document(events: Path) -> None:
    done = run("inspect", events, "--json", "--max-bad-share", "0.5")
    document = json.loads(done.stdout)
    assert document["files"] == [{"path": str(events), "format": "jsonl"}]
    assert document["summary"]["events"] == 3
    assert document["summary"]["kinds"]["skill"]["vocabulary"] == 2
    assert document["records"]["examples"][0]["line"] == 2


def test_convert_writes_what_was_read(events: Path, tmp_path: Path) -> None:
    history = tmp_path / ZSH.file
    history.write_text(ZSH.text())
    done = run("convert", events, history, "--out", tmp_path / "all.jsonl", "--max-bad-share", "0.5")
    assert done.exit_code == 0
    assert "Wrote 6 events" in done.stderr
    assert len(list(read(tmp_path / "all.jsonl"))) == 6


def test_convert_can_redact(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text('{"user":"u","session":"s","time_s":0,"action":"say","text":"mail ann@example.org"}\n')
    run("convert", path, "--out", tmp_path / "kept.jsonl", "--redact")
    assert "ann@" not in (tmp_path / "kept.jsonl").read_text()


def test_csv_columns_are_options(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("who,when,did\nann,0,open\nbob,1,open\n")
    options = ("--column", "user=who", "--column", "time_s=when", "--column", "action=did")
    done = run("inspect", path, "--json", *options)
    assert json.loads(done.stdout)["summary"]["users"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect"], "name the histories to read, or --mine for your own"),
        (["inspect", "x", "--mine"], "and not both"),
        (["inspect", "--mine"], "no transcripts of Claude Code or Codex"),
        (["inspect", "absent.jsonl"], "absent.jsonl: no such file or directory"),
        (["inspect", "x", "--format", "xml"], "format 'xml' is not known; it must be one of jsonl"),
        (["inspect", "x", "--max-bad-share", "2"], "--max-bad-share 2.0 is not between 0 and 1"),
        (["inspect", "x", "--column", "user"], "--column 'user' is not of the form FIELD=COLUMN"),
        (["inspect", "x", "--column", "a=b", "--format", "sgd"], "--column is for csv"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = run(*arguments, home=tmp_path)
    assert isinstance(done.exception, HistoryError)
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


def test_a_hostile_history_does_not_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    hostile = json.dumps(
        {"user": "u", "session": "s", "time_s": 0, "action": "\x1b[2J[red]", "resources": ["k:\x1b]0;"]}
    )
    path.write_text(hostile + "\n")
    done = run("inspect", path)
    assert "\x1b" not in done.stdout
    assert "[2J[red]" in done.stdout


def test_ones_own_histories_need_no_path(tmp_path: Path) -> None:
    (tmp_path / ".bash_history").write_text("git status\ngit diff\n")
    done = run("inspect", "--mine", "--json", home=tmp_path)
    assert json.loads(done.stdout)["summary"]["top_actions"] == {"git diff": 1, "git status": 1}
