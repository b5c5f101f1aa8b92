"""Small histories of every format, made up for the tests: nobody's data.

Each sample says what its records become and which malformed line belongs to which place, so that one contract suite
can run over all readers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from preloader.events import Event
from preloader.history import write

T0 = 1_767_225_600.0  # 2026-01-01 00:00 UTC
T0_ISO = "2026-01-01T00:00:0{}Z"


@dataclass(frozen=True)
class Bad:
    """A malformed record: its text, and what the report must say of it."""

    text: str
    field: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """A history in one format.

    Attributes:
        format: The reader's name.
        file: The name of the file to write.
        records: Its records, one line (or more) each.
        expected: ``(action, keys of resources, text)`` of every event, in order.
        users: Every user.
        header: What stands before the records.
        bad: Malformed records; each is put between the records.
    """

    format: str
    file: str
    records: tuple[str, ...]
    expected: tuple[tuple[str, tuple[str, ...], str | None], ...]
    users: frozenset[str]
    header: str = ""
    bad: tuple[Bad, ...] = ()

    def text(self, *inserted: str) -> str:
        """Return the file's text, with further records after the first."""
        return self.header + "".join(line + "\n" for line in (self.records[0], *inserted, *self.records[1:]))


def _line(**fields: object) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _call(seq: int, tool: str, **more: object) -> dict[str, object]:
    return {"repo": "r", "agent": "a", "user": "u", "session": "s", "seq": seq, "ts": 1_000 * seq, "tool": tool, **more}


_NOT_JSON = (
    Bad("{not json", "", "malformed"),
    Bad("[1, 2]", "", "expected `object`"),
    Bad('{"x":' + "[" * 100_000, "", "nested too deeply"),
)

JSONL = Sample(
    format="jsonl",
    file="events.jsonl",
    records=(
        _line(user="ann", session="1", time_s=T0, action="say", text="lights on"),
        _line(user="ann", session="1", time_s=T0 + 1, action="run", resources=["skill:lights"], ok=True, duration_s=2),
        _line(
            user="bob", session="1", time_s=T0 + 2, action="run", resources=["skill:radio"], context={"room": "hall"}
        ),
    ),
    expected=(("say", (), "lights on"), ("run", ("skill:lights",), None), ("run", ("skill:radio",), None)),
    users=frozenset({"ann", "bob"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(user="ann", session="1", action="x"), "time_s", "missing required field"),
        Bad(_line(user="ann", session="1", time_s="soon", action="x"), "time_s", "expected `float`"),
        Bad(_line(user="ann", session="1", time_s=-5, action="x"), "time_s", "not a time"),
        Bad(_line(user="ann", session="1", time_s=1e300, action="x"), "time_s", "not a time"),
        Bad(_line(user="ann", session="1", time_s=1, action=""), "action", "needs an action"),
        Bad(_line(user="ann", session="1", time_s=1, action="x", duration_s=-1), "duration_s", "not a duration"),
        Bad(_line(user="ann", session="1", time_s=1, action="x", resources=["Lights"]), "resources[0]", "expected"),
        Bad(_line(user="ann", session="1", time_s=1, action="x", context={"a": []}), "context[...]", "expected"),
    ),
)

AGENT_SESSIONS = Sample(
    format="agent-sessions",
    file="calls.jsonl",
    records=(
        _line(**_call(0, "__user__")),
        _line(**_call(2, "Read", kind="path", target="src/a.py", end=2_500, ok=True, side=False)),
        _line(**_call(1, "Bash", kind="cmd", target="git status", end=1_100, ok=False, side=True)),
        _line(**_call(3, "TodoWrite")),
    ),
    expected=(
        ("user", (), None),
        ("Bash", ("tool:Bash", "tool_command:Bash|git status"), None),
        ("Read", ("tool:Read", "tool_command:Read", "file:src/a.py"), None),
        ("TodoWrite", ("tool:TodoWrite", "tool_command:TodoWrite"), None),
    ),
    users=frozenset({"r/u"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(**{**_call(1, "X"), "ts": "noon"}), "ts", "expected `int`"),
        Bad(_line(**{**_call(1, "X"), "ts": -1}), "ts", ">= 0"),
        Bad(_line(**_call(1, "")), "tool", "length >= 1"),
        Bad(_line(repo="r", user="u", session="s", ts=1, tool="X"), "seq", "missing required field"),
    ),
)

