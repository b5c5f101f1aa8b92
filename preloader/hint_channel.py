"""Hints from other processes and from threads without the GIL: the manager's side of a channel.

Whoever may open the channel's files may write anything there, at any time, and may die while it does. So nothing of it
is believed: a record counts only if its id is in the table, its steps are at least 1 and its generation is the
manager's, and a slot that stays claimed is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import mmap
import os
import stat
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from preloader.errors import ConfigurationError
from preloader.hints import Hint, HintClock, make_hint
from preloader.ring import DTYPE, Reader
from preloader.ring.channel import (
    GENERATION_OFFSET,
    HEADER,
    KEY_LENGTH,
    LAYOUT_VERSION,
    MAGIC,
    MEMORY_NAME,
    RING_OFFSET,
    WAKE_NAME,
    Header,
    open_wake,
    shareable_ring,
)
from preloader.ring.record import PROBABILITY_ONE
from preloader.telemetry import logger

if TYPE_CHECKING:
    from preloader.ring import Ring

STALLED_S = 1.0
"""What is being put for longer belongs to a producer that died. A put takes a microsecond."""

_BATCH = 64
_ABANDONED_S = 60.0  # what is younger may be about to be locked
_PREFIX = "preloader-hints-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is a folder of our own that nobody else may enter


class HintChannel:
    """A ring in memory that other processes may map, for the keys that it was opened for.

    Made by `preloader.PreloadManager.hint_channel`. Its folder can be entered by this user alone.

    Args:
        keys: What may be hinted; a key's id is its index.
        capacity: How many hints may be on their way.
        clock: What the deadlines are measured by.

    Attributes:
        path: The channel's folder, to give to whoever posts (`preloader.ring.channel.HintSender`).
        keys: What may be hinted.
        counts: ``hints_unknown``, ``hints_invalid``, ``hints_stale``, ``hints_stalled`` (skipped, their producer having
            died) and ``hints_damaged`` (the channel was given up).

    Raises:
        ConfigurationError: The keys or the capacity cannot be a channel's, or there is no compiled ring here.
    """

    def __init__(self, keys: Sequence[str], capacity: int, clock: HintClock) -> None:
        table = _pack_keys(keys)
        make_ring = shareable_ring()
        try:
            ring_bytes = make_ring.size_for(capacity)
        except ValueError as error:
            raise ConfigurationError(f"capacity of a channel of hints: {error}", field="capacity") from None
        self.keys = tuple(keys)
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._stalled: range | None = None
        self.path = _make_folder()
        try:
            self._memory = _shared_memory(self.path / MEMORY_NAME, RING_OFFSET + ring_bytes + len(table))
            os.mkfifo(self.path / WAKE_NAME, 0o600)
            wake_fd = open_wake(self.path)
            try:
                ring_memory = memoryview(self._memory)[RING_OFFSET : RING_OFFSET + ring_bytes]
                self._ring: Ring = make_ring(capacity, buffer=ring_memory, wake_fd=wake_fd)
            finally:
                os.close(wake_fd)
        except BaseException:
            _remove(self.path)
            raise
        self._memory[RING_OFFSET + ring_bytes :] = table
        epoch_ns = time.monotonic_ns() - round(1e6 * clock.now_ms())
        sizes = (RING_OFFSET, ring_bytes, RING_OFFSET + ring_bytes, len(table), len(keys))
        HEADER.pack_into(self._memory, 0, *Header(b"", LAYOUT_VERSION, 0, epoch_ns, *sizes))
        self._memory[: len(MAGIC)] = MAGIC  # last, so that who finds it finds the rest

    def invalidate(self) -> None:
        """Void every hint that is under way."""
        struct.pack_into("<I", self._memory, GENERATION_OFFSET, (self._generation + 1) % (1 << 32))

    def restrain(self, share: float) -> None:
        """Let so much of the ring be filled, from now on."""
        self._ring.limit = math.ceil(share * self._ring.capacity)

    async def drain(self, horizon: int, consider: Callable[[list[Hint]], None]) -> None:
        """Hand over what comes, in batches, until cancelled or closed.

        Args:
            horizon: How many steps predictions have.
            consider: What the hints are handed to, on the loop.
        """
        batch = np.empty(_BATCH, DTYPE)
        with Reader(self._ring) as reader:
            while self._ring.look()[0] != "damaged":
                try:
                    async with asyncio.timeout(STALLED_S):
                        taken = await reader.get_many(_BATCH, batch)
                except TimeoutError:  # a producer may have died before it could wake, or while it put
                    self._skip_stalled()
                    taken = self._ring.get_many(_BATCH, batch)
                if len(taken):
                    consider(self._hints(taken, horizon))
                    await asyncio.sleep(0)  # a flood does not block the loop
        self.counts["hints_damaged"] += 1
        logger.warning("the channel of hints %s was written over and is given up: open a new one", self.path)

    def close(self) -> None:
        """Remove the channel. Who has it open may go on posting, to nobody."""
        _remove(self.path)
        self._ring.close()

    @property
    def _generation(self) -> int:
        return int.from_bytes(self._memory[GENERATION_OFFSET : GENERATION_OFFSET + 4], "little")

    def _hints(self, records: np.ndarray[tuple[int], np.dtype[np.void]], horizon: int) -> list[Hint]:
        hints, generation = [], self._generation
        for resource, probability, steps, _, deadline, born in records.tolist():
            if born != generation:
                self.counts["hints_stale"] += 1
            elif resource >= len(self.keys):
                self.counts["hints_unknown"] += 1
            elif not steps:
                self.counts["hints_invalid"] += 1
            else:
                deadline_s = self._clock.deadline_s(deadline)
                hints.append(make_hint(self.keys[resource], probability / PROBABILITY_ONE, steps, horizon, deadline_s))
        return hints

    def _skip_stalled(self) -> None:
        """Skip what was claimed at the last look already, and still is: up to where the ring ended then."""
        front, position = self._ring.look()
        while front == "claimed" and self._stalled is not None and position in self._stalled:
            self.counts["hints_stalled"] += self._ring.skip(position)
            front, position = self._ring.look()
        self._stalled = range(position, position + max(1, len(self._ring))) if front == "claimed" else None


def _pack_keys(keys: Sequence[str]) -> bytes:
    if not keys:
        raise ConfigurationError("a channel of hints needs the keys that it is for, and there are none", field="keys")
    table = bytearray()
    for key, times in Counter(keys).items():
        encoded = key.encode()
        if times > 1 or len(encoded) > 0xFFFF:
            fault = f"is there {times} times" if times > 1 else "is longer than 65,535 bytes"
            raise ConfigurationError(f"keys of a channel of hints: {key[:80]!r} {fault}", field="keys")
        table += KEY_LENGTH.pack(len(encoded)) + encoded
    return bytes(table)


def _make_folder() -> Path:
    """Make a folder that this user alone may enter, in memory where that is a place for files."""
    in_memory = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK)
    parent = _SHARED_MEMORY if in_memory else Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108
    _remove_abandoned(parent)
    folder = parent / f"{_PREFIX}{os.urandom(8).hex()}"
    folder.mkdir(mode=0o700)
    return folder


def _remove_abandoned(parent: Path) -> None:
    """Remove what killed managers of this user have left: nobody holds the lock of the memory there any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # not left at all, or removed by another manager
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
                fd = os.open(folder / MEMORY_NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if time.time() - os.fstat(fd).st_mtime > _ABANDONED_S:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        _remove(folder)
                finally:
                    os.close(fd)


def _remove(folder: Path) -> None:
    for name in (MEMORY_NAME, WAKE_NAME):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody put something there
        folder.rmdir()


def _shared_memory(path: Path, length: int) -> mmap.mmap:
    """Make a file and map it; it is locked as long as it is mapped, or this process lives."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.ftruncate(fd, length)
        return mmap.mmap(fd, length)
    finally:
        os.close(fd)
