"""Makes whole items of what streams: the learned models look at sentences, calls and results, not at chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from preloader.workspace.learn.items import Item, ItemType
from preloader.workspace.mentions import Source

MOST_CHARACTERS = 65_536
"""How much of one item is kept; what is longer keeps its length, not its end."""

_MOST_OPEN = 64
_TYPES: dict[Source, ItemType] = {
    "assistant": "assistant_text",
    "thinking": "thinking",
    "user": "user_text",
    "tool_call": "tool_call",
    "tool_output": "tool_result",
}
_SPOKEN: tuple[Source, ...] = ("assistant", "thinking", "user")


class Chunk(msgspec.Struct, frozen=True):
    """What was fed at once.

    Attributes:
        text: The words, or a part of a call's arguments as JSON.
        source: Who says it.
        stream: Tells streams of one source apart; of a call and its output the identifier.
        last: Whether the stream ends with it.
        tool: Of a call: its tool.
        time_s: When it came, in seconds since 1970.
    """

    text: str
    source: Source
    stream: str = ""
    last: bool = False
    tool: str = ""
    time_s: float = 0.0


class _Open:
    def __init__(self, chunk: Chunk) -> None:
        self.source, self.stream, self.time_s = chunk.source, chunk.stream, chunk.time_s
        self.tool, self.characters = "", 0
        self._parts: list[str] = []
        self._kept = 0

    def add(self, chunk: Chunk) -> None:
        self.tool = chunk.tool or self.tool
        self.characters += len(chunk.text)
        part = chunk.text[: MOST_CHARACTERS - self._kept]
        self._kept += len(part)
        if part:
            self._parts.append(part)

    def item(self) -> Item:
        text = "".join(self._parts)
        is_call = self.source == "tool_call"
        return Item(
            type=_TYPES[self.source],
            time_s=self.time_s,
            text="" if is_call else text,
            id=self.stream,
            tool=self.tool,
            arguments=_arguments(text) if is_call else {},
            characters=self.characters,
        )


class WholeItems:
    """Collects chunks until an item is complete: its stream ends or, of words, somebody else has the word."""

    def __init__(self) -> None:
        self._open: dict[tuple[Source, str], _Open] = {}

    def add(self, chunk: Chunk) -> list[Item]:
        """Take a chunk; return the items that are whole now, in order."""
        key = (chunk.source, chunk.stream)
        whole = [one for other in list(self._open) if other != key and other[0] in _SPOKEN for one in self._end(other)]
        if chunk.text or chunk.tool or key in self._open:  # a call may have no arguments
            self._open.setdefault(key, _Open(chunk)).add(chunk)
        if chunk.last:
            whole += self._end(key)
        elif len(self._open) > _MOST_OPEN:
            whole += self._end(next(iter(self._open)))
        return whole

    def tool(self, chunk: Chunk) -> str:
        """Return the tool of the call that a chunk belongs to, as far as it was said."""
        begun = self._open.get((chunk.source, chunk.stream))
        return chunk.tool or (begun.tool if begun is not None else "")

    def flush(self) -> list[Item]:
        """Return what was said so far as whole: a step begins."""
        return [one for key in list(self._open) if key[0] in _SPOKEN for one in self._end(key)]

    def _end(self, key: tuple[Source, str]) -> Iterator[Item]:
        ended = self._open.pop(key, None)
        if ended is not None:
            yield ended.item()


def _arguments(text: str) -> dict[str, Any]:
    """Return a call's arguments; none where they are no table, or were cut."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
