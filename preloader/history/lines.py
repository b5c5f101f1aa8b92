"""Files of untrusted lines: gzip seen through, lengths bounded, every record decoded or reported with its place."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from preloader.errors import HistoryError
from preloader.history.reader import ReadReport

T = TypeVar("T")

MAX_LINE_BYTES = 16 * 2**20
"""Longer lines are skipped without being held in memory."""

HEAD_BYTES = 64 * 2**10
"""How much of a file `head` looks at."""

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BROKEN_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*(:?)|[{}\[\]]')


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, compressed or not, for reading bytes.

    Raises:
        HistoryError: There is no such file, it may not be read, or its compressed data are damaged.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(2)[:2] == _GZIP_MAGIC
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if compressed else raw
            yield cast("BinaryIO", stream)
    except _BROKEN_GZIP as error:
        raise HistoryError(f"{path}: the compressed data are damaged or end early ({error})") from error
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read ({error.strerror or error})") from error


def lines(path: Path, report: ReadReport) -> Iterator[tuple[int, bytes]]:
    """Yield each line's number, from 1, and its bytes without the line end; skip and report overlong ones.

    Raises:
        HistoryError: The file cannot be read, or its compressed data end early.
        TooManyBadRecords: Too many of its lines are overlong.
    """
    with opened(path) as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES)
                report.skip(path, number, "", f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")
                continue
            yield number, (line.removeprefix(_BOM) if number == 1 else line).rstrip(b"\r\n")


def records(path: Path, decoder: msgspec.json.Decoder[T], report: ReadReport) -> Iterator[tuple[int, T]]:
    """Yield the line number and the decoded record of each JSON line; skip and report those that cannot be decoded.

    The caller counts what it accepts with ``report.ok()``.

    Raises:
        HistoryError: The file cannot be read.
        TooManyBadRecords: Too many of its records are malformed.
    """
    for number, line in lines(path, report):
        if not line or line.isspace():
            continue
        try:
            record = decoder.decode(line)
        except _UNDECODABLE as error:
            report.skip(path, number, *blame(error))
        else:
            yield number, record
    report.finish()


def blame(error: Exception) -> tuple[str, str]:
    """Return the field that a decoding error is about (``""`` if none) and the reason in words."""
    if isinstance(error, RecursionError):
        return "", "the record is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "", "the record is not valid UTF-8"
    message = str(error)
    place = _PLACE.search(message)
    missing = _MISSING.search(message)
    steps = [place[1] if place else "", missing[1] if missing else ""]
    reason = _PLACE.sub("", message)
    return ".".join(step for step in steps if step), reason[:1].lower() + reason[1:]


def head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a file, decompressed; nothing where it cannot be read."""
    try:
        with opened(path) as stream:
            return stream.read(size)
    except HistoryError:
        return b""


def json_keys(path: Path, first_lines: int = 20) -> Iterator[set[str]]:
    """Yield the top-level keys of each of the first JSON lines, as far as `head` shows them.

    A line may be cut off: an episode's single record is often larger than what detection may read.
    """
    for line in head(path).removeprefix(_BOM).split(b"\n")[:first_lines]:
        if line.lstrip().startswith(b"{"):
            yield set(_top_level_keys(line))


def _top_level_keys(line: bytes) -> Iterator[str]:
    depth = 0
    for token in _KEY.finditer(line):
        bracket = token[0]
        if bracket in (b"{", b"["):
            depth += 1
        elif bracket in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and token[2]:
            yield token[1].decode(errors="replace")
