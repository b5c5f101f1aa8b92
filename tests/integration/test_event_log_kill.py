"""The event log against `kill -9`, several processes at once, and a file that it may not write."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preloader.errors import HistoryError
from preloader.history.log import EventLog

WRITER = """
import sys
from preloader.events import Event
from preloader.errors import HistoryError
from preloader.history.log import EventLog

path, user, start, count, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
log = EventLog(path, timeout_s=60)
print("ready", flush=True)
for first in range(start, start + count, batch):
    numbers = range(first, first + batch)
    for number in numbers:
        event = Event(user=user, session="s", time_s=float(number), action=f"act{number}", text="words " * 20)
        log.buffer(event) if batch > 1 else log.append(event)
    if batch > 1:
        log.flush()
    print(numbers[-1], flush=True)
"""
FOREVER = 1_000_000


def start_writer(path: Path, user: str, start: int, count: int, batch: int = 1) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), user, str(start), str(count), str(batch)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def acknowledged_before_kill(path: Path, start: int, batch: int, acknowledgements: int) -> int:
    """Let a writer run, kill it at some moment after so many acknowledgements, and return the last number it gave."""
    with start_writer(path, "ada", start, FOREVER, batch) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        for _ in range(acknowledgements):
            assert writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)  # somewhere within a later append, or within printing that it is done
        numbers = [*map(int, writer.stdout.read().splitlines()), start + acknowledgements * batch - 1]
    assert writer.returncode == -signal.SIGKILL
    return max(numbers)


@pytest.mark.parametrize("batch", [1, 7])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, batch: int) -> None:
    path = tmp_path / "events.db"
    draw = random.Random(batch)
    expected = 0
    for _ in range(5):
        last = acknowledged_before_kill(path, expected, batch, draw.randint(1, 300))
        with EventLog(path) as log:
            stored = [int(event.action.removeprefix("act")) for event in log.events()]
        assert stored == list(range(len(stored))), "in order, without gaps or repeats"
        assert len(stored) % batch == 0, "a batch is stored whole or not at all"
        assert len(stored) > last, "every acknowledged event is there"
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        expected = len(stored)


def test_processes_share_one_file_from_its_creation_on(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    users = ("ada", "ben", "cleo")
    writers = [start_writer(path, user, 0, 150) for user in users]
    with EventLog(path, timeout_s=60) as log:  # while they write, and perhaps create
        for writer in writers:
            writer.communicate()
            assert writer.returncode == 0
        for user in users:
            assert [event.action for event in log.events(user)] == [f"act{number}" for number in range(150)]
        assert len(log) == 450


@contextmanager
def without_privileges() -> Iterator[None]:
    """Act as nobody, where we are root, whom no file mode stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is for its owner alone
        folder = Path(name)
        path = folder / "events.db"
        EventLog(path).close()
        path.chmod(0o400)
        if not os.getuid():
            os.chown(path, 65_534, -1)
        for mode, reason in ((0o555, "is read-only, and the log must be written to"), (0o444, "Permission denied")):
            folder.chmod(mode)
            with without_privileges(), pytest.raises(HistoryError, match=rf"events\.db: .*{reason}"):
                EventLog(path)
            with without_privileges(), pytest.raises(HistoryError, match=r"new\.db: cannot be .*Permission denied"):
                EventLog(folder / "new.db")
        folder.chmod(0o700)
