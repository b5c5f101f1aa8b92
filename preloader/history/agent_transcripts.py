"""The ``agent-transcripts`` data set: one coding agent's session per line, with its words, calls and results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from preloader.events import Event
from preloader.history.fields import Name, seconds
from preloader.history.lines import json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule
from preloader.history.toolcalls import KINDS, CallLog, call_resources

_SPEAKERS = {"user_text": "user", "assistant_text": "assistant", "thinking": "thinking"}


class _Item(msgspec.Struct, frozen=True):
    at: datetime
    type: Name
    text: str = ""
    id: str = ""
    name: str = ""
    arguments: dict[str, Any] | str = {}
    is_error: bool | None = None


class _Session(msgspec.Struct, frozen=True):
    repository: Name
    session: Name
    items: tuple[_Item, ...]


_SESSION = msgspec.json.Decoder(_Session)


class AgentTranscriptsReader:
    """Reads sessions; the user is the repository.

    What the user, the assistant and its thinking say are events ``user``, ``assistant`` and ``thinking`` with the
    words. A call is an event with its ``tool``, ``tool_command`` and ``file``; its result sets ``ok`` and the duration.
    """

    name = "agent-transcripts"
    kinds = KINDS
    rule = SplitRule(min_sessions=1)
    _keys = frozenset({"repository", "session", "items"})

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of a session."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of one session after the other; see `Reader.read`."""
        for session in records(path, _decode, report):
            yield from _events(session)


def _decode(line: bytes) -> _Session:
    session = _SESSION.decode(line)
    for number, item in enumerate(session.items):
        seconds(item.at, f"items[{number}].at")
    return session


def _events(session: _Session) -> Iterator[Event]:
    log = CallLog(session.repository, session.session)
    for item in sorted(session.items, key=lambda item: seconds(item.at)):
        time_s = seconds(item.at)
        if item.type in _SPEAKERS:
            log.say(_SPEAKERS[item.type], item.text, time_s, {})
        elif item.type == "tool_call" and item.name:
            log.call(item.id, item.name, call_resources(item.name, item.arguments), time_s, {})
        elif item.type == "tool_result":
            log.result(item.id, time_s, None if item.is_error is None else not item.is_error)
        yield from log.settled()
    yield from log.rest()
