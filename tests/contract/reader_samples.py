"""Small histories of every format, made up for the tests: nobody's data.

Each sample says what its records become and which malformed line belongs to which place, so that one contract suite
can run over all readers.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from preloader.events import Event
from preloader.history import write
from tests.contract.agent_samples import AGENT_SESSIONS, AGENT_TRANSCRIPTS, CLAUDE_CODE, CODEX
from tests.contract.dialogue_samples import SGD, TAU2
from tests.contract.reader_sample import NOT_JSON, T0, Bad, Sample, line

JSONL = Sample(
    format="jsonl",
    file="events.jsonl",
    records=(
        line(user="ann", session="1", time_s=T0, action="say", text="lights on"),
        line(user="ann", session="1", time_s=T0 + 1, action="run", resources=["skill:lights"], ok=True, duration_s=2),
        line(user="bob", session="1", time_s=T0 + 2, action="run", resources=["skill:radio"], context={"room": "hall"}),
    ),
    expected=(("say", (), "lights on"), ("run", ("skill:lights",), None), ("run", ("skill:radio",), None)),
    users=frozenset({"ann", "bob"}),
    bad=(
        *NOT_JSON,
        Bad(line(user="ann", session="1", action="x"), "time_s", "missing required field"),
        Bad(line(user="ann", session="1", time_s="soon", action="x"), "time_s", "expected `float`"),
        Bad(line(user="ann", session="1", time_s=-5, action="x"), "time_s", "not a time"),
        Bad(line(user="ann", session="1", time_s=1e300, action="x"), "time_s", "not a time"),
        Bad(line(user="ann", session="1", time_s=1, action=""), "action", "needs an action"),
        Bad(line(user="ann", session="1", time_s=1, action="x", duration_s=-1), "duration_s", "not a duration"),
        Bad(line(user="ann", session="1", time_s=1, action="x", resources=["Lights"]), "resources[0]", "expected"),
        Bad(line(user="ann", session="1", time_s=1, action="x", context={"a": []}), "context[...]", "expected"),
    ),
)

ZSH = Sample(
    format="zsh",
    file="history_of_zsh",
    records=(
        f": {T0:.0f}:0;cd app && git status",
        f": {T0 + 60:.0f}:3;for x in a b\\\ndo echo $x\\\ndone",
        f": {T0 + 7_200:.0f}:0;echo hello",
    ),
    expected=(
        ("git status", ("command:git status",), None),
        ("for", ("command:for",), None),
        ("echo", ("command:echo",), None),
    ),
    users=frozenset({"zsh"}),
    bad=(
        Bad(": 17x:0;ls", "time", "SECONDS:ELAPSED"),
        Bad(": 999999999999:0;ls", "time", "not a time"),
    ),
)

BASH = Sample(
    format="bash",
    file="history_of_bash",
    records=(f"#{T0:.0f}\ngit status -s", f"#{T0 + 5:.0f}\nfor x in a b\ndo echo $x; done"),
    expected=(("git status", ("command:git status",), None), ("for", ("command:for",), None)),
    users=frozenset({"bash"}),
    bad=(Bad("#999999999999\nls", "time", "not a time"),),
)

FISH = Sample(
    format="fish",
    file="history_of_fish",
    records=(
        f"- cmd: git status\n  when: {T0:.0f}",
        f"- cmd: cd a\\necho c:\\\\d\n  when: {T0 + 5:.0f}\n  paths:\n    - c:",
    ),
    expected=(("git status", ("command:git status",), None), ("echo", ("command:echo",), None)),
    users=frozenset({"fish"}),
    bad=(
        Bad("  because: I can", "", "expected `- cmd:`"),
        Bad("- cmd: ls\n  when: noon", "when", "expected seconds since 1970, got 'noon'"),
    ),
)

CSV = Sample(
    format="csv",
    file="log.csv",
    header="time_s,user,session,action,text,duration_s,ok,resource.skill,context.room\n",
    records=(
        f'{T0:.0f},ann,1,say,"lights, please",,,,hall',
        "2026-01-01T00:00:01Z,ann,1,run,,0.5,true,lights,hall",
    ),
    expected=(("say", (), "lights, please"), ("run", ("skill:lights",), None)),
    users=frozenset({"ann"}),
    bad=(
        Bad("noon,ann,1,run,,,,,", "time_s", "ISO 8601 time, got 'noon'"),
        Bad("1,ann,1,run,,long,,,", "duration_s", "expected a number of seconds, got 'long'"),
        Bad("1,ann,1,,,,,,", "action", "empty"),
        Bad("nan,ann,1,run,,,,,", "time_s", "not a time"),
        Bad("5", "action", "empty"),
    ),
)

SAMPLES = (
    JSONL,
    AGENT_SESSIONS,
    AGENT_TRANSCRIPTS,
    SGD,
    TAU2,
    CLAUDE_CODE,
    CODEX,
    ZSH,
    BASH,
    FISH,
    CSV,
)


def write_repository(folder: Path) -> Path:
    """Make a small repository by hand and return its path; the test is skipped where there is no git."""
    path = folder / "repository"
    path.mkdir(parents=True)
    git = _git(path)
    git("init", "--quiet")
    for number, files in enumerate((["a.py", "b c.py"], ["a.py"], [f"many/{index}" for index in range(70)])):
        for file in files:
            (path / file).parent.mkdir(exist_ok=True)
            (path / file).write_text(str(number))
        git("add", ".")
        git("commit", "--quiet", "-m", f"change {number}", date=T0 + 60 * number)
    return path


def _git(path: Path) -> Callable[..., None]:
    def run(*arguments: str, date: float = T0) -> None:
        author = {f"GIT_{who}_{what}": "ann" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {f"GIT_{who}_DATE": f"{date:.0f} +0000" for who in ("AUTHOR", "COMMITTER")}
        system = {
            "PATH": "/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin",
            "HOME": str(path),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        try:
            subprocess.run(["git", *arguments], cwd=path, env={**author, **dates, **system}, check=True)
        except FileNotFoundError:
            pytest.skip("git is not installed")

    return run


def write_parquet_sample(folder: Path) -> Path:
    """Write `JSONL`'s events as Parquet; the test is skipped where pyarrow is not installed."""
    pytest.importorskip("pyarrow")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events.parquet"
    write([Event(user="ann", session="1", time_s=T0, action="run", resources=("skill:lights",))], path, "parquet")
    return path
