"""Zsh histories: plain, or extended with times (``: SECONDS:ELAPSED;COMMAND``), in zsh's own encoding of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from preloader.history.lines import lines
from preloader.history.reader import ReadReport
from preloader.history.shell import MAX_COMMAND_BYTES, Command, ShellReader

_EXTENDED = re.compile(rb": *(\d{1,12}):(\d{1,9});")
_BROKEN = re.compile(rb": +[^;\s]*:[^;\s]*;")
_METAFIED = re.compile(rb"\x83(.)", re.DOTALL)


class ZshReader(ShellReader):
    """Reads ``~/.zsh_history``.

    A backslash at the end of a line continues the command. Bytes that zsh uses itself are stored as 0x83 and the byte
    xor 32, as its ``metafy`` does. An elapsed time of 0 means that it was not recorded, or less than a second.
    """

    name = "zsh"

    def _named(self, name: str) -> bool:
        return name.endswith(("zsh_history", ".zhistory", ".histfile"))

    def _looks(self, first_lines: list[bytes]) -> bool:
        return any(_EXTENDED.match(line) for line in first_lines)

    def _commands(self, path: Path, report: ReadReport) -> Iterator[Command]:
        latest_s: float | None = None
        for number, entry in _entries(path, report):
            timed = _EXTENDED.match(entry)
            if timed:
                latest_s = float(timed[1])
                elapsed_s = float(timed[2])
                yield Command(number, _unmetafied(entry[timed.end() :]), latest_s, elapsed_s or None)
            elif _BROKEN.match(entry):
                report.skip(path, number, "time", "expected `: SECONDS:ELAPSED;COMMAND`")
            elif entry.strip():
                yield Command(number, _unmetafied(entry), latest_s)


def _entries(path: Path, report: ReadReport) -> Iterator[tuple[int, bytes]]:
    """Yield each command's first line number and its lines, joined."""
    first = 0
    held: list[bytes] = []
    size = 0
    for number, line in lines(path, report):
        first = first if held else number
        continued = line.endswith(b"\\")
        if size < MAX_COMMAND_BYTES or not held:
            held.append(line[:-1] if continued else line)
            size += len(line)
        if not continued:
            yield first, b"\n".join(held)
            held, size = [], 0
    if held:
        yield first, b"\n".join(held)


def _unmetafied(text: bytes) -> bytes:
    return _METAFIED.sub(lambda pair: bytes([pair[1][0] ^ 32]), text)
