"""What a coding agent's tool calls have in common, whichever log they stand in: resources used, and results to come."""

from __future__ import annotations

import posixpath
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from preloader.events import ContextValue, Event, resource_key
from preloader.history.commands import command_head

KINDS: tuple[str, ...] = ("tool", "tool_command", "file")
"""The resource kinds that agent logs state."""

MAX_OPEN_CALLS = 256
"""How many events wait for the oldest call's result before that is given up."""

_COMMAND_FIELDS = ("command", "cmd")
_PATH_FIELDS = ("file_path", "path", "filePath", "notebook_path", "absolute_path", "target_file")
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.+)$", re.MULTILINE)
_SHELLS = re.compile(r"(?:.*/)?(?:ba|z|da|k)?sh")


def call_resources(name: str, arguments: Mapping[str, Any] | str, root: str | None = None) -> tuple[str, ...]:
    """Return the resources of one tool call: its tool, its tool with the command's head, the files that it names.

    Args:
        name: The tool.
        arguments: Its arguments by name, or its whole input where that is a text (a patch).
        root: The project's directory; file paths inside it are made relative to it.
    """
    command = None if isinstance(arguments, str) else _command(arguments)
    head = command_head(command) if command else None
    used = [resource_key("tool", name), resource_key("tool_command", f"{name}|{head}" if head else name)]
    used.extend(resource_key("file", relative_path(path, root)) for path in _paths(arguments, command))
    return tuple(dict.fromkeys(used))


def relative_path(path: str, root: str | None) -> str:
    """Return ``path`` relative to ``root`` where it lies inside, normalised but never looked up on this machine."""
    path = path.replace("\\", "/") if root and "\\" in root else path
    base = (root or "").replace("\\", "/").rstrip("/")
    if base and path.startswith(base + "/"):
        path = path[len(base) + 1 :]
    elif base and path.rstrip("/") == base:
        path = "."
    return posixpath.normpath(path)


def _command(arguments: Mapping[str, Any]) -> str | None:
    found = next((arguments[field] for field in _COMMAND_FIELDS if arguments.get(field)), None)
    if isinstance(found, list) and all(isinstance(word, str) for word in found):
        runs_script = len(found) > 2 and _SHELLS.fullmatch(found[0]) and found[1] in ("-c", "-lc")
        return str(found[2]) if runs_script else " ".join(found)
    return found if isinstance(found, str) else None


def _paths(arguments: Mapping[str, Any] | str, command: str | None) -> Iterator[str]:
    if isinstance(arguments, str):
        yield from _PATCHED.findall(arguments)
    elif command:
        yield from _PATCHED.findall(command)
    else:
        named = (arguments.get(field) for field in _PATH_FIELDS)
        yield from [path for path in named if isinstance(path, str) and path.strip()][:1]


class CallLog:
    """Holds one session's events back until their results are known, and gives them out in order.

    Memory is bounded: past `MAX_OPEN_CALLS` waiting events the oldest goes out without its result.

    Args:
        user: Of all events.
        session: Of all events.
    """

    def __init__(self, user: str, session: str) -> None:
        self._user = user
        self._session = session
        self._waiting: OrderedDict[int, Event] = OrderedDict()
        self._open: dict[str, int] = {}
        self._added = 0

    def say(self, action: str, text: str, time_s: float, context: Mapping[str, ContextValue]) -> None:
        """Add words; blank ones are left out."""
        if text.strip():
            self._add(self._event(time_s, action, context, text=text))

    def call(
        self, call_id: str, name: str, resources: tuple[str, ...], time_s: float, context: Mapping[str, ContextValue]
    ) -> None:
        """Add a tool call whose result is still to come."""
        self._open[call_id] = self._added
        self._add(self._event(time_s, name, context, resources=resources))

    def result(self, call_id: str, time_s: float, ok: bool | None) -> None:
        """Note how a call ended; results of unknown calls say nothing and are ignored."""
        place = self._open.pop(call_id, None)
        if place is not None and place in self._waiting:
            begun = self._waiting[place]
            duration_s = round(max(0.0, time_s - begun.time_s), 6)
            self._waiting[place] = msgspec.structs.replace(begun, ok=ok, duration_s=duration_s)

    def settled(self) -> Iterator[Event]:
        """Yield, in order, what no longer waits for a result."""
        still_open = set(self._open.values())
        while self._waiting:
            place = next(iter(self._waiting))
            if place in still_open and len(self._waiting) <= MAX_OPEN_CALLS:
                return
            yield self._waiting.pop(place)

    def rest(self) -> Iterator[Event]:
        """Yield, in order, all that is left: the log is over."""
        yield from self._waiting.values()
        self._waiting.clear()
        self._open.clear()

    def _add(self, event: Event) -> None:
        self._waiting[self._added] = event
        self._added += 1

    def _event(
        self,
        time_s: float,
        action: str,
        context: Mapping[str, ContextValue],
        text: str | None = None,
        resources: tuple[str, ...] = (),
    ) -> Event:
        return Event(
            user=self._user,
            session=self._session,
            time_s=time_s,
            action=action,
            text=text,
            resources=resources,
            context=dict(context),
        )
