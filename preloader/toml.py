"""TOML files whose mistakes can be shown in place: which file, which line, which field, what would be right.

`tomllib` reads the data but keeps no positions, so a second pass over the text, which by then is known to be valid,
notes the line of every table, key and array element.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from preloader.checks import shown
from preloader.errors import ConfigurationError

T = TypeVar("T", bound=msgspec.Struct)

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


class _Scanner:
    """Notes the line of everything in a valid TOML text: one descent over it, each character looked at once."""

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


class TomlDocument:
    """A TOML file: its data, and where in the file each value stands.

    Attributes:
        path: The file, as it is named in messages.
        data: What `tomllib` made of it.
    """

    def __init__(self, text: str, path: Path | str) -> None:
        self.path = str(path)
        text = text.removeprefix("\ufeff").replace("\r\n", "\n") + "\n"
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = re.search(r" \(at line (\d+), column \d+\)$", str(error))
            line, reason = (f":{at[1]}", str(error)[: at.start()]) if at else ("", str(error))
            raise ConfigurationError(f"{self.path}{line}: is not valid TOML: {reason}") from error
        self._lines = _Scanner(text).lines

    @classmethod
    def read(cls, path: Path | str) -> TomlDocument:
        """Read a file.

        Raises:
            ConfigurationError: It cannot be read, is not UTF-8, or is not TOML.
        """
        try:
            return cls(Path(path).read_text(encoding="utf-8"), path)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from error

    def line(self, keys: Keys) -> int:
        """Return the line, from 1, of a value; of what holds it, where the file does not have it."""
        while keys not in self._lines:
            keys = keys[:-1]
        return self._lines[keys]

    def place(self, keys: Keys) -> str:
        """Return file, line and field of a value, as messages begin."""
        at = f", field '{dotted(keys)}'" if keys else ""
        return f"{self.path}:{self.line(keys)}{at}"

    def error(self, keys: Keys, reason: str) -> ConfigurationError:
        """Return the error that blames one value."""
        return ConfigurationError(f"{self.place(keys)}: {reason}", field=dotted(keys))

    def value(self, keys: Keys) -> Any:
        """Return the value at ``keys``."""
        value: Any = self.data
        for key in keys:
            value = value[key]
        return value

    def convert(self, keys: Keys, type_: type[T]) -> T:
        """Return the table at ``keys`` as a struct.

        Raises:
            ConfigurationError: A key is unknown or missing, or its value is of the wrong type or out of range.
        """
        try:
            return msgspec.convert(self.value(keys), type_)
        except msgspec.ValidationError as error:
            raise self._translated(keys, type_, error) from None

    def _translated(self, keys: Keys, type_: type[T], error: msgspec.ValidationError) -> ConfigurationError:
        cause = error.__cause__
        if isinstance(cause, ConfigurationError):
            return self.error((*keys, *filter(None, [cause.field])), str(cause).removeprefix(f"{cause.field} "))
        what, _, path = str(error).partition(" - at `$")
        keys = (*keys, *_steps(path))
        if unknown := re.fullmatch("Object contains unknown field `(.*)`", what, re.DOTALL):
            return self.error((*keys, unknown[1]), f"is unknown; {did_you_mean(unknown[1], type_.__struct_fields__)}")
        if missing := re.fullmatch("Object missing required field `(.*)`", what):
            return self.error((*keys, missing[1]), "is missing")
        expected = what.removeprefix("Expected ").partition(", got ")[0]
        for jargon, word in (("`", ""), (" | null", ""), ("object", "table")):
            expected = expected.replace(jargon, word)
        return self.error(keys, f"must be {expected}, not {shown(self.value(keys))}")


def _steps(path: str) -> Keys:
    """Parse the tail of msgspec's path, such as ``.requires[1]``."""
    return tuple(int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path))


def dotted(keys: Keys) -> str:
    """Return keys as a person writes them: ``components.tts.requires[1]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return what would be right in place of ``name``: the closest known name, else all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(known)}" if known else "none are known"
