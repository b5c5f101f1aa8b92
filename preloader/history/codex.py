"""Codex rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl``, one session each.

Every line is an envelope with ``timestamp``, ``type`` and ``payload``. The conversation stands in lines
``response_item``; ``event_msg`` mirrors it for display and adds how shell commands ended. Other types are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from preloader.events import Event
from preloader.history.fields import Name, seconds
from preloader.history.lines import decode_within, json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule
from preloader.history.toolcalls import KINDS, CallLog, call_resources, relative_path

_EXIT_CODE = re.compile(r"(?i:\"?exit[_ ]code\"?:?|exited with code)\s*(-?\d{1,6})")
_RESULT_HEAD = 2_000  # characters; the exit code stands before the output, or in metadata after a short one
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})


class _Part(msgspec.Struct, frozen=True):
    text: str = ""


class _Action(msgspec.Struct, frozen=True):
    command: list[str] = []


class _Item(msgspec.Struct, frozen=True):
    type: str = ""
    role: str = ""
    content: tuple[_Part, ...] | str | None = None
    summary: tuple[_Part, ...] | str | None = None
    name: str = ""
    arguments: str = ""
    input: str = ""
    call_id: str | None = None
    id: str | None = None
    action: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    exit_code: int | None = None


class _Meta(msgspec.Struct, frozen=True):
    id: Name
    cwd: str | None = None


class _Line(msgspec.Struct, frozen=True):
    timestamp: datetime
    type: Name
    payload: msgspec.Raw


class _Entry(msgspec.Struct, frozen=True):
    """One line, decoded; neither `meta` nor `item` where it matters to nobody here."""

    time_s: float
    meta: _Meta | None = None
    item: _Item | None = None


_LINE = msgspec.json.Decoder(_Line)
_ITEM = msgspec.json.Decoder(_Item)
_META = msgspec.json.Decoder(_Meta)
_ACTION = msgspec.json.Decoder(_Action)
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])


class CodexReader:
    """Reads one rollout, or a directory of them.

    The user is the project, as in `ClaudeCodeReader`. Texts that the program put into the user's mouth (instructions,
    the environment) are left out.
    """

    name = "codex"
    kinds = KINDS
    rule = SplitRule()
    _keys = frozenset({"timestamp", "type", "payload"})

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of an envelope."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of one rollout, in its order; see `Reader.read`."""
        root: str | None = None
        log: CallLog | None = None
        for entry in records(path, _decode, report):
            if entry.meta and not log:
                root = entry.meta.cwd
                log = CallLog(_project(root), entry.meta.id)
            if entry.item:
                log = log or CallLog(_project(root), path.name.partition(".")[0])
                _enter(entry.item, entry.time_s, root, log)
                yield from log.settled()
        if log:
            yield from log.rest()


def _decode(line: bytes) -> _Entry:
    record = _LINE.decode(line)
    time_s = seconds(record.timestamp)
    if record.type == "session_meta":
        return _Entry(time_s, meta=decode_within(_META, record.payload, "payload"))
    if record.type in ("response_item", "event_msg"):
        item = decode_within(_ITEM, record.payload, "payload")
        if record.type == "response_item" or item.type == "exec_command_end":
            return _Entry(time_s, item=item)
    return _Entry(time_s)


def _enter(item: _Item, time_s: float, root: str | None, log: CallLog) -> None:
    call_id = item.call_id or item.id or ""
    if item.type == "message" and item.role in ("user", "assistant"):
        text = _text(item.content)
        if item.role == "assistant" or not text.lstrip().startswith(("<", "# AGENTS.md")):
            log.say(item.role, text, time_s, {})
    elif item.type == "reasoning":
        log.say("thinking", _text(item.summary), time_s, {})
    elif item.type in _CALLS:
        name = item.name or "shell"
        log.call(call_id, name, call_resources(name, _arguments(item), root), time_s, {})
    elif item.type in _RESULTS:
        log.result(call_id, time_s, _succeeded(bytes(item.output)))
    elif item.type == "exec_command_end":
        log.result(call_id, time_s, None if item.exit_code is None else item.exit_code == 0)


def _text(parts: tuple[_Part, ...] | str | None) -> str:
    return parts if isinstance(parts, str) else "\n".join(part.text for part in parts or () if part.text)


def _arguments(item: _Item) -> dict[str, Any] | str:
    """Return a call's arguments by name, or its text; what the model wrote need not be valid JSON."""
    if item.type == "custom_tool_call":
        return item.input
    try:
        if item.type == "local_shell_call":
            return {"command": _ACTION.decode(item.action or b"{}").command}
        return _ARGUMENTS.decode(item.arguments or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _succeeded(output: bytes) -> bool | None:
    """Read a command's exit code from its output, which is a text, or an object with metadata, as versions differ."""
    shown = output[:_RESULT_HEAD] + output[-_RESULT_HEAD:]
    code = _EXIT_CODE.search(shown.decode(errors="replace").replace("\\", ""))
    return None if code is None else int(code[1]) == 0


def _project(root: str | None) -> str:
    return relative_path((root or "").replace("\\", "/"), None).rpartition("/")[2] or "codex"
