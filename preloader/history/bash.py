"""Bash histories: a command per line, each after a line ``#SECONDS`` where ``HISTTIMEFORMAT`` was set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from preloader.history.lines import lines
from preloader.history.reader import ReadReport
from preloader.history.shell import MAX_COMMAND_BYTES, Command, ShellReader

_TIME = re.compile(rb"#(\d{9,12})\s*")


class BashReader(ShellReader):
    """Reads ``~/.bash_history``.

    Bash writes a command of several lines as several lines. Where there are times the lines up to the next time are one
    command; where there are none each line counts as one.
    """

    name = "bash"

    def _named(self, name: str) -> bool:
        return name.endswith("bash_history")

    def _looks(self, first_lines: list[bytes]) -> bool:
        return any(_TIME.fullmatch(line) for line in first_lines)

    def _commands(self, path: Path, report: ReadReport) -> Iterator[Command]:
        begun: Command | None = None
        for number, line in lines(path, report):
            time = _TIME.fullmatch(line)
            if time:
                if begun and begun.text:
                    yield begun
                begun = Command(number, b"", float(time[1]))
            elif begun is None:
                if line.strip():
                    yield Command(number, line)
            elif len(begun.text) < MAX_COMMAND_BYTES:
                begun = Command(begun.line, begun.text + b"\n" + line if begun.text else line, begun.time_s)
        if begun and begun.text:
            yield begun
