"""Reads JSON while it still streams in: a string's characters are given out as they come, other scalars once whole.

A call's arguments are one object whose first values are known seconds before it is closed. So this is no validating
parser: it gives what is surely a value, in order, and stops for good at what cannot be JSON.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_DEPTH = 64
MAX_KEY = 256
MAX_SCALAR = 64

_SPACE = re.compile(r"[ \t\r\n]*+")
_CHARACTERS = re.compile(r'(?:[^"\\]++|\\(?:[^u]|u[0-9A-Fa-f]{4}))*+', re.DOTALL)
_CUT_OFF = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?")
_HIGH = re.compile(r"\\u[dD][89ABab][0-9A-Fa-f]{2}")
_LONGEST_ESCAPE = 6
_SCALAR = re.compile(r"[-+.\w]*+")
_ESCAPES = re.compile(
    r"\\u([dD][89ABab][0-9A-Fa-f]{2})\\u([dD][C-Fc-f][0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\(.)", re.DOTALL
)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


class Piece(NamedTuple):
    """A part of one value.

    Attributes:
        path: Keys and positions that lead to the value, from the outermost; empty for a bare string.
        text: The next characters of a string, escapes resolved; or a number, ``true``, ``false`` or ``null``, whole.
        ends: Whether the value is complete.
        is_string: Whether it is a string.
    """

    path: tuple[str, ...]
    text: str
    ends: bool
    is_string: bool


class PartialJson:
    """Parses one document, chunk by chunk; any division of it into chunks gives strings of the same characters.

    What is held is bounded: the open containers' keys, and the beginning of an escape or of a scalar.

    Attributes:
        broken: The text is no JSON, or nested deeper than `MAX_DEPTH`; nothing more will be read from it.
        complete: The document was closed; what follows is ignored.
    """

    def __init__(self) -> None:
        self.broken = False
        self.complete = False
        self._carried = ""
        self._open: list[str | int] = []  # for each open container the key, or the position, of the value read now
        self._state = "value"  # value, first (value or an end), key, colon, next, string, keystring
        self._key = ""

    def feed(self, text: str) -> list[Piece]:
        """Return the pieces that ``text`` goes on with."""
        pieces: list[Piece] = []
        text, self._carried = self._carried + text, ""
        at = 0
        while at < len(text) and not self.broken and not self.complete:
            if self._state in ("string", "keystring"):
                after = self._string(text, at, pieces)
            else:
                at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
                after = self._structure(text, at, pieces) if at < len(text) else at
            if after is None:
                self._carried = text[at:]
                break
            at = after
        return pieces

    def end(self) -> list[Piece]:
        """Return what can be made of a document that is cut off here: its open string ends, its open number too."""
        pieces: list[Piece] = []
        if self._state == "string" and not self.broken:
            pieces.append(Piece(self._path(), "", True, True))
        elif self._state in ("value", "first") and self._carried:
            pieces.append(Piece(self._path(), self._carried, True, False))
        self.complete, self._carried = True, ""
        return pieces

    def _path(self) -> tuple[str, ...]:
        return tuple(map(str, self._open))

    def _structure(self, text: str, at: int, pieces: list[Piece]) -> int | None:
        """Read one sign or scalar at ``at``; return where it ends, or ``None`` if that is not known yet."""
        sign = text[at]
        if self._state == "colon":
            self._state, self.broken = "value", sign != ":"
        elif self._state == "next":
            self._after_value(sign)
        elif sign in "}]":
            self.broken = self._state not in ("first", "key") or not self._open
            self._close()
        elif self._state == "key" or (self._state == "first" and self._open and isinstance(self._open[-1], str)):
            self._state, self._key, self.broken = "keystring", "", sign != '"'
        elif sign == '"':
            self._state = "string"
        elif sign in "{[":
            self._open.append("" if sign == "{" else 0)
            self._state = "first"
            self.broken = len(self._open) > MAX_DEPTH
        else:
            return self._scalar(text, at, pieces)
        return at + 1

    def _after_value(self, sign: str) -> None:
        if sign in "}]":
            self._close()
        elif sign != ",":
            self.broken = True
        elif isinstance(self._open[-1], int):
            self._open[-1] += 1
            self._state = "value"
        else:
            self._state = "key"

    def _close(self) -> None:
        if self._open:
            self._open.pop()
        self._value_ends()

    def _value_ends(self) -> None:
        self._state = "next"
        self.complete = not self._open

    def _scalar(self, text: str, at: int, pieces: list[Piece]) -> int | None:
        end = _SCALAR.match(text, at).end()  # type: ignore[union-attr]
        if end == at or end - at > MAX_SCALAR:
            self.broken = True
            return end
        if end == len(text):
            return None
        pieces.append(Piece(self._path(), text[at:end], True, False))
        self._value_ends()
        return end

    def _string(self, text: str, at: int, pieces: list[Piece]) -> int | None:
        """Read on in a string; return up to where, or ``None`` if an escape is cut off right at ``at``."""
        end = _CHARACTERS.match(text, at).end()  # type: ignore[union-attr]
        rest = text[end : end + _LONGEST_ESCAPE]
        if len(rest) < _LONGEST_ESCAPE and _may_be_escape(rest):
            end = _before_half_pair(text, at, end)
        if end > at:
            self._add(_unescaped(text[at:end]), pieces)
            return end
        if text[at] == '"':
            self._end_string(pieces)
            return at + 1
        self.broken = not _may_be_escape(rest)
        return None

    def _end_string(self, pieces: list[Piece]) -> None:
        if self._state == "keystring":
            self._open[-1], self._state = self._key, "colon"
        else:
            pieces.append(Piece(self._path(), "", True, True))
            self._value_ends()

    def _add(self, text: str, pieces: list[Piece]) -> None:
        if self._state == "string":
            pieces.append(Piece(self._path(), text, False, True))
        else:
            self._key = (self._key + text)[:MAX_KEY]


def _may_be_escape(rest: str) -> bool:
    """Return whether ``rest``, up to where the text ends, may be the beginning of an escape, or nothing yet."""
    return not rest or _CUT_OFF.fullmatch(rest) is not None


def _before_half_pair(text: str, at: int, end: int) -> int:
    """Return ``end``, or where the first half of a surrogate pair begins that ends there."""
    half = max(at, end - _LONGEST_ESCAPE)
    is_escape = _HIGH.match(text, half, end) and (len(text[at:half]) - len(text[at:half].rstrip("\\"))) % 2 == 0
    return half if is_escape else end


def _unescaped(text: str) -> str:
    return _ESCAPES.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    high, low, unit, sign = match.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if unit is None:
        return _ESCAPED.get(sign, sign)
    return "\ufffd" if "d800" <= unit.lower() < "e000" else chr(int(unit, 16))
