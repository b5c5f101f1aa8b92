"""Makes text of streams that come as bytes of UTF-8, cut anywhere."""

from __future__ import annotations

import codecs
from collections import OrderedDict

from preloader.ports import Executor
from preloader.workspace.mentions import Source
from preloader.workspace.stream import INLINE, MAX_STREAMS


class Decoding:
    """Holds of each stream the bytes of a character that is not whole; at most three of each.

    What is no UTF-8 becomes U+FFFD. However a stream is cut, its text is the same. Of more than `MAX_STREAMS` streams
    that were cut within a character, the one fed longest ago loses that character.

    Args:
        executor: Where chunks longer than `INLINE` are decoded.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._open: OrderedDict[tuple[Source, str], codecs.IncrementalDecoder] = OrderedDict()

    async def text(self, chunk: str | bytes, source: Source, stream: str = "", *, last: bool = False) -> str:
        """Return the text that is certain with this chunk; one that is text ends what the bytes before it began."""
        if not chunk and not last:
            return ""
        key = (source, stream)
        decoder = self._open.pop(key, None)
        if isinstance(chunk, str):
            return decoder.decode(b"", final=True) + chunk if decoder is not None else chunk
        decoder = decoder or _DECODER("replace")
        decode = decoder.decode
        text = decode(chunk, last) if len(chunk) <= INLINE else await self._executor.run(decode, chunk, last)
        if decoder.getstate()[0]:
            self._open[key] = decoder
            if len(self._open) > MAX_STREAMS:
                self._open.popitem(last=False)
        return text

    def forget(self) -> None:
        """Drop what is not whole: it is of no interest any more."""
        self._open.clear()


_DECODER = codecs.getincrementaldecoder("utf-8")