_ITEMS = [
    {"at": T0_ISO.format(0), "type": "user_text", "text": "look at a.py"},
    {"at": T0_ISO.format(1), "type": "thinking", "text": "so I read it"},
    {
        "at": T0_ISO.format(2),
        "type": "tool_call",
        "id": "1",
        "name": "Bash",
        "arguments": {"command": "cd x && git -C . log | head"},
    },
    {"at": T0_ISO.format(3), "type": "tool_call", "id": "2", "name": "Read", "arguments": {"file_path": "src/a.py"}},
    {"at": T0_ISO.format(4), "type": "tool_result", "id": "2", "is_error": True, "text": "", "characters": 3},
    {"at": T0_ISO.format(5), "type": "assistant_text", "text": "It is empty."},
]
_ANCIENT = {"at": "0001-01-01T00:00:00+14:00", "type": "user_text", "text": "salve"}
_TALK = (
    ("user", (), "look at a.py"),
    ("thinking", (), "so I read it"),
    ("Bash", ("tool:Bash", "tool_command:Bash|git log"), None),
    ("Read", ("tool:Read", "tool_command:Read", "file:src/a.py"), None),
    ("assistant", (), "It is empty."),
)

AGENT_TRANSCRIPTS = Sample(
    format="agent-transcripts",
    file="sessions.jsonl",
    records=(
        _line(repository="o/r", session="s1", items=_ITEMS),
        _line(repository="o/r", session="s2", items=_ITEMS[:1]),
    ),
    expected=(*_TALK, _TALK[0]),
    users=frozenset({"o/r"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(repository="o/r", session="s"), "items", "missing required field"),
        Bad(_line(repository="o/r", session="s", items=[{"at": "noon", "type": "x"}]), "items[0].at", "RFC3339"),
        Bad(_line(repository="o/r", session="s", items=[_ANCIENT]), "items[0].at", "not between 1970"),
        Bad(_line(repository="o/r", session="s", items=[{"type": "x"}]), "items[0].at", "missing required field"),
    ),
)


def _turn(speaker: str, words: str, *frames: dict[str, object]) -> dict[str, object]:
    return {"speaker": speaker, "utterance": words, "frames": list(frames)}


SGD = Sample(
    format="sgd",
    file="part.jsonl",
    records=(
        _line(
            dialogue_id="1_0",
            services=["Music_2"],
            turns=[
                _turn("USER", "play jazz", {"service": "Music_2", "active_intent": "PlaySong"}),
                _turn("SYSTEM", "playing", {"service": "Music_2", "service_call": {"method": "PlaySong"}}),
                _turn("USER", "bye", {"service": "Music_2", "active_intent": "NONE"}),
            ],
        ),
        _line(
            dialogue_id="1_1",
            turns=[_turn("USER", "taxi!", {"service": "Taxi_1", "state": {"active_intent": "GetRide"}})],
        ),
    ),
    expected=(
        ("user", (), "play jazz"),
        ("intent", ("intent:Music.PlaySong",), None),
        ("call", ("domain_method:Music.PlaySong", "skill:Music", "api:Music_2.PlaySong"), None),
        ("system", (), "playing"),
        ("user", (), "bye"),
        ("user", (), "taxi!"),
        ("intent", ("intent:Taxi.GetRide",), None),
    ),
    users=frozenset({"part/1_0", "part/1_1"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(dialogue_id="1", turns=[{"speaker": "USER"}]), "turns[0].utterance", "missing required field"),
        Bad(_line(dialogue_id="1", turns={}), "turns", "expected `array`"),
        Bad(_line(dialogue_id=1, turns=[]), "dialogue_id", "expected `str`"),
    ),
)

TAU2 = Sample(
    format="tau2",
    file="episodes.jsonl",
    records=(
        _line(
            id="e1",
            domain="retail",
            task_id="7",
            messages=[
                {"role": "assistant", "content": "Hi!", "timestamp": "2026-01-01T00:00:00.5"},
                {"role": "user", "content": "cancel it", "timestamp": "2026-01-01T00:00:01"},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [{"name": "find"}, {"name": "cancel"}],
                    "timestamp": "2026-01-01T00:00:02",
                },
                {"role": "user", "tool_calls": [{"name": "reboot"}], "timestamp": "2026-01-01T00:00:03"},
            ],
        ),
        _line(
            id="e2", domain="airline", task_id="10", messages=[{"role": "assistant", "tool_calls": [{"name": "book"}]}]
        ),
    ),
    expected=(
        ("assistant", (), "Hi!"),
        ("user", (), "cancel it"),
        ("find", ("tool:find",), None),
        ("cancel", ("tool:cancel",), None),
        ("book", ("tool:book",), None),
    ),
    users=frozenset({"retail", "airline"}),
    bad=(
        *_NOT_JSON,
        Bad(
            _line(
                id="e", domain="d", task_id="7", messages=[{"role": "user", "timestamp": "0001-01-01T00:00:00+14:00"}]
            ),
            "messages[0].timestamp",
            "not between 1970",
        ),
        Bad(_line(id="e", domain="d", task_id=7, messages=[]), "task_id", "expected `str`"),
        Bad(_line(id="e", domain="d", task_id="7", messages=[{"role": 1}]), "messages[0].role", "expected `str`"),
        Bad(
            _line(id="e", domain="d", task_id="7", messages=[{"role": "user", "tool_calls": [{}]}]),
            "messages[0].tool_calls[0].name",
            "missing required field",
        ),
    ),
)


