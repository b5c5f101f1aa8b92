"""Bytes that a workspace is fed, cut anywhere, are the same text; what is no UTF-8 is replaced and harms nothing."""

import asyncio
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from preloader.scheduling.execution import InlineExecutor
from preloader.workspace.decoding import Decoding
from preloader.workspace.stream import MAX_STREAMS, StreamAnalyzer

PIECES = [
    b"`src/\xc3\xa9t\xc3\xa9.py`",
    "日本/語.rs ".encode(),
    b"\xf0\x9f\x98\x80",
    b"a/b.py",
    b" ",
    b"\n",
    b'"x y.md"',
]
PIECES += [b"\xff", b"\xc3", b"\xe3\x81", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\x80", b"\xef\xbb\xbf", b"/"]
STREAMS = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


async def texts(chunks):
    decoding = Decoding(InlineExecutor())
    return [await decoding.text(chunk, "assistant", last=at == len(chunks)) for at, chunk in enumerate(chunks, 1)]


def cut(data, cuts):
    places = sorted([0, len(data), *(place % (len(data) + 1) for place in cuts)])
    return [data[begin:end] for begin, end in pairwise(places)]


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 400), max_size=12))
@example("`日本/語.rs`".encode(), list(range(20)))
@example(b"\xf0\x9f\x98", [1, 2])
def test_bytes_cut_anywhere_are_the_same_text_and_name_the_same(data, cuts):
    whole = data.decode("utf-8", "replace")
    parts = asyncio.run(texts(cut(data, cuts)))
    assert "".join(parts) == whole
    analyzer = StreamAnalyzer()
    found = [one for part in parts for one in analyzer.feed(part, "assistant")] + analyzer.end("assistant")
    assert found == StreamAnalyzer().feed(whole, "assistant", last=True)


def test_text_ends_the_character_that_bytes_began():
    assert asyncio.run(texts([b"a\xc3", "b", b"\xa9", ""])) == ["a", "�b", "�", ""]


def test_a_character_cut_in_a_very_long_chunk_is_whole():
    data = "é".encode() * 100_000
    assert "".join(asyncio.run(texts([data[:150_001], data[150_001:]]))) == "é" * 100_000


def test_streams_are_apart_and_bounded():
    async def scenario():
        decoding = Decoding(InlineExecutor())
        for number in range(MAX_STREAMS + 1):
            assert await decoding.text(b"\xc3", "tool_output", str(number)) == ""
        return [await decoding.text(b"\xa9", "tool_output", str(number)) for number in (1, MAX_STREAMS, 0)]

    assert asyncio.run(scenario()) == ["é", "é", "�"]
