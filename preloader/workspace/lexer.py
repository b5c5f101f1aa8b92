"""Cuts a stream of text into words and quoted spans, whatever the chunks it comes in, and says what they name.

A token is a run of words that can name nothing, a word, a quoted span on one line, or a stack frame that holds spaces.
Each is of bounded length, and where it ends depends on nothing but what follows it within that bound. So a token is
given out as soon as it cannot become another one, the rest is carried over, and every division of the text into chunks
gives the same tokens. What a token holds is looked at again from within (a span holds words), at most a few times deep,
because no span holds its own kind of quote: the work is linear in the text.
"""

from __future__ import annotations

import re

from preloader.workspace.file_names import NAMES
from preloader.workspace.mentions import Form
from preloader.workspace.spaced import spaced_path
from preloader.workspace.traces import (
    BRACKETED,
    BRACKETED_BEGINS,
    MAX_BRACKETED,
    MAX_PYTHON,
    PYTHON,
    bracketed_frame,
    is_frame,
    java_frame,
    python_frame,
)
from preloader.workspace.words import Named, moved, of_word

MAX_WORD = 1024
MAX_SPAN = 256
CONTEXT = 8
"""How many characters before a token may say something about it."""

MAX_CARRIED = MAX_WORD + CONTEXT + 2
"""No more than this is ever carried over."""

_DULL = r"[^\s\"'`/\\.:\x1b]{0,64}+"
_TOKEN = re.compile(
    rf"(?:(?!\(){_DULL}(?:[.:][0-9]{_DULL}){{0,4}}+[.:]?+\s++)*+(?:"  # words, and numbers, that name nothing; then
    rf"{PYTHON}|{BRACKETED}"
    rf'|"(?P<quoted>[^"\n]{{1,{MAX_SPAN}}}+)"'
    rf"|'(?P<apostrophes>[^'\n]{{1,{MAX_SPAN}}}+)'"
    rf"|`(?P<code>[^`\n]{{1,{MAX_SPAN}}}+)`"
    r"|(?P<quote>[\"'`])"
    rf"|(?P<word>[^\s\"'`]{{1,{MAX_WORD}}}+(?!(?<=\w)'\w)|(?:[^\s\"'`]|(?<=\w)'(?=\w)){{1,{MAX_WORD}}}+)"
    r"|\s++|\Z)"
)
_INTERESTING = re.compile(r"[/\\][^\s/]|[^\s/][/\\]|\x1b|\.[^\W\d]|\.\*|::")
_NAMES_THINGS = re.compile(r"[/\\.:\x1b\"'`(]")
"""What stands in every span of several words that names anything."""

_ENDS_BRACKETS = re.compile(r"[()\n\"'`]")
_SPACE = re.compile(r"\s")
_LINE, _LONGEST_LINE = ", line ", 7
_FORMS: dict[str, Form] = {"quoted": "quoted", "apostrophes": "quoted", "code": "code"}


class Lexer:
    """Reads one stream of text. What it holds is the text carried over, and a count."""

    def __init__(self) -> None:
        self._carried = ""
        self._context = 0  # how much of the carried text was read already, and is kept for what it says about the rest
        self._read = 0  # offset of the carried text in the stream

    def feed(self, text: str, *, final: bool = False) -> list[Named]:
        """Return what the stream named up to here and was not returned before, with offsets in the stream.

        Args:
            text: What comes next.
            final: Nothing follows, so nothing is waited for; the next text begins another stream.
        """
        if not text and not final:
            return []
        text = self._carried + text + "\n" * final
        found, end = _scan(text, self._context)
        moved(found, self._read)
        if final:
            self.__init__()  # type: ignore[misc]
        else:
            kept = max(0, end - CONTEXT)
            self._carried, self._context, self._read = text[kept:], end - kept, self._read + kept
        return found

    @property
    def carried(self) -> int:
        """How many characters are held."""
        return len(self._carried)


def _scan(text: str, begin: int) -> tuple[list[Named], int]:
    """Return what ``text`` names from ``begin`` on, and up to where that is settled whatever may follow."""
    found: list[Named] = []
    length = len(text)
    for match in _TOKEN.finditer(text, begin):
        kind = match.lastgroup
        if kind is None:
            continue
        start = match.start(kind)
        if kind == "word":
            end = match.end()
            if end >= length - 1 and _may_go_on(text, start, end):
                return found, start
            if text[start] == "(" and _may_be_bracketed(text, start):
                return found, start
            if _INTERESTING.search(text, start, end) and (named := _of_word(match[kind], "bare", text, start)):
                found += moved(named, start)
        elif kind == "quote":
            if _may_close(text, start):
                return found, start
        elif kind == "python_line":
            start = match.start("python")
            if match.end() == length and len(match[kind]) < _LONGEST_LINE:
                return found, start - 1
            found += moved(python_frame(match["python"], match[kind]), start)
        else:
            if kind == "quoted" and _may_be_python(text, start - 1, match.end()):
                return found, start - 1
            found += moved(_of_span(kind, match[kind], text, start - 1), start)
    return found, length


def _of_word(word: str, form: Form, text: str, start: int) -> list[Named]:
    """Return what a word names that stands in ``text`` at ``start``, its quote included."""
    if "(" in word and ":" in word and (java := java_frame(word)) is not None:
        return [java]
    before = text[max(0, start - CONTEXT) : start]
    found = of_word(word, form, before)
    for one in found:
        if one.line is not None and is_frame(one, word, before):
            one.form = "frame"
    return found


def _of_span(kind: str, content: str, text: str, start: int) -> list[Named]:
    """Return what the inside of a span names that stands in ``text`` at ``start``."""
    if kind == "bracketed":
        return bracketed_frame(content) or _scan(content + "\n", 0)[0]
    form = _FORMS[kind]
    if not _SPACE.search(content):
        may_name = form == "code" or content in NAMES or _INTERESTING.search(content)
        return _of_word(content, form, text, start) if may_name else []
    if not _NAMES_THINGS.search(content):
        return []
    if (path := spaced_path(content)) is not None:
        return [Named("path", path[0], form, 0, path[1], path[2])]
    return _scan(content + "\n", 0)[0]


def _may_go_on(text: str, start: int, end: int) -> bool:
    """Return whether a word that reaches the end of the text, or an apostrophe there, may still go on."""
    if end - start >= MAX_WORD:
        return False
    return end == len(text) or (text[end] == "'" and text[end - 1].isalnum())


def _may_close(text: str, start: int) -> bool:
    """Return whether what follows a quote, which is not closed yet, may still become a span."""
    if text[start] == '"' and text.startswith("File ", start - 5) and start >= 5:
        return len(text) - start < MAX_PYTHON and "\n" not in text[start:]
    inside = text[start + 1 : start + 2 + MAX_SPAN]
    return len(inside) <= MAX_SPAN and "\n" not in inside and not inside.startswith(text[start])


def _may_be_python(text: str, start: int, end: int) -> bool:
    """Return whether a span in double quotes may still become a frame."""
    if not text.startswith("File ", start - 5) or start < 5:
        return False
    return len(text) <= end + len(_LINE) and _LINE.startswith(text[end:])


def _may_be_bracketed(text: str, start: int) -> bool:
    """Return whether a word that begins with a bracket may still become a frame's place."""
    if len(text) - start >= MAX_BRACKETED or not BRACKETED_BEGINS.match(text, start):
        return False
    return _ENDS_BRACKETS.search(text, start + 1) is None