def _claude(second: int, speaker: str, content: object, **more: object) -> str:
    return _line(
        parentUuid=None,
        isSidechain=False,
        cwd="/home/ann/app",
        sessionId="c-1",
        type=speaker,
        message={"role": speaker, "content": content},
        timestamp=T0_ISO.format(second),
        **more,
    )


CLAUDE_CODE = Sample(
    format="claude-code",
    file="c-1.jsonl",
    records=(
        _line(type="summary", summary="A session", leafUuid="x"),
        _claude(0, "user", "look at a.py"),
        _claude(0, "user", "an inserted caveat", isMeta=True),
        _claude(1, "assistant", [{"type": "thinking", "thinking": "so I read it", "signature": "x"}]),
        _claude(
            2,
            "assistant",
            [{"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": "cd x && git -C . log | head"}}],
        ),
        _claude(
            3,
            "assistant",
            [{"type": "tool_use", "id": "2", "name": "Read", "input": {"file_path": "/home/ann/app/src/a.py"}}],
        ),
        _claude(
            4, "user", [{"type": "tool_result", "tool_use_id": "2", "is_error": True, "content": [{"type": "text"}]}]
        ),
        _line(type="file-history-snapshot", messageId="x", snapshot={}),
        _claude(5, "assistant", [{"type": "text", "text": "It is empty."}]),
    ),
    expected=_TALK,
    users=frozenset({"app"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(type="user", sessionId="c-1", message={"content": "x"}), "timestamp", "missing required field"),
        Bad(_line(type="user", sessionId="c-1", timestamp="noon", message={}), "timestamp", "RFC3339"),
        Bad(
            _line(type="user", timestamp="1969-12-31T00:00:00Z", message={"content": ""}),
            "timestamp",
            "not between 1970",
        ),
        Bad(_line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message={}), "message.content", "missing"),
        Bad(_line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1)), "message", "expected `object`"),
        Bad(
            _line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message=[]), "message", "expected `object`"
        ),
        Bad(
            _line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message={"content": [{"type": 1}]}),
            "message.content[0].type",
            "expected `str`",
        ),
    ),
)


def _codex(second: int, kind: str, **payload: object) -> str:
    return _line(timestamp=T0_ISO.format(second), type=kind, payload=payload)


def _item(second: int, kind: str, **payload: object) -> str:
    return _codex(second, "response_item", type=kind, **payload)


CODEX = Sample(
    format="codex",
    file="rollout-2026-01-01T00-00-00-x.jsonl",
    records=(
        _codex(0, "session_meta", id="x-1", cwd="/home/ann/app", cli_version="0.100.0"),
        _codex(0, "turn_context", cwd="/home/ann/app", model="m"),
        _item(0, "message", role="user", content=[{"type": "input_text", "text": "<environment_context>…"}]),
        _item(0, "message", role="user", content=[{"type": "input_text", "text": "look at a.py"}]),
        _item(1, "reasoning", summary=[{"type": "summary_text", "text": "so I read it"}], encrypted_content="…"),
        _item(2, "function_call", name="shell", arguments='{"command":["bash","-lc","git status"]}', call_id="1"),
        _item(3, "function_call_output", call_id="1", output='{"output":"…","metadata":{"exit_code":1}}'),
        _item(4, "local_shell_call", call_id="2", action={"type": "exec", "command": ["ls", "-l"]}),
        _codex(5, "event_msg", type="exec_command_end", call_id="2", exit_code=0),
        _codex(5, "event_msg", type="token_count", info=None),
        _item(
            6,
            "custom_tool_call",
            name="apply_patch",
            call_id="3",
            input="*** Begin Patch\n*** Update File: src/a.py\n@@\n*** End Patch",
        ),
        _item(7, "function_call", name="exec_command", arguments="not JSON", call_id="4"),
        _item(8, "message", role="assistant", content=[{"type": "output_text", "text": "It is empty."}]),
    ),
    expected=(
        ("user", (), "look at a.py"),
        ("thinking", (), "so I read it"),
        ("shell", ("tool:shell", "tool_command:shell|git status"), None),
        ("shell", ("tool:shell", "tool_command:shell|ls"), None),
        ("apply_patch", ("tool:apply_patch", "tool_command:apply_patch", "file:src/a.py"), None),
        ("exec_command", ("tool:exec_command", "tool_command:exec_command"), None),
        ("assistant", (), "It is empty."),
    ),
    users=frozenset({"app"}),
    bad=(
        *_NOT_JSON,
        Bad(_line(type="response_item", payload={}), "timestamp", "missing required field"),
        Bad(_line(timestamp=T0_ISO.format(1), type="response_item", payload=[]), "payload", "expected `object`"),
        Bad(_line(timestamp="0001-01-01T00:00:00Z", type="x", payload={}), "timestamp", "not between 1970"),
        Bad(_item(1, "message", role=5), "payload.role", "expected `str`"),
        Bad(_codex(1, "session_meta", cwd="/x"), "payload.id", "missing required field"),
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
