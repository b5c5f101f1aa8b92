"""Files of untrusted lines: gzip seen through, lengths bounded, every record decoded or reported with its place."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from preloader.errors import HistoryError
from preloader.history.fields import Malformed
from preloader.history.reader import ReadReport

T = TypeVar("T")

MAX_LINE_BYTES = 16 * 2**20
"""Longer lines are skipped without being held in memory."""

HEAD_BYTES = 64 * 2**10
"""How much of a file `head` looks at."""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Malformed)
"""What decoding one record may raise; `blame` says it in words."""

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BROKEN_GZIP = (gzip.BadGzipFile, EOFError, zlib.error)
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


def records(path: Path, decode: Callable[[bytes], T], report: ReadReport) -> Iterator[T]:
    """Yield each JSON line, decoded; skip and report those that cannot be.

    Args:
        path: The file.
        decode: Makes a record of a line; what it raises (msgspec's errors, `Malformed`) is what is wrong with the line.
        report: Counts every record as good or bad before the next is read.

    Raises:
        HistoryError: The file cannot be read.
        TooManyBadRecords: Too many of its records are malformed.
    """
    for number, line in lines(path, report):
        if not line or line.isspace():
            continue
        try:
            record = decode(line)
        except UNDECODABLE as error:
            report.skip(path, number, *blame(error))
        else:
            report.ok()
            yield record
    report.finish()


def decode_within(decoder: msgspec.json.Decoder[T], part: msgspec.Raw, field: str) -> T:
    """Decode a part of a record that was left raw, and blame errors on its place in the whole record.

    Raises:
        Malformed: It cannot be decoded.
    """
    try:
        return decoder.decode(part)
    except UNDECODABLE as error:
        inner, reason = blame(error)
        raise Malformed(f"{field}.{inner}" if inner else field, reason) from error


def blame(error: Exception) -> tuple[str, str]:
    """Return the field that a decoding error is about (``""`` if none) and the reason in words."""
    if isinstance(error, Malformed):
        return error.field, error.reason
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
