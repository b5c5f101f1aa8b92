"""On which line of a TOML text everything stands.

`tomllib` reads the data but keeps no positions, so this is a second pass over the text: one descent, each character
looked at once. It relies on the text being valid, as `tomllib` has found by then.
"""

from __future__ import annotations

import re
import tomllib

Keys = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and indices into arrays."""

_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")  # a number, a boolean or a date, which may hold a space
_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_SPACE = re.compile(r"[ \t]+")


def lines_of(text: str) -> dict[Keys, int]:
    """Return the line, from 1, of every table, key and array element of a valid text that ends with a newline."""
    return _Scanner(text).lines


class _Scanner:
    """The descent, done by its construction."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Keys, int] = {(): 1}
        self._elements: dict[Keys, int] = {}  # index of the latest element of each array of tables
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        table: Keys = ()
        while self._skip(_BLANK) < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Keys:
        line = self._here()
        is_array = self._text.startswith("[[", self._at)
        self._at += 1 + is_array
        keys = self._inside_latest_elements(self._key())
        self._at += 1 + is_array
        if is_array:
            self.lines.setdefault(keys, line)
            self._elements[keys] = self._elements.get(keys, -1) + 1
            keys = (*keys, self._elements[keys])
        self.lines[keys] = line
        return keys

    def _inside_latest_elements(self, keys: Keys) -> Keys:
        """Insert the index of the latest element wherever ``keys`` leads through an array of tables."""
        path: Keys = ()
        for key in keys[:-1]:
            path = (*path, key)
            path = (*path, self._elements[path]) if path in self._elements else path
        return (*path, keys[-1])

    def _pair(self, table: Keys) -> None:
        line = self._here()
        keys = (*table, *self._key())
        for depth in range(len(table) + 1, len(keys) + 1):  # a dotted key opens tables on its way
            self.lines.setdefault(keys[:depth], line)
        self._at += 1  # the equals sign
        self._value(keys)

    def _key(self) -> Keys:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = _STRING.match(self._text, self._at)
            found = quoted or _BARE_KEY.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            parts.append(_unquoted(found.group()) if quoted else found.group())
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _value(self, keys: Keys) -> None:
        self._skip(_BLANK)
        self.lines.setdefault(keys, self._here())
        opening = self._text[self._at]
        if opening == "[":
            self._group("]", keys, is_table=False)
        elif opening == "{":
            self._group("}", keys, is_table=True)
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert found is not None
            self._at = found.end()

    def _group(self, closing: str, keys: Keys, *, is_table: bool) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_BLANK)] != closing:
            if self._text[self._at] == ",":
                self._at += 1
            elif is_table:
                self._pair(keys)
            else:
                self._value((*keys, index))
                index += 1
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unquoted(key: str) -> str:
    return str(tomllib.loads(f"key = {key}")["key"])
