"""What a coding agent's session names, while it streams: words, calls whose arguments are unfinished, outputs."""

from __future__ import annotations

import asyncio
import codecs
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from preloader.errors import BusyError
from preloader.ports import Executor
from preloader.workspace.lexer import Lexer
from preloader.workspace.mentions import Mention, Source
from preloader.workspace.partial_json import PartialJson, Piece
from preloader.workspace.words import MAX_PATH, Named, of_value

INLINE = 65_536
"""Characters (or bytes) up to which `StreamAnalyzer.analyse` works on the loop; longer chunks go off it, in slices."""

_SHORT = 8_192
_YIELDS_EVERY = 2_048

MAX_STREAMS = 64
"""How many unfinished streams are kept; the one that was fed longest ago ends when there is one more."""

_PATH_FIELDS = (
    "absolute_path dir directory file file_name file_path filename filepath filePath files new_path notebook_path "
    "old_path path paths relative_path target_file"
)
PATH_FIELDS = frozenset(_PATH_FIELDS.split())
"""Arguments whose whole value is a path, whatever it looks like; under a key of such a name, so is each of a list."""


_Key = tuple[Source, str]


class _Text:
    """A stream of words."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lexer = Lexer()

    def feed(self, text: str, *, final: bool) -> list[Mention]:
        return [_mention(one, self._source) for one in self._lexer.feed(text, final=final)]


class _Arguments:
    """A stream of a call's arguments as JSON, or of the one text that some tools take instead."""

    def __init__(self) -> None:
        self._json: PartialJson | None = None
        self._text: _Text | None = None
        self._lexer = Lexer()
        self._path = ""

    def feed(self, text: str, *, final: bool) -> list[Mention]:
        if self._json is None and self._text is None:
            text = text.lstrip()
            if text and text[0] not in '{["':
                self._text = _Text("tool_call")
            elif text:
                self._json = PartialJson()
        if self._text is not None:
            return self._text.feed(text, final=final)
        if self._json is None:
            return []
        pieces = self._json.feed(text)
        if final:
            pieces += self._json.end()
        return [mention for piece in pieces for mention in self._of_piece(piece)]

    def _of_piece(self, piece: Piece) -> list[Mention]:
        if not piece.is_string:
            return []
        field = ".".join(piece.path)
        if not PATH_FIELDS.isdisjoint(piece.path[-2:]):
            self._path += piece.text[: MAX_PATH + 1 - len(self._path)]
            if not piece.ends:
                return []
            named, self._path = of_value(self._path), ""
            return [_mention(named, "tool_call", field)] if named else []
        return [_mention(one, "tool_call", field) for one in self._lexer.feed(piece.text, final=piece.ends)]


class _Stream:
    """One stream: its bytes are made text, and that is read as what the stream holds."""

    def __init__(self, source: Source) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._content: _Arguments | _Text = _Arguments() if source == "tool_call" else _Text(source)

    def feed(self, chunk: str | bytes, *, final: bool) -> list[Mention]:
        data, words = (b"", chunk) if isinstance(chunk, str) else (chunk, "")
        text = self._decoder.decode(data, final=final or isinstance(chunk, str)) + words
        return self._content.feed(text, final=final)


