"""A program run once: as a list of arguments, with a bound on its time and output, and killed when nobody waits.

It blocks, and belongs on an executor's thread; `Program.kill` may be called from any other. It never meets a shell, its
environment is what it is given and nothing more, and it runs in a session of its own, so that whatever it has started
ends with it. A terminal's Ctrl-C does not reach that: what still runs when the interpreter exits is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from preloader.errors import LoadError, LoadTimeoutError

DEFAULT_TIMEOUT_S = 10.0
DEFAULT_MAX_BYTES = 4_000_000
_STDERR_BYTES = 4_096
_CHUNK = 65_536

_running: set[Program] = set()


class Output(msgspec.Struct, frozen=True):
    """What a program wrote.

    Attributes:
        stdout: At most as many bytes as were asked for.
        stderr: Its first 4 KiB.
        code: Its exit status; negative where a signal ended it.
        truncated: Whether it would have written more, and was ended for that.
    """

    stdout: bytes
    stderr: bytes
    code: int
    truncated: bool = False

    @property
    def complaint(self) -> str:
        """What it said of its failure: the first line."""
        return self.stderr.decode("utf-8", "replace").strip().partition("\n")[0][:300] or f"exit status {self.code}"


class Program:
    """One run of a program.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        environment: All of its environment.
        stdin: What it reads.
        timeout_s: After how long it is killed.
        max_bytes: After how much output it is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        *,
        stdin: bytes = b"",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._command = tuple(command)
        self._cwd = cwd
        self._environment = dict(environment)
        self._stdin = memoryview(stdin)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def kill(self) -> None:
        """End it and what it has started, now or, where it has not begun, as soon as it would."""
        with self._lock:
            self._killed = True
            self._end()

    def run(self) -> Output:
        """Run it to its end. Blocks.

        Raises:
            LoadTimeoutError: It took too long.
            LoadError: It cannot be started, or was killed.
        """
        process = self._start()
        try:
            with process:  # which closes its pipes
                try:
                    return self._talk(process)
                finally:
                    with self._lock:
                        self._end()
                        process.wait()
                        self._process = None
        finally:
            _running.discard(self)
            if self._killed:
                raise LoadError(f"{self._command[0]!r} was ended, since nobody waited for it any more")

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._killed:
                raise LoadError(f"{self._command[0]!r} was not started, since nobody waits for it any more")
            _running.add(self)
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._cwd,
                    env=self._environment,
                    stdin=subprocess.PIPE if self._stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                _running.discard(self)
                reason = getattr(error, "strerror", None) or error
                raise LoadError(f"{self._command[0]!r} cannot be started: {reason}") from error
            return self._process

    def _end(self) -> None:
        """Kill the group while its leader is not reaped, so that its number can be no other's."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of zombies
                os.killpg(self._process.pid, signal.SIGKILL)

    def _talk(self, process: subprocess.Popen[bytes]) -> Output:
        deadline_s = time.monotonic() + self._timeout_s
        streams = _Streams(process, self._stdin, self._max_bytes)
        with streams:
            while streams.open:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise LoadTimeoutError(f"{self._command[0]!r} took longer than {self._timeout_s:g} s")
                streams.step(left_s)
                if streams.truncated:
                    return Output(bytes(streams.stdout), bytes(streams.stderr), 0, truncated=True)
        code = self._ended(process, deadline_s)
        return Output(bytes(streams.stdout), bytes(streams.stderr), code)

    def _ended(self, process: subprocess.Popen[bytes], deadline_s: float) -> int:
        """Return the exit status of a program that has closed its output, without reaping it before its group ends."""
        if not hasattr(os, "waitid"):
            return _waited(process, deadline_s, self._command[0])
        while (status := os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
            if time.monotonic() >= deadline_s:
                raise LoadTimeoutError(f"{self._command[0]!r} took longer than {self._timeout_s:g} s")
            time.sleep(0.001)
        return status.si_status if status.si_code == os.CLD_EXITED else -status.si_status


def _kill_all() -> None:
    for program in list(_running):
        program.kill()


atexit.register(_kill_all)


def _waited(process: subprocess.Popen[bytes], deadline_s: float, name: str) -> int:
    try:
        return process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise LoadTimeoutError(f"{name!r} took too long to end") from None


class _Streams:
    """The three pipes of a program, served together so that none can hold up another."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: memoryview, max_bytes: int) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.truncated = False
        self._left, self._max_bytes = stdin, max_bytes
        self._selector = selectors.DefaultSelector()
        for pipe, kept in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, kept)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def __enter__(self) -> _Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    @property
    def open(self) -> bool:
        """Whether the program may still write."""
        return any(key.events & selectors.EVENT_READ for key in self._selector.get_map().values())

    def step(self, timeout_s: float) -> None:
        """Move what can be moved."""
        for key, _ in self._selector.select(timeout_s):
            pipe = key.fileobj
            assert not isinstance(pipe, int)
            if key.events & selectors.EVENT_WRITE:
                self._write(pipe)  # type: ignore[arg-type]
            else:
                self._read(pipe, key.data)  # type: ignore[arg-type]

    def _write(self, pipe: IO[bytes]) -> None:
        try:
            self._left = self._left[os.write(pipe.fileno(), self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            self._left = self._left[:0]
        if not self._left:
            self._selector.unregister(pipe)
            pipe.close()

    def _read(self, pipe: IO[bytes], kept: bytearray) -> None:
        block = os.read(pipe.fileno(), _CHUNK)
        if not block:
            self._selector.unregister(pipe)
            return
        limit = self._max_bytes if kept is self.stdout else _STDERR_BYTES
        room = limit - len(kept)
        kept += block[:room]
        if kept is self.stdout and len(block) > room:
            self.truncated = True
