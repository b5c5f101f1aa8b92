"""The tau2-bench simulations (arXiv 2506.07982): customer-service episodes of an assistant with tools."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from preloader.events import Event, resource_key
from preloader.history.fields import Name, seconds
from preloader.history.lines import json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

START_S = 1_754_006_400.0
"""When the first episode without recorded times begins: 1 August 2025, when most others were recorded."""

EPISODE_S = 3_600.0
MESSAGE_S = 2.0


class _ToolCall(msgspec.Struct, frozen=True):
    name: Name


class _Message(msgspec.Struct, frozen=True):
    role: Name
    content: str | None = None
    tool_calls: tuple[_ToolCall, ...] | None = None
    timestamp: datetime | None = None


class _Episode(msgspec.Struct, frozen=True):
    id: Name
    domain: Name
    task_id: Name
    messages: tuple[_Message, ...]


_EPISODE = msgspec.json.Decoder(_Episode)


class Tau2Reader:
    """Reads episodes; the user is the domain, the session the episode, and ``context`` holds the task.

    Each tool call of the assistant is an event that uses its ``tool``; what the simulated user says is an event
    ``user`` with the words (calls by the simulated user are left out). What the assistant says is an event
    ``assistant``, unless it says it with a call: those words would belong to what is to be predicted. Times are the
    recorded ones, taken as UTC. An episode without them is given made-up, increasing ones: an hour between episodes,
    2 s between messages.
    """

    name = "tau2"
    kinds: tuple[str, ...] = ("tool",)
    rule = SplitRule(order="task", min_sessions=1)
    _keys = frozenset({"id", "domain", "task_id"})

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of an episode."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of one episode after the other; see `Reader.read`."""
        for index, episode in enumerate(records(path, _decode, report)):
            yield from _events(episode, START_S + index * EPISODE_S)


def _decode(line: bytes) -> _Episode:
    episode = _EPISODE.decode(line)
    for number, message in enumerate(episode.messages):
        if message.timestamp:
            seconds(message.timestamp, f"messages[{number}].timestamp")
    return episode


def _events(episode: _Episode, start_s: float) -> Iterator[Event]:
    recorded = [message.timestamp for message in episode.messages]
    for number, message in enumerate(episode.messages):
        moment = message.timestamp
        time_s = seconds(moment) if moment and None not in recorded else start_s + number * MESSAGE_S
        for action, text, resources in _deeds(message):
            yield Event(
                user=episode.domain,
                session=episode.id,
                time_s=time_s,
                action=action,
                text=text,
                resources=resources,
                context={"task_id": episode.task_id},
            )


def _deeds(message: _Message) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    """Yield action, text and resources of what one message does that matters here."""
    if message.role == "user" and message.content:
        yield "user", message.content, ()
    if message.role == "assistant":
        for call in message.tool_calls or ():
            yield call.name, None, (resource_key("tool", call.name),)
        if message.content and not message.tool_calls:
            yield "assistant", message.content, ()
