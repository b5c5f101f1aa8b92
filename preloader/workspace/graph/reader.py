"""Reads one file of the workspace: whether it changed, its bytes, and what they say."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from pathlib import Path

from msgspec import Struct

from preloader.components.confined import check_name, open_confined
from preloader.errors import LoadError, UnknownResourceError
from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.languages import support_for
from preloader.workspace.graph.parsing import Budget, Interrupted, parse
from preloader.workspace.graph.store import Stamp

_RACY_NS = 2_000_000_000  # the coarsest clock of a file system in use: FAT's
_DIGEST_BYTES = 16


class Limits(Struct, frozen=True, kw_only=True):
    """What one file, and the graph, may cost.

    Attributes:
        file_bytes: Larger files are known, but not read.
        file_seconds: CPU seconds for one file; what takes longer is known, but not read.
        files: More than so many paths are left out.
    """

    file_bytes: int = 1 << 20
    file_seconds: float = 1.0
    files: int = 200_000


def unchanged(root: Path, path: str, stamp: Stamp) -> bool:
    """Return whether a file surely is as it was when it was read, without opening it.

    Size and times of change say so, unless it was read in the moment of that change: then another may have followed
    that the times do not show (as git's index is *racily clean*).
    """
    try:
        now = (root / path).lstat()
    except (OSError, ValueError):
        return False
    same = (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (stamp.size, stamp.mtime_ns, stamp.ctime_ns)
    return same and stat.S_ISREG(now.st_mode) and max(stamp.mtime_ns, stamp.ctime_ns) + _RACY_NS < stamp.read_ns


def glimpse(root: Path, path: str) -> Stamp:
    """Return the stamp of a file that is not read for it, which no other equals where there is none."""
    now_ns = time.time_ns()  # before the look: what changes after it shows
    try:
        state = (root / path).lstat()
    except (OSError, ValueError):
        return Stamp(-1, 0, 0, 0, b"")
    return Stamp(state.st_size, state.st_mtime_ns, state.st_ctime_ns, now_ns, b"")


def can_be_kept(path: str) -> bool:
    """Return whether a path is text: one with bytes that are no UTF-8 cannot be kept or told."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_regular(root: Path, path: str) -> bool:
    """Return whether there is a regular file of that path, itself no symbolic link."""
    try:
        check_name(path)
        return stat.S_ISREG((root / path).lstat().st_mode)
    except (OSError, ValueError, UnknownResourceError):
        return False


def read_bytes(root: Path, path: str, limit: int) -> tuple[bytes | None, os.stat_result] | None:
    """Return a file's bytes, ``None`` in their place where it is larger than ``limit``, and its state.

    Returns:
        ``None`` where there is no regular file of that path beneath the root, or it may not be read.
    """
    try:
        descriptor = open_confined(root, path)
    except (UnknownResourceError, LoadError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if state.st_size > limit:
            return None, state
        try:
            data = file.read(limit + 1)
        except OSError:
            return None
    return (data if len(data) <= limit else None), state


def stamp_of(data: bytes | None, state: os.stat_result) -> Stamp:
    """Return the stamp of what was just read; that of a file that is too large goes without its bytes."""
    digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest() if data is not None else b""
    return Stamp(state.st_size, state.st_mtime_ns, state.st_ctime_ns, time.time_ns(), digest)


def facts_of(path: str, data: bytes, limits: Limits, stop: threading.Event | None = None) -> FileFacts | None:
    """Return what a file says of itself, ``None`` where its language is not known or it took too long.

    Raises:
        Interrupted: ``stop`` was set.
        MissingExtraError: The language's grammar is not installed.
    """
    support = support_for(path)
    if support is None:
        return None
    budget = Budget(limits.file_seconds, stop)
    try:
        return support.read(parse(data, support.language, budget))
    except Interrupted:
        if budget.stopped:
            raise
        return None
