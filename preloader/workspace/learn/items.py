"""Recorded sessions of coding agents, as the learned parts of the workspace see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from preloader.history.fields import Name, seconds
from preloader.history.lines import records
from preloader.history.reader import ReadReport

ItemType = Literal["user_text", "assistant_text", "thinking", "tool_call", "tool_result"]
"""Who speaks in an item, or whether it is a call or its result."""

FIT_PERCENT = 80


class Item(msgspec.Struct, frozen=True):
    """One thing that was said, called or returned.

    Attributes:
        type: What it is.
        time_s: When, in seconds since 1970.
        text: The words, or what is left of a result's text.
        id: What a result shares with its call.
        tool: A call's tool.
        arguments: A call's arguments.
        failed: Whether a result is an error.
        characters: The length of a result as it was.
    """

    type: ItemType
    time_s: float = 0.0
    text: str = ""
    id: str = ""
    tool: str = ""
    arguments: dict[str, Any] = {}
    failed: bool = False
    characters: int = 0


def without_long_arguments(call: Item, longest: int) -> Item:
    """Return a call without the arguments that are longer texts, as the content of a file that is written."""
    kept = {name: value for name, value in call.arguments.items() if len(str(value)) <= longest}
    return call if len(kept) == len(call.arguments) else msgspec.structs.replace(call, arguments=kept)


class Recording(msgspec.Struct, frozen=True):
    """One session of one repository, its items ordered by time."""

    repository: str
    session: str
    items: tuple[Item, ...]


class Split(msgspec.Struct, frozen=True):
    """Sessions to fit on, to choose by, and to test on; each ordered by start."""

    fit: list[Recording]
    validation: list[Recording]
    test: list[Recording]

    def to_choose(self) -> Split:
        """Return a split without the test sessions: those to choose by are tested, the last to fit chosen by."""
        again = split(self.fit)
        return Split([*again.fit, *again.validation], again.test, self.validation)


class _Line(msgspec.Struct, frozen=True):
    at: datetime
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    arguments: dict[str, Any] | str = {}
    is_error: bool | None = None
    characters: int = 0


class _Session(msgspec.Struct, frozen=True):
    repository: Name
    session: Name
    items: tuple[_Line, ...]


_SESSION = msgspec.json.Decoder(_Session)
_TYPES: dict[str, ItemType] = {
    "user_text": "user_text",
    "assistant_text": "assistant_text",
    "thinking": "thinking",
    "tool_call": "tool_call",
    "tool_result": "tool_result",
}


def read_recordings(path: Path, report: ReadReport) -> list[Recording]:
    """Return the sessions of a file of the ``agent-transcripts`` format; what is malformed is counted in the report.

    Raises:
        HistoryError: The file cannot be read, or too much of it is malformed.
    """
    return [session for session in records(path, _decode, report) if session.items]


def split(sessions: Iterable[Recording], fit_percent: int = FIT_PERCENT) -> Split:
    """Cut each repository's sessions by start: the first part is to fit on, the rest to test on.

    Of the part to fit on, its own last fifth is to choose by. A repository with one session is tested only.
    """
    by_repository: dict[str, list[Recording]] = defaultdict(list)
    for session in sessions:
        by_repository[session.repository].append(session)
    cut = Split([], [], [])
    for members in by_repository.values():
        members.sort(key=lambda one: (one.items[0].time_s, one.session))
        fitted = len(members) * fit_percent // 100 if len(members) > 1 else 0
        first = fitted * 4 // 5
        cut.fit.extend(members[:first])
        cut.validation.extend(members[first:fitted])
        cut.test.extend(members[fitted:])
    for part in (cut.fit, cut.validation, cut.test):
        part.sort(key=lambda one: (one.items[0].time_s, one.session))
    return cut


def _decode(line: bytes) -> Recording:
    session = _SESSION.decode(line)
    items = [_item(one, number) for number, one in enumerate(session.items) if one.type in _TYPES]
    return Recording(session.repository, session.session, tuple(sorted(items, key=lambda item: item.time_s)))


def _item(line: _Line, number: int) -> Item:
    return Item(
        type=_TYPES[line.type],
        time_s=seconds(line.at, f"items[{number}].at"),
        text=line.text,
        id=line.id,
        tool=line.name,
        arguments=line.arguments if isinstance(line.arguments, dict) else {},
        failed=bool(line.is_error),
        characters=line.characters,
    )
