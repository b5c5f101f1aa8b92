"""Runs tools, and says why a step failed or could not run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
HERE = NATIVE / "verify"
BUILD = ROOT / "build" / "verify"
"""Everything that a step makes or installs lies here; git ignores it."""


class StepFailedError(Exception):
    """A check found something, or did not build."""

    def __init__(self, what: str, output: str = "") -> None:
        super().__init__(what)
        self.output = output


class StepSkippedError(Exception):
    """A check cannot run on this machine; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended, or was killed at its time limit.

    Attributes:
        code: Exit status; negative for a signal, as in `subprocess`.
        output: Standard output and error together.
        timed_out: Whether the time limit ended it.
    """

    code: int
    output: str
    timed_out: bool

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.code == 0 and not self.timed_out

    @property
    def last_line(self) -> str:
        """The last line that is not blank; empty where there is none."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float = 600,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``command`` in a process group of its own, which is killed whole at the time limit."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
        timed_out = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        timed_out = True
    return Finished(process.returncode, output.decode(errors="replace"), timed_out)


def demand(command: Sequence[str | Path], what: str, *, timeout_s: float = 600, cwd: Path = ROOT) -> Finished:
    """Run ``command`` and return what it said.

    Raises:
        StepFailedError: It failed; the message begins with ``what``.
    """
    finished = run(command, timeout_s=timeout_s, cwd=cwd)
    if finished.ok:
        return finished
    how = f"took more than {timeout_s:g} s" if finished.timed_out else f"exit status {finished.code}"
    raise StepFailedError(f"{what}: {how}: {finished.last_line}", finished.output)


def tool(name: str, *others: str) -> str:
    """Return the path of the first of these programs that is installed.

    Raises:
        StepSkippedError: None is.
    """
    for candidate in (name, *others):
        found = shutil.which(candidate)
        if found:
            return found
    raise StepSkippedError(f"{' or '.join((name, *others))} is not installed (scripts/install_verify_packages.sh)")
