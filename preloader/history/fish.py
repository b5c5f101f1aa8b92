"""Fish histories: entries that look like YAML, ``- cmd: COMMAND`` and then ``  when: SECONDS``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from preloader.history.lines import lines
from preloader.history.reader import ReadReport
from preloader.history.shell import Command, ShellReader

_CMD = b"- cmd: "
_WHEN = b"  when: "
_PATHS = (b"  paths:", b"    - ")
_ESCAPE = re.compile(rb"\\([n\\])")
_SECONDS = re.compile(rb"\d{1,12}")


class FishReader(ShellReader):
    """Reads ``~/.local/share/fish/fish_history``; a backslash stands before ``n`` for a line end and before itself."""

    name = "fish"

    def _named(self, name: str) -> bool:
        return name.endswith("fish_history")

    def _looks(self, first_lines: list[bytes]) -> bool:
        return any(line.startswith(_CMD) and following.startswith(_WHEN) for line, following in pairwise(first_lines))

    def _commands(self, path: Path, report: ReadReport) -> Iterator[Command]:
        begun: Command | None = None
        for number, line in lines(path, report):
            if line.startswith(_CMD):
                if begun:
                    yield begun
                begun = Command(number, _ESCAPE.sub(_unescaped, line[len(_CMD) :]))
            elif begun and line.startswith(_WHEN):
                begun = _timed(begun, line[len(_WHEN) :].strip(), number, path, report)
            elif line.strip() and not line.startswith(_PATHS):
                report.skip(path, number, "", "expected `- cmd:`, `when:` or `paths:`")
        if begun:
            yield begun


def _timed(begun: Command, when: bytes, number: int, path: Path, report: ReadReport) -> Command | None:
    if _SECONDS.fullmatch(when):
        return Command(begun.line, begun.text, float(when))
    report.skip(path, number, "when", f"expected seconds since 1970, got {when[:40].decode(errors='replace')!r}")
    return None


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return b"\n" if escape[1] == b"n" else escape[1]
