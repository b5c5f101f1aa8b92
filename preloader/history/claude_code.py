"""Claude Code's project logs: ``~/.claude/projects/PROJECT/SESSION.jsonl``, as its versions 1 and 2 write them.

The format is internal to Claude Code and grows with it: kinds of lines that are not conversation are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from preloader.events import ContextValue, Event
from preloader.history.fields import Malformed, Name, seconds
from preloader.history.lines import decode_within, json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule
from preloader.history.toolcalls import KINDS, CallLog, call_resources, relative_path

_SPOKEN = frozenset({"user", "assistant"})


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    is_error: bool | None = None


class _Message(msgspec.Struct, frozen=True):
    content: str | tuple[_Block, ...]


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    type: Name
    session_id: str | None = None
    timestamp: datetime | None = None
    cwd: str | None = None
    is_sidechain: bool = False
    is_meta: bool = False
    message: msgspec.Raw = msgspec.Raw()


class _Turn(msgspec.Struct, frozen=True):
    """One line, decoded: `blocks` are empty where it is no part of the conversation."""

    session: str
    time_s: float
    cwd: str | None
    side: bool
    speaker: str
    blocks: tuple[_Block, ...] = ()


_LINE = msgspec.json.Decoder(_Line)
_MESSAGE = msgspec.json.Decoder(_Message)


class ClaudeCodeReader:
    """Reads one session's log, or a directory of them.

    The user is the project (the last part of the directory that the session began in), so that projects are predicted
    apart; paths inside that directory are made relative to it. Sub-agents' events carry ``side`` in their context.
    Words, calls and results become events as in `AgentTranscriptsReader`.
    """

    name = "claude-code"
    kinds = KINDS
    rule = SplitRule()

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of a conversation's line, or of a session's summary."""
        wanted = ({"sessionId", "type", "timestamp"}, {"type", "summary", "leafUuid"})
        return any(keys >= one for keys in json_keys(path) for one in wanted)

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of one log, in its order; see `Reader.read`."""
        root: str | None = None
        logs: dict[str, CallLog] = {}
        for turn in records(path, _decode, report):
            root = root or turn.cwd
            if not turn.blocks:
                continue
            log = logs.setdefault(turn.session, CallLog(_project(root, path), turn.session or path.name))
            for block in turn.blocks:
                _enter(block, turn, root, log)
            yield from log.settled()
        for log in logs.values():
            yield from log.rest()


def _decode(line: bytes) -> _Turn:
    record = _LINE.decode(line)
    session = record.session_id or ""
    if record.type not in _SPOKEN or record.is_meta:
        return _Turn(session, 0.0, record.cwd, record.is_sidechain, record.type)
    if record.timestamp is None:
        raise Malformed("timestamp", "object missing required field `timestamp`")
    content = decode_within(_MESSAGE, record.message or msgspec.Raw(b"null"), "message").content
    blocks = (_Block(type="text", text=content),) if isinstance(content, str) else content
    return _Turn(session, seconds(record.timestamp), record.cwd, record.is_sidechain, record.type, blocks)


def _enter(block: _Block, turn: _Turn, root: str | None, log: CallLog) -> None:
    context: dict[str, ContextValue] = {"side": turn.side}
    if block.type == "text":
        log.say(turn.speaker, block.text, turn.time_s, context)
    elif block.type == "thinking":
        log.say("thinking", block.thinking, turn.time_s, context)
    elif block.type == "tool_use" and block.name:
        log.call(block.id, block.name, call_resources(block.name, block.input, root), turn.time_s, context)
    elif block.type == "tool_result":
        log.result(block.tool_use_id, turn.time_s, not block.is_error)


def _project(root: str | None, path: Path) -> str:
    """Name the project: the working directory's last part, or the folder that Claude Code made for it."""
    return relative_path((root or path.parent.name).replace("\\", "/"), None).rpartition("/")[2] or "claude-code"
