"""Finding files by a pattern and lines by an expression, beneath a path, without following links.

A plain text is looked for in this process, in linear time. An expression is a model's and may take for ever: Python's
`re` gets it in an interpreter of its own (`preloader.workspace.isolated`), which is killed when it takes too long. The
files are opened here, so that what may be read is decided in one place; a search program that opens files itself could
be led elsewhere by a link put there meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from preloader.errors import LoadTimeoutError, RefusedCallError
from preloader.workspace.globs import Glob, braces
from preloader.workspace.reading import Reading
from preloader.workspace.syntax import ask_isolated
from preloader.workspace.text import SNIFFED_BYTES, is_binary

MAX_FOUND = 1_000
_MAX_SEARCHED_BYTES = 50_000_000
_MAX_LINE = 400
_EXPRESSION_S = 2.0
_PLAIN = re.compile(r"[^.^$*+?{}\[\]\\|()]+")


class Found(msgspec.Struct, frozen=True):
    """Paths beneath the workspace, in the order of their names, and whether there are more."""

    paths: tuple[str, ...]
    truncated: bool = False


class Match(msgspec.Struct, frozen=True):
    """A line that matches, from 1, and its text, cut where it is long."""

    path: str
    line: int
    text: str


class Matches(msgspec.Struct, frozen=True):
    """Lines that match, and whether there are more, in these files or in those that were not searched."""

    matches: tuple[Match, ...]
    truncated: bool = False


def find_files(reading: Reading, pattern: str, top: PurePosixPath) -> Found:
    """Return the files beneath ``top`` whose path from there matches; a pattern without a slash is one on names.

    Raises:
        RefusedCallError: The pattern stands for too many.
        UnknownResourceError: There is no such directory, or it may not be looked at.
    """
    matches = _matcher(pattern)
    paths: list[str] = []
    for path in reading.walk(top):
        if matches(path, top):
            if len(paths) == MAX_FOUND:
                return Found(tuple(paths), truncated=True)
            paths.append(str(path))
    return Found(tuple(paths))


def grep(
    reading: Reading, pattern: str, top: PurePosixPath, *, glob: str, ignore_case: bool, fixed: bool, most: int
) -> Matches:
    """Return the lines that match an expression, or hold a fixed text, in a file or beneath a directory.

    Raises:
        RefusedCallError: The expression is malformed, or takes too long.
        UnknownResourceError: There is no such path, or it may not be looked at.
    """
    texts = _texts(reading, top, glob)
    if fixed or _PLAIN.fullmatch(pattern):
        needle = pattern.encode()
        if not ignore_case or needle.isascii():
            return _plain(texts, needle, ignore_case=ignore_case, most=most)
        pattern = re.escape(pattern)
    return _expression(reading, texts, pattern, ignore_case=ignore_case, most=most)


class _Text(msgspec.Struct, frozen=True):
    """A file to search: its path, and its content."""

    path: str
    data: bytes


class _Texts:
    """The texts to search, in order, until there are too many."""

    def __init__(self, files: Iterator[tuple[PurePosixPath, bytes, bool]]) -> None:
        self._files = files
        self.truncated = False

    def __iter__(self) -> Iterator[_Text]:
        left = _MAX_SEARCHED_BYTES
        for path, data, is_head in self._files:
            if is_binary(data[:SNIFFED_BYTES]):
                continue
            left -= len(data)
            if left < 0:
                self.truncated = True
                return
            self.truncated = self.truncated or is_head
            yield _Text(str(path), data)


def _texts(reading: Reading, top: PurePosixPath, glob: str) -> _Texts:
    matches = _matcher(glob) if glob else None
    if (reading.confined.root / top).is_dir():  # a link to one too; what it is was noted, and is asked again below
        return _Texts(reading.contents(top, lambda path: matches is None or matches(path, top)))
    source = reading.file(top)
    return _Texts(iter([(top, source.data, source.truncated)]))


def _matcher(pattern: str) -> _Matcher:
    try:
        return _Matcher(pattern)
    except ValueError as error:
        raise RefusedCallError(str(error)) from error


class _Matcher:
    """A pattern as tools take them: with braces, and over names alone where it has no slash."""

    def __init__(self, pattern: str) -> None:
        self._globs = [Glob(one) for one in braces(pattern)]

    def __call__(self, path: PurePosixPath, top: PurePosixPath) -> bool:
        below = str(path.relative_to(top))
        return any(glob.matches(below if "/" in glob.pattern else path.name) for glob in self._globs)


def _plain(texts: _Texts, needle: bytes, *, ignore_case: bool, most: int) -> Matches:
    found: list[Match] = []
    wanted = needle.lower() if ignore_case else needle
    for source in texts:
        data = source.data.lower() if ignore_case else source.data
        if wanted not in data:
            continue
        lines = zip(data.split(b"\n"), source.data.split(b"\n"), strict=True)  # bytes keep their places in lower case
        for number, (line, written) in enumerate(lines, 1):
            if wanted in line:
                if len(found) == most:
                    return Matches(tuple(found), truncated=True)
                text = written.rstrip(b"\r").decode("utf-8", "replace")[:_MAX_LINE]
                found.append(Match(source.path, number, text))
    return Matches(tuple(found), texts.truncated)


def _expression(reading: Reading, texts: _Texts, pattern: str, *, ignore_case: bool, most: int) -> Matches:
    kept = list(texts)
    question = {
        "do": "grep",
        "pattern": pattern,
        "ignore_case": ignore_case,
        "files": [(source.path, len(source.data)) for source in kept],
        "most": most + 1,
        "longest": _MAX_LINE,
    }
    try:
        data = (source.data for source in kept)  # which may be 50 MB
        rows, cut = ask_isolated(reading, question, data, max_bytes=4_000_000, timeout_s=_EXPRESSION_S)
    except LoadTimeoutError:
        raise RefusedCallError(f"the expression {pattern[:60]!r} takes too long on these files") from None
    if rows and len(rows[0]) == 1:
        raise RefusedCallError(f"the expression {pattern[:60]!r} is malformed: {rows[0][0]}")
    found = tuple(Match(*row) for row in rows[:most])
    return Matches(found, truncated=cut or len(rows) > most or texts.truncated)
