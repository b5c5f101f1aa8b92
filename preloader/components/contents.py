"""The content of files: read whole or mapped, and known to be stale the moment that they change.

A loaded file is fresh while its *stamp* (device, inode, size, mtime, ctime) is the same. Two cases need more. A stamp
taken within the tick of a clock in which the file changed proves nothing, since a second change in that tick leaves it
the same (git calls this *racily clean*): until the stamp has settled, contents are compared. And a stamp that differs
may be a mere touch: contents are compared too. The value is in memory, so it is compared itself rather than a hash of
it, which would cost a pass over every file at loading.

A mapping shows the file itself, so what was written in place is seen without loading again; only another file under
the same name, or another size, makes it stale. **A file that shrinks while it is mapped is dangerous:** touching a page
past its new end kills the process (SIGBUS), and no library can prevent that in between. Use ``mmap`` for files that
are replaced by renaming, as models are, never for files that are edited in place.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Literal

import msgspec

from preloader.checks import is_whole, shown
from preloader.components.confined import open_confined
from preloader.errors import ConfigurationError, LoadError, PreloaderError
from preloader.ports import Cost
from preloader.telemetry import logger

Mode = Literal["read", "mmap"]
MODES: tuple[Mode, ...] = ("read", "mmap")

DEFAULT_MAX_BYTES = 1_000_000_000
_SETTLE_NS = 2_000_000_000  # the coarsest clock of a common file system (FAT) ticks every 2 s
_ATTEMPTS = 3
_BLOCK = 1 << 20
_OPEN_S, _BYTES_PER_S = 0.001, 500_000_000  # a rough guess; what matters is that larger files cost more


class Stamp(msgspec.Struct, frozen=True):
    """What tells one version of a file from another, short of its content."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """Return the stamp of an open file."""
        return cls.from_status(os.fstat(descriptor))

    @classmethod
    def from_status(cls, status: os.stat_result) -> Stamp:
        """Return the stamp that a file's status holds."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def has_settled(self, now_ns: int) -> bool:
        """Return whether a later change is sure to show, the file's clock having moved on since its last one."""
        return now_ns - max(self.mtime_ns, self.ctime_ns) > _SETTLE_NS


def estimated_cost(size: int) -> Cost:
    """Return what loading a file of ``size`` bytes is expected to cost."""
    return Cost(_OPEN_S + size / _BYTES_PER_S, size)


class FileContent:
    """The value of a file resource.

    Attributes:
        data: The content: bytes, or a read-only mapping.
        stamp: Which version of the file it is.
        settled: Whether an equal stamp proves an equal content.
    """

    __slots__ = ("data", "settled", "stamp")

    def __init__(self, data: bytes | mmap.mmap, stamp: Stamp, *, settled: bool) -> None:
        self.data = data
        self.stamp = stamp
        self.settled = settled

    @property
    def nbytes(self) -> int:
        """How large it is."""
        return self.stamp.size

    def close(self) -> None:
        """Give the mapping back; one that somebody still has a view of goes with its last view."""
        if isinstance(self.data, mmap.mmap):
            try:
                self.data.close()
            except BufferError:
                logger.debug("a mapping of %d bytes is unloaded while a view of it is held", self.nbytes)


