"""A ring of hints in a file that processes share: its layout, and the side of whoever posts.

A channel is a folder of two: ``hints``, which all map into memory, and ``wake``, a FIFO that wakes the manager. The
file begins with `HEADER`; ``docs/ring.md`` has the layout for those who post from C. The other side is
`preloader.hint_channel`.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from preloader.errors import ClosedError, ConfigurationError, UnknownResourceError
from preloader.ring.deadline import deadline_ms

if TYPE_CHECKING:
    from preloader.ring.twin import Ring

MEMORY_NAME = "hints"
WAKE_NAME = "wake"
MAGIC = b"PRELHINT"
LAYOUT_VERSION = 1
GENERATION_OFFSET = 12
KEY_LENGTH = struct.Struct("<H")
RING_OFFSET = 4_096


class Header(NamedTuple):
    """What the file begins with.

    Attributes:
        magic: `MAGIC`.
        version: `LAYOUT_VERSION`.
        generation: What a record must bear to be taken; the manager counts it up.
        epoch_ns: When the manager's clock was 0, in nanoseconds of the system's monotonic clock.
        ring_offset: Where the ring begins, a multiple of 128.
        ring_bytes: How long it is.
        keys_offset: Where the keys begin: 16 bits of length and as many bytes of UTF-8 each, in the order of their ids.
        keys_bytes: How long they are.
        keys: How many there are.
    """

    magic: bytes
    version: int
    generation: int
    epoch_ns: int
    ring_offset: int
    ring_bytes: int
    keys_offset: int
    keys_bytes: int
    keys: int


HEADER = struct.Struct("<8sIIqQQQQI")


def open_wake(folder: Path) -> int:
    """Open a channel's FIFO for both reading and writing, so that neither side needs the other to open it."""
    return os.open(folder / WAKE_NAME, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class HintSender:
    """Posts hints to the manager of another process, through a channel that it opened.

    Any number of processes and threads may post, each process with a sender of its own. Use it in ``with``, or close
    it.

    Args:
        path: The channel's folder, `preloader.hint_channel.HintChannel.path`.

    Attributes:
        keys: What may be posted, in the order of the ids.

    Raises:
        ConfigurationError: There is no channel, a damaged one, or no compiled ring here.
    """

    def __init__(self, path: Path | str) -> None:
        folder = Path(path)
        ring = shareable_ring()
        try:
            with (folder / MEMORY_NAME).open("r+b") as file:
                memory = mmap.mmap(file.fileno(), 0)
            self._header = _read_header(memory)
            self.keys = _read_keys(memory, self._header)
            end = self._header.ring_offset + self._header.ring_bytes
            wake_fd = open_wake(folder)
            try:
                attached = ring.attach(memoryview(memory)[self._header.ring_offset : end], wake_fd=wake_fd)
                self._opened: tuple[Ring, mmap.mmap] | None = attached, memory
            finally:
                os.close(wake_fd)
        except (OSError, ValueError, struct.error) as error:
            raise ConfigurationError(f"{folder} is no channel of hints that can be opened: {error}") from None
        self._ids = {key: number for number, key in enumerate(self.keys)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def post(self, key: str, probability: float, steps: int = 1, *, ttl_s: float | None = 60.0) -> bool:
        """Say that ``key`` will probably be needed, as `preloader.PreloadManager.hint` does.

        Args:
            key: One of `keys`.
            probability: P(needed at that step), 0 to 1.
            steps: How many items ahead, 1 to 255.
            ttl_s: The hint is void after so many seconds, at most 23 days; ``None``: never.

        Returns:
            Whether it was put; ``False`` where the ring is full.

        Raises:
            UnknownResourceError: The channel was not opened for that key.
            ValueError: The probability, the steps or the time to live are out of range.
            ClosedError: The sender was closed.
        """
        if (opened := self._opened) is None:
            raise ClosedError("the sender of hints was closed: make a new one")
        ring, memory = opened  # both stay until this is over, though another thread may close the sender
        number = self._ids.get(key)
        if number is None:
            raise UnknownResourceError(f"this channel was not opened for {key!r}: name it where the manager opens it")
        now_ms = (time.monotonic_ns() - self._header.epoch_ns) / 1e6
        (generation,) = struct.unpack_from("<I", memory, GENERATION_OFFSET)
        return ring.try_put(number, float(probability), steps, 0, deadline_ms(now_ms, ttl_s), generation)

    def close(self) -> None:
        """Let the memory go, as soon as no other thread posts any more."""
        self._opened = None


def shareable_ring() -> type[Ring]:
    """Return the compiled ring.

    Raises:
        ConfigurationError: Its twin serves, which knows of no other process.
    """
    from preloader.ring import BACKEND, Ring  # the package imports this module

    if BACKEND != "c":
        raise ConfigurationError(
            "a channel of hints needs the compiled ring, and here its twin in Python serves: install preloader where "
            "there is a C compiler, and leave PRELOADER_RING unset"
        )
    return Ring


def _read_header(memory: mmap.mmap) -> Header:
    header = Header(*HEADER.unpack_from(memory))
    if header.magic != MAGIC:
        raise ValueError("it does not begin as one, or is not ready yet")
    if header.version != LAYOUT_VERSION:
        raise ValueError(f"its layout is {header.version}, and this is written for {LAYOUT_VERSION}")
    ends = (header.ring_offset + header.ring_bytes, header.keys_offset + header.keys_bytes)
    if max(ends) > len(memory):
        raise ValueError(f"it claims {max(ends)} bytes and has {len(memory)}")
    return header


def _read_keys(memory: mmap.mmap, header: Header) -> tuple[str, ...]:
    data = memory[header.keys_offset : header.keys_offset + header.keys_bytes]
    keys, at = [], 0
    for _ in range(header.keys):
        (length,) = KEY_LENGTH.unpack_from(data, at)
        at += KEY_LENGTH.size
        if at + length > len(data):
            raise ValueError("a key ends behind the keys")
        keys.append(data[at : at + length].decode())
        at += length
    return tuple(keys)