class StreamAnalyzer:
    """Finds what a session's streams name, each mention once and as soon as it can be no other.

    A stream is all that one source says under one name: an answer, a call's arguments, an output. Streams may
    interleave. However they are cut into chunks, within a character of UTF-8 too, the mentions are the same. Each holds
    a few kilobytes at most. It belongs to one event loop.

    Args:
        executor: Where `analyse` works on long chunks, usually the manager's. Without one it stays on the loop, and
            lets others run between short slices.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._streams: OrderedDict[_Key, _Stream] = OrderedDict()
        self._turns: dict[_Key, asyncio.Lock] = {}
        self._callers: Counter[_Key] = Counter()  # of each turn's lock, those who wait included

    def feed(self, chunk: str | bytes, source: Source, *, stream: str = "", last: bool = False) -> list[Mention]:
        """Return what the stream has named up to here, in order, without what was returned before.

        Args:
            chunk: What comes next. Of a call: its arguments as JSON.
            source: Who says it.
            stream: Tells streams of one source apart that are fed by turns, as parallel calls by their identifiers.
            last: The stream is complete, so that its end can be read; another of its name may follow.

        Raises:
            BusyError: `analyse` is working on this stream.
        """
        key = (source, stream)
        if key in self._turns:
            raise BusyError(
                f"the stream {stream!r} of {source} is being analysed: await that, or analyse this chunk too"
            )
        mentions = self._make_room(key)
        mentions += self._open(key).feed(chunk, final=last)
        if last:
            del self._streams[key]
        return mentions

    def feed_call(self, arguments: Mapping[str, Any] | str, *, stream: str = "") -> list[Mention]:
        """Return what a whole call names in its arguments, or in the one text that it takes."""
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments)
        return self.feed(text, "tool_call", stream=stream, last=True)

    async def analyse(
        self, chunk: str | bytes, source: Source, *, stream: str = "", last: bool = False
    ) -> list[Mention]:
        """Return what `feed` would, working off the loop on chunks longer than `INLINE`.

        Chunks of one stream are read in the order of the calls, also where several wait at once. A call that is
        cancelled drops what its stream had not finished: what comes next begins anew.
        """
        key = (source, stream)
        if len(chunk) <= INLINE and key not in self._turns:
            return self.feed(chunk, source, stream=stream, last=last)
        turn = self._turns.setdefault(key, asyncio.Lock())
        self._callers[key] += 1
        try:
            async with turn:
                return await self._in_slices(key, chunk, last=last)
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._callers[key], self._turns[key]

    def end(self, source: Source, stream: str = "") -> list[Mention]:
        """Return what a stream named right at its end, and forget it; nothing if there is no such stream."""
        return self.feed("", source, stream=stream, last=True)

    def forget(self) -> None:
        """Drop every unfinished stream: what it would have named is of no interest any more."""
        self._streams.clear()

    async def _in_slices(self, key: _Key, chunk: str | bytes, *, last: bool) -> list[Mention]:
        """Read ``chunk`` slice by slice. A slice that is cancelled may run on, on a stream that nobody has any more."""
        mentions = self._make_room(key)
        stream = self._open(key)
        size = INLINE if self._executor else _SHORT
        try:
            for begin in range(0, max(len(chunk), 1), size):
                mentions += await self._run(stream, chunk[begin : begin + size], last and begin + size >= len(chunk))
                if self._streams.get(key) is not stream:
                    return []  # forgotten meanwhile
        except BaseException:
            self._drop(key, stream)
            raise
        if last:
            self._drop(key, stream)
        return mentions

    async def _run(self, stream: _Stream, part: str | bytes, ends: bool) -> list[Mention]:
        if self._executor is not None:
            return await self._executor.run(_feed, stream, part, ends)
        await asyncio.sleep(0)
        return stream.feed(part, final=ends)

    def _drop(self, key: _Key, stream: _Stream) -> None:
        if self._streams.get(key) is stream:
            del self._streams[key]

    def _open(self, key: _Key) -> _Stream:
        if key not in self._streams:
            self._streams[key] = _Stream(key[0])
        self._streams.move_to_end(key)
        return self._streams[key]

    def _make_room(self, key: _Key) -> list[Mention]:
        """Return what the longest unfed stream named at its end, if it has to go for a new one."""
        if key in self._streams or len(self._streams) < MAX_STREAMS:
            return []
        oldest = next((other for other in self._streams if other not in self._turns), None)
        return self._streams.pop(oldest).feed("", final=True) if oldest else []


def _feed(stream: _Stream, chunk: str | bytes, final: bool) -> list[Mention]:
    """Feed a slice on a thread, which lets go of the interpreter's lock all the while: the loop waits for that too."""
    mentions: list[Mention] = []
    for begin in range(0, len(chunk), _YIELDS_EVERY):
        mentions += stream.feed(chunk[begin : begin + _YIELDS_EVERY], final=False)
        time.sleep(0)
    return mentions + stream.feed("", final=True) if final else mentions


def _mention(named: Named, source: Source, field: str | None = None) -> Mention:
    return Mention(named.kind, named.text, source, named.form, named.offset, named.line, named.column, field)