class ConfinedFiles:
    """Loads files beneath one root. Its methods block.

    Args:
        root: The directory that names are relative to.
        mode: ``read`` copies a file into memory, ``mmap`` maps it.
        max_bytes: Largest file that is loaded.
        now_ns: The wall clock that file times are compared with.

    Raises:
        ConfigurationError: The root is no directory, or another argument is wrong.
    """

    def __init__(
        self,
        root: Path | str,
        mode: Mode = "read",
        max_bytes: int = DEFAULT_MAX_BYTES,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"mode must be one of {', '.join(MODES)}, not {shown(mode)}", field="mode")
        if not is_whole(max_bytes, 0):
            raise ConfigurationError(f"max_bytes must be a whole number, not {shown(max_bytes)}", field="max_bytes")
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise ConfigurationError(f"root must be a directory, not {str(root)!r}", field="root")
        self.mode = mode
        self.max_bytes = max_bytes
        self._now_ns = now_ns

    def open(self, name: str) -> int:
        """Open a file and return its descriptor, which the caller closes.

        Raises:
            UnknownResourceError: There is no such regular file beneath the root.
            LoadError: It cannot be opened.
        """
        return open_confined(self.root, name)

    def load(self, name: str) -> FileContent:
        """Return the content of a file.

        Raises:
            UnknownResourceError: There is no such regular file beneath the root.
            LoadError: It is too large, cannot be read, or does not stay the same for as long as reading takes.
        """
        for _ in range(_ATTEMPTS):
            with os.fdopen(self.open(name), "rb") as file:
                if (content := self._loaded(file, name)) is not None:
                    return content
        raise LoadError(f"{name!r} changed during each of {_ATTEMPTS} attempts to read it")

    def expected(self, name: str, size: int | None = None) -> Cost:
        """Return what loading a file is expected to cost, from its size at present unless that is given.

        Raises:
            OSError: There is no such file.
        """
        return estimated_cost((self.root / name).stat().st_size if size is None else size)

    def is_fresh(self, name: str, content: FileContent) -> bool:
        """Return whether ``content`` is what `load` would return now."""
        try:
            with os.fdopen(self.open(name), "rb") as file:
                return self._is_current(file, content)
        except (PreloaderError, OSError) as error:
            logger.debug("%r cannot be looked at any more: %s", name, error)
            return False

    def _loaded(self, file: BufferedReader, name: str) -> FileContent | None:
        """Return the content, or None where the file changed meanwhile."""
        now_ns = self._now_ns()  # before the stamp: too early a time only makes it settle later
        stamp = Stamp.of(file.fileno())
        try:
            data = self._taken(file, stamp, name)
        except OSError as error:
            raise LoadError(f"{name!r} cannot be read: {error.strerror or error}") from error
        if data is None or Stamp.of(file.fileno()) != stamp:
            return None
        return self._content(name, data, stamp, settled=stamp.has_settled(now_ns))

    def _taken(self, file: BufferedReader, stamp: Stamp, name: str) -> bytes | mmap.mmap | None:
        """Return what is kept of a file that was just opened; None where it is not as its stamp says."""
        if stamp.size > self.max_bytes:
            raise LoadError(f"{name!r} has {stamp.size} bytes, more than the allowed {self.max_bytes}")
        data = self._mapped(file, stamp.size) if self.mode == "mmap" else file.read(stamp.size + 1)
        return data if len(data) == stamp.size else None

    def _content(self, name: str, data: bytes | mmap.mmap, stamp: Stamp, *, settled: bool) -> FileContent:
        return FileContent(data, stamp, settled=settled)

    @staticmethod
    def _mapped(file: BufferedReader, size: int) -> bytes | mmap.mmap:
        if size == 0:
            return b""  # nothing cannot be mapped
        mapping = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        mapping.madvise(mmap.MADV_WILLNEED)  # without this nothing would be read before its first use
        return mapping

    def _is_current(self, file: BufferedReader, content: FileContent) -> bool:
        now_ns = self._now_ns()
        stamp = Stamp.of(file.fileno())
        if not isinstance(content.data, bytes):  # never look into the mapping: its file may have shrunk
            old = content.stamp
            return (stamp.device, stamp.inode, stamp.size) == (old.device, old.inode, old.size)
        if stamp == content.stamp and content.settled:
            return True
        if stamp.size != content.stamp.size or not _holds(file, content.data) or Stamp.of(file.fileno()) != stamp:
            return False
        content.stamp, content.settled = stamp, stamp.has_settled(now_ns)
        return True


def _holds(file: BufferedReader, data: bytes) -> bool:
    """Return whether the rest of ``file`` begins with ``data``; of its end its size tells."""
    view, at = memoryview(data), 0
    while at < len(data):
        block = file.read(min(_BLOCK, len(data) - at))
        if not block or block != view[at : at + len(block)]:
            return False
        at += len(block)
    return True
