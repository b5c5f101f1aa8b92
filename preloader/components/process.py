"""A program that is started before it is needed: a language server, a REPL, a model runner of its own.

It is given as a list of arguments and never meets a shell. It runs in a session of its own, so that it and whatever it
has started can be ended together: asked first (SIGTERM), then not (SIGKILL).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import Sequence
from pathlib import Path

from preloader.checks import is_name, shown
from preloader.errors import ConfigurationError, LoadError, require
from preloader.ports import Executor, Loaded

_GRACE_S = 2.0
_LINE_BYTES = 1 << 20


class WarmProcess:
    """The value of a subprocess component: a running program and its pipes.

    Attributes:
        process: asyncio's process: ``stdin`` and ``stdout`` are its pipes; what it writes to stderr goes to ours.
        ready_line: The line by which it said that it is ready; empty where none was awaited.
    """

    def __init__(self, process: Process, transport: asyncio.SubprocessTransport) -> None:
        self.process = process
        self.ready_line = ""
        self._transport = transport

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Where the program reads from."""
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What the program writes."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def stop(self, grace_s: float = _GRACE_S) -> None:
        """End the program and what it has started; whoever is left after ``grace_s`` is killed."""
        try:
            if self.is_running and grace_s > 0:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.process.wait(), grace_s)
        finally:
            self._signal(signal.SIGKILL)
            self._transport.close()
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running:  # later its number may be another's; `_Protocol` has ended whom it left behind
            _signal_group(self.process.pid, number)


class _Protocol(SubprocessStreamProtocol):
    """Ends what a program has started as soon as it has ended itself, while its number can be no other group's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LINE_BYTES, loop=loop)
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._pid = transport.get_pid() or 0
        super().connection_made(transport)

    def process_exited(self) -> None:
        _signal_group(self._pid, signal.SIGKILL)
        super().process_exited()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of zombies
        os.killpg(pid, number)


class ProcessLoader:
    """Starts a program; it is ready at once, or when it has written a line that matches.

    Args:
        command: The program and its arguments; a program without a slash in it is found on PATH.
        ready: A regular expression that a line of its output matches, somewhere, once it is ready. The lines until then
            are read; what follows is the user's.
        cwd: Where it runs; here unless given.

    Raises:
        ConfigurationError: The command is not a list of strings, or ``ready`` is no regular expression.
    """

    immutable = False

    def __init__(self, command: Sequence[str], ready: str | None = None, cwd: Path | str | None = None) -> None:
        if isinstance(command, str) or not command or not all(map(is_name, command)):
            expected = "a list of a program and its arguments, as in ['pylsp', '--verbose']"
            raise ConfigurationError(f"command must be {expected}, not {shown(command)}", field="command")
        try:
            self._ready = None if ready is None else re.compile(ready.encode())
        except re.error as error:
            reason = f"ready must be a regular expression, not {shown(ready)}: {error}"
            raise ConfigurationError(reason, field="ready") from None
        self._command = tuple(command)
        self._cwd = cwd

    async def load(self, executor: Executor) -> Loaded:
        """Start the program, wait until it is ready, and return it with the memory that it and its children occupy.

        Raises:
            LoadError: It cannot be started, or it ended before it was ready.
        """
        started = await self._start()
        try:
            if self._ready is not None:
                started.ready_line = await self._await_ready(started, self._ready)
            return Loaded(started, await executor.run(resident_bytes, started.process.pid))
        except BaseException:
            await started.stop(0.0)
            raise

    async def unload(self, executor: Executor, value: WarmProcess) -> None:
        """End the program."""
        await value.stop()

    async def is_fresh(self, executor: Executor, value: WarmProcess) -> bool:
        """Return whether it runs still."""
        return value.is_running

    async def _start(self) -> WarmProcess:
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(loop),
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=None,
                cwd=self._cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LoadError(f"{self._command[0]!r} cannot be started: {reason}") from error
        return WarmProcess(Process(transport, protocol, loop), transport)

    async def _await_ready(self, started: WarmProcess, ready: re.Pattern[bytes]) -> str:
        while True:
            try:
                line = await started.stdout.readline()
            except ValueError:
                raise LoadError(f"{self._command[0]!r} wrote a line of more than {_LINE_BYTES:,} bytes") from None
            if ready.search(line):
                return line.decode(errors="replace").rstrip("\r\n")
            if not line:
                code = await started.process.wait()
                raise LoadError(f"{self._command[0]!r} ended with {code} before it wrote {ready.pattern.decode()!r}")


def resident_bytes(pid: int) -> int:
    """Return what a process and its descendants occupy in memory now; what they share counts for each. Blocks.

    Raises:
        LoadError: It has ended.
        MissingExtraError: psutil is not installed.
    """
    psutil = require("psutil", "subprocess")
    try:
        process = psutil.Process(pid)
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it may have ended meanwhile
                total += child.memory_info().rss
    except psutil.Error as error:
        raise LoadError(f"the process {pid} has ended as soon as it was started: {error}") from None
    return total
