"""A lock between processes, so that a job never runs twice at once. It ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preloader.errors import BusyError


@contextmanager
def job_lock(path: Path) -> Iterator[None]:
    """Hold a lock for the time of a block.

    The kernel holds it for the open file (``flock``), so a lock file that a killed process left behind locks nothing.
    The file stays, unless its holder removes it within the block: whoever has opened that one meanwhile sees once it
    has the lock that it is no longer there, and locks the file that is, so that two never lock two files of one name.

    Args:
        path: The file; it says which process holds, or last held, the lock.

    Raises:
        BusyError: Another process holds it.
        OSError: The file cannot be written.
    """
    descriptor = _open_locked(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    """Return a descriptor of the file that is at ``path``, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(descriptor, path)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise BusyError(f"{path} is held by process {holder}: it runs already, wait for it to end") from None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
