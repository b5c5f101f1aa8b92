"""Small histories of programming agents, in the formats of their own programs and of data sets."""

from __future__ import annotations

from tests.contract.reader_sample import NOT_JSON, T0_ISO, Bad, Sample, line


def _call(seq: int, tool: str, **more: object) -> dict[str, object]:
    return {"repo": "r", "agent": "a", "user": "u", "session": "s", "seq": seq, "ts": 1_000 * seq, "tool": tool, **more}


AGENT_SESSIONS = Sample(
    format="agent-sessions",
    file="calls.jsonl",
    records=(
        line(**_call(0, "__user__")),
        line(**_call(2, "Read", kind="path", target="src/a.py", end=2_500, ok=True, side=False)),
        line(**_call(1, "Bash", kind="cmd", target="git status", end=1_100, ok=False, side=True)),
        line(**_call(3, "TodoWrite")),
    ),
    expected=(
        ("user", (), None),
        ("Bash", ("tool:Bash", "tool_command:Bash|git status"), None),
        ("Read", ("tool:Read", "tool_command:Read", "file:src/a.py"), None),
        ("TodoWrite", ("tool:TodoWrite", "tool_command:TodoWrite"), None),
    ),
    users=frozenset({"r/u"}),
    bad=(
        *NOT_JSON,
        Bad(line(**{**_call(1, "X"), "ts": "noon"}), "ts", "expected `int`"),
        Bad(line(**{**_call(1, "X"), "ts": -1}), "ts", ">= 0"),
        Bad(line(**_call(1, "")), "tool", "length >= 1"),
        Bad(line(repo="r", user="u", session="s", ts=1, tool="X"), "seq", "missing required field"),
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
TALK = (
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
        line(repository="o/r", session="s1", items=_ITEMS),
        line(repository="o/r", session="s2", items=_ITEMS[:1]),
    ),
    expected=(*TALK, TALK[0]),
    users=frozenset({"o/r"}),
    bad=(
        *NOT_JSON,
        Bad(line(repository="o/r", session="s"), "items", "missing required field"),
        Bad(line(repository="o/r", session="s", items=[{"at": "noon", "type": "x"}]), "items[0].at", "RFC3339"),
        Bad(line(repository="o/r", session="s", items=[_ANCIENT]), "items[0].at", "not between 1970"),
        Bad(line(repository="o/r", session="s", items=[{"type": "x"}]), "items[0].at", "missing required field"),
    ),
)


def _claude(second: int, speaker: str, content: object, **more: object) -> str:
    return line(
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
        line(type="summary", summary="A session", leafUuid="x"),
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
        line(type="file-history-snapshot", messageId="x", snapshot={}),
        _claude(5, "assistant", [{"type": "text", "text": "It is empty."}]),
    ),
    expected=TALK,
    users=frozenset({"app"}),
    bad=(
        *NOT_JSON,
        Bad(line(type="user", sessionId="c-1", message={"content": "x"}), "timestamp", "missing required field"),
        Bad(line(type="user", sessionId="c-1", timestamp="noon", message={}), "timestamp", "RFC3339"),
        Bad(
            line(type="user", timestamp="1969-12-31T00:00:00Z", message={"content": ""}),
            "timestamp",
            "not between 1970",
        ),
        Bad(line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message={}), "message.content", "missing"),
        Bad(line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1)), "message", "expected `object`"),
        Bad(line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message=[]), "message", "expected `object`"),
        Bad(
            line(type="user", sessionId="c-1", timestamp=T0_ISO.format(1), message={"content": [{"type": 1}]}),
            "message.content[0].type",
            "expected `str`",
        ),
    ),
)


def _codex(second: int, kind: str, **payload: object) -> str:
    return line(timestamp=T0_ISO.format(second), type=kind, payload=payload)


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
        *NOT_JSON,
        Bad(line(type="response_item", payload={}), "timestamp", "missing required field"),
        Bad(line(timestamp=T0_ISO.format(1), type="response_item", payload=[]), "payload", "expected `object`"),
        Bad(line(timestamp="0001-01-01T00:00:00Z", type="x", payload={}), "timestamp", "not between 1970"),
        Bad(_item(1, "message", role=5), "payload.role", "expected `str`"),
        Bad(_codex(1, "session_meta", cwd="/x"), "payload.id", "missing required field"),
    ),
)
