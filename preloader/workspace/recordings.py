"""Recorded sessions of any coding agent whose logs are read, as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from preloader.errors import ConfigurationError
from preloader.events import Event
from preloader.history import ReadReport, group_sessions, sources
from preloader.workspace.learn.items import Item, ItemType, Recording, read_recordings

FORMATS = ("agent-transcripts", "claude-code", "codex")
"""The formats of histories that hold what agents said and called."""

_SPOKEN: dict[str, ItemType] = {"user": "user_text", "assistant": "assistant_text", "thinking": "thinking"}
_FILE = "file:"


def recordings(paths: Sequence[Path], report: ReadReport, format_name: str | None = None) -> list[Recording]:
    """Return the sessions of files, ordered by start.

    Of ``agent-transcripts`` all is kept; of the others the words, the calls, and the files that these named.

    Args:
        paths: Files or directories.
        report: Where malformed records are counted.
        format_name: Their format, if it is not to be detected.

    Raises:
        HistoryError: A path cannot be read, or its format is not known.
        ConfigurationError: They are of a format without words.
    """
    found: list[Recording] = []
    for reader, path in sources(paths, format_name):
        if reader.name not in FORMATS:
            raise ConfigurationError(f"{path} is of the format {reader.name}; a replay needs {', '.join(FORMATS)}")
        if reader.name == "agent-transcripts":
            found += read_recordings(path, report)
        else:
            sessions = group_sessions(reader.read(path, report))
            found += [Recording(one.user, one.session, tuple(_items(one.events))) for one in sessions]
    return sorted((one for one in found if one.items), key=lambda one: (one.items[0].time_s, one.session))


def _items(events: Sequence[Event]) -> Iterator[Item]:
    for number, event in enumerate(events):
        if event.action in _SPOKEN:
            yield Item(_SPOKEN[event.action], event.time_s, event.text or "")
            continue
        files = event.keys("file")
        arguments = {"file_path": files[0][len(_FILE) :]} if files else {}
        yield Item("tool_call", event.time_s, id=str(number), tool=event.action, arguments=arguments)
        ended_s = event.time_s + (event.duration_s or 0.0)
        yield Item("tool_result", ended_s, id=str(number), failed=event.ok is False)
