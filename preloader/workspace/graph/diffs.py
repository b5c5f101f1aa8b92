"""What a change touches: paths, and where a diff says so, the lines of the new files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_ESCAPED = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}
_PREFIX = re.compile(r"^[abciow]/")  # git's, and those of diff.mnemonicPrefix
_NONE = "/dev/null"
_MAX_LINE = 2_000  # characters of an import that are looked at
_DEFINITION = re.compile(
    r"-\s*(?:(?:export|default|public|private|protected|static|final|abstract|pub(?:\([^)]{0,64}\))?|async|unsafe)\s+)*"
    r"(?:def|class|function\*?|func|fn|const|let|var|type|interface|struct|enum|trait|record)\s+(\w+)"
)


# What files may offer besides: names that are assigned, entries of a list over several lines, all that an import names.
_ENTRY = re.compile(r"-\s*+(\w+)\s*+(?:(?::[^=]{0,200})?=(?!=)|(?:as\s++(\w+)\s*+)?,?\s*+(?:(?:#|//).*)?$)")
_IMPORT = re.compile(r"-\s*(?:from|import|export|(?:pub(?:\([^)]{0,64}\))?\s+)?use)\b")
_WORD = re.compile(r"\w+")


class Change(Struct, frozen=True):
    """A file that was changed, or is to be.

    Attributes:
        path: The file.
        lines: The first and the last line of each part of the new file that was changed; where nothing was put in the
            place of what was deleted, the lines around. Empty where all of it counts as changed.
        deleted: Whether the file is no more.
        removed: What lines that were taken out defined, or may have offered on.
    """

    path: str
    lines: tuple[tuple[int, int], ...] = ()
    deleted: bool = False
    removed: tuple[str, ...] = ()


class _Parser:
    """Reads a unified diff line by line."""

    def __init__(self) -> None:
        self.changes: dict[str, Change] = {}
        self._old = self._new = ""
        self._lines: list[tuple[int, int]] = []
        self._removed: set[str] = set()
        self._at = self._old_left = self._new_left = 0

    def feed(self, line: str) -> None:
        """Take the next line."""
        if self._old_left > 0 or self._new_left > 0:
            self._in_hunk(line)
        elif line.startswith("diff --git "):
            self.end()
        elif line.startswith("--- "):
            if self._new:
                self.end()
            self._old = _unquoted(line[4:].partition("\t")[0])
        elif line.startswith("+++ "):
            self._new = _unquoted(line[4:].partition("\t")[0])
            if self._old != self._new:  # as with diff.noprefix
                self._old, self._new = _PREFIX.sub("", self._old), _PREFIX.sub("", self._new)
        elif line.startswith("rename from "):
            self._enter(Change(_unquoted(line[12:]), deleted=True))
        elif line.startswith("rename to "):
            self._enter(Change(_unquoted(line[10:])))
        elif match := _HUNK.match(line):
            self._old_left, self._new_left = int(match[1] or 1), int(match[3] or 1)
            self._at = int(match[2]) + (not self._new_left)

    def end(self) -> None:
        """Enter the file whose lines were read."""
        if self._new and self._new != _NONE:
            lines = _joined(self._lines) if self._old != _NONE else ()
            self._enter(Change(self._new, lines, removed=tuple(sorted(self._removed))))
        elif self._new:
            self._enter(Change(self._old, deleted=True))
        self._old = self._new = ""
        self._lines = []
        self._removed = set()
        self._old_left = self._new_left = 0

    def _in_hunk(self, line: str) -> None:
        if line.startswith("+"):
            self._lines.append((self._at, self._at))
            self._at += 1
            self._new_left -= 1
        elif line.startswith("-"):
            self._lines.append((max(1, self._at - 1), self._at))
            self._old_left -= 1
            self._removed.update(_offered(line))
        elif not line.startswith("\\"):  # "no newline at end of file"
            self._at += 1
            self._old_left -= 1
            self._new_left -= 1

    def _enter(self, change: Change) -> None:
        if change.path:
            self.changes[change.path] = change


def _offered(line: str) -> Iterable[str]:
    """Return the names that a removed line may have offered to other files."""
    if match := _DEFINITION.match(line) or _ENTRY.match(line):
        return filter(None, match.groups())
    return _WORD.findall(line[:_MAX_LINE]) if _IMPORT.match(line) else ()


def changes_of_diff(text: str) -> list[Change]:
    """Return what a unified diff changes, as ``git diff`` and ``diff -u`` print it.

    Text that is no diff changes nothing; a file that was only renamed is one deletion and one change.
    """
    parser = _Parser()
    for line in text.split("\n"):
        parser.feed(line)
    parser.end()
    return list(parser.changes.values())


def _joined(lines: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, last in lines:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (min(joined[-1][0], first), max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([_ESCAPED[code] if code in _ESCAPED else int(code, 8) & 0xFF])

    return _ESCAPE.sub(plain, text[1:-1].encode()).decode(errors="replace")
