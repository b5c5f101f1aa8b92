"""The ``agent-sessions`` data set: one tool call of a coding agent per line, without any text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from preloader.events import ContextValue, Event, resource_key
from preloader.history.fields import Milliseconds, Name
from preloader.history.lines import json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

_USER_SPOKE = "__user__"


class _Call(msgspec.Struct, frozen=True):
    repo: Name
    user: Name
    session: Name
    seq: int
    ts: Milliseconds
    tool: Name
    agent: str = ""
    end: Milliseconds | None = None
    kind: str | None = None
    target: str | None = None
    ok: bool | None = None
    side: bool | None = None


class AgentSessionsReader:
    """Reads tool calls as they were logged, a session at a time.

    A user is ``repo/user``. A call uses its ``tool``, its ``tool_command`` (the tool, and what was run where that is a
    shell command) and the ``file`` that it touched. ``__user__`` becomes the action ``user``: context, never an item.
    The lines of one session stand together in the file; they are put in order of time, then of ``seq``.
    """

    name = "agent-sessions"
    kinds: tuple[str, ...] = ("tool", "tool_command", "file")
    rule = SplitRule(min_sessions=5)
    _keys = frozenset({"repo", "user", "session", "seq", "ts", "tool"})
    _decoder = msgspec.json.Decoder(_Call)

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of a call."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per line; see `Reader.read`."""
        calls = records(path, self._decoder.decode, report)
        for _, session in groupby(calls, key=lambda call: (call.repo, call.user, call.session)):
            for call in sorted(session, key=lambda call: (call.ts, call.seq)):
                yield _event(call)


def _event(call: _Call) -> Event:
    spoke = call.tool == _USER_SPOKE
    return Event(
        user=f"{call.repo}/{call.user}",
        session=call.session,
        time_s=call.ts / 1_000,
        action="user" if spoke else call.tool,
        resources=() if spoke else _resources(call),
        duration_s=None if call.end is None else max(0, call.end - call.ts) / 1_000,
        ok=call.ok,
        context=_circumstances(call),
    )


def _resources(call: _Call) -> tuple[str, ...]:
    command = f"{call.tool}|{call.target}" if call.kind == "cmd" and call.target else call.tool
    used = [resource_key("tool", call.tool), resource_key("tool_command", command)]
    if call.kind == "path" and call.target:
        used.append(resource_key("file", call.target))
    return tuple(used)


def _circumstances(call: _Call) -> dict[str, ContextValue]:
    found = {"agent": call.agent or None, "side": call.side}
    return {key: value for key, value in found.items() if value is not None}
