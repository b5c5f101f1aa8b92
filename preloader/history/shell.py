"""What shell histories have in common: commands, reduced to what they run, in sessions that pauses end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import msgspec

from preloader.events import Event, resource_key
from preloader.history.commands import command_head
from preloader.history.fields import LAST_SECOND
from preloader.history.gaps import GapSessions
from preloader.history.lines import HEAD_BYTES, head
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

UNTIMED_START_S = 946_684_800.0
"""When made-up times begin: the year 2000, so that commands without times precede all that have them."""

UNTIMED_STEP_S = 10.0
UNTIMED_SESSION = 50
MAX_COMMAND_BYTES = 65_536


class Command(msgspec.Struct, frozen=True):
    """One command line as a history has it: where, what, and what is known of its time."""

    line: int
    text: bytes
    time_s: float | None = None
    duration_s: float | None = None


class ShellReader(ABC):
    """Reads one shell's history file; the shell is the user.

    Each command is an event that uses its ``command``: the program, with its sub-command where it has such. The rest of
    the line is left out, since command lines hold secrets. Sessions end at pauses of half an hour. Where a history
    records no times they are made up, 10 s apart, and a session is 50 commands.
    """

    name: str
    kinds: tuple[str, ...] = ("command",)
    rule = SplitRule()

    def detects(self, path: Path) -> bool:
        """Return whether the name or the first lines are those of this shell's history."""
        if path.is_dir():
            return False
        return self._named(path.name.removesuffix(".gz")) or self._looks(head(path, HEAD_BYTES).split(b"\n")[:20])

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per command that runs something; see `Reader.read`."""
        sessions = GapSessions(path.name.removesuffix(".gz"))
        untimed = 0
        for command in self._commands(path, report):
            known_s = command.time_s
            if known_s is not None and known_s > LAST_SECOND:
                report.skip(path, command.line, "time", f"{known_s:.0f} is not a time in seconds since 1970")
                continue
            report.ok()
            if known_s is None:
                known_s = _made_up_s(untimed)
                untimed += 1
            ran = command_head(command.text[:MAX_COMMAND_BYTES].decode(errors="replace"))
            if ran:
                session, time_s = sessions.place(known_s)
                yield Event(
                    user=self.name,
                    session=session,
                    time_s=time_s,
                    action=ran,
                    resources=(resource_key("command", ran),),
                    duration_s=command.duration_s,
                )
        report.finish()

    @abstractmethod
    def _named(self, name: str) -> bool:
        """Return whether a file of this name is this shell's."""

    @abstractmethod
    def _looks(self, first_lines: list[bytes]) -> bool:
        """Return whether the first lines can only be this shell's."""

    @abstractmethod
    def _commands(self, path: Path, report: ReadReport) -> Iterator[Command]:
        """Yield the commands; report what cannot be one."""


def _made_up_s(index: int) -> float:
    session, place = divmod(index, UNTIMED_SESSION)
    return UNTIMED_START_S + session * 3_600.0 + place * UNTIMED_STEP_S
