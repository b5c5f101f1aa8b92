"""Opening files that an untrusted name asks for: only regular files, only beneath a root, never a blocking open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from preloader.errors import LoadError, UnknownResourceError

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
LISTABLE = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened that is to be listed; never through a link."""
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_ATTEMPTS = 3
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""Errors that say that there is no such file, rather than that it cannot be opened."""


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a file beneath a root, without looking at the disk.

    Raises:
        UnknownResourceError: The name is empty, absolute, holds a NUL, or goes up with ``..``.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UnknownResourceError(f"{name!r} is no file name here: it must be relative, and go down only")


def open_confined(
    root: Path, name: str, *, directory: bool = False, admit: Callable[[PurePosixPath], None] = lambda real: None
) -> int:
    """Open a regular file beneath ``root`` for reading and return its descriptor, which the caller closes.

    Symbolic links are resolved first, and must stay beneath the root. The resolved path, which holds none any more, is
    then opened directory by directory without following links: one put there meanwhile is refused, not followed.

    Args:
        root: A directory, resolved.
        name: A path relative to it.
        directory: Open a directory beneath the root instead, so that it can be listed.
        admit: Raises what it likes where the resolved path, relative to the root, may not be opened; what is opened
            is that path and no other.

    Raises:
        UnknownResourceError: There is no such file beneath the root, or it is not a regular one.
        LoadError: It cannot be opened.
    """
    check_name(name)
    try:
        real = _resolved(root / name)
        if not real.is_relative_to(root) or real == root:
            raise UnknownResourceError(f"{name!r} leads to {real}, outside of {root}")
        inside = PurePosixPath(real.relative_to(root))
        admit(inside)
        return _open_beneath(root, inside.parts, name, directory)
    except OSError as error:
        if error.errno in ABSENT:
            raise UnknownResourceError(f"there is no file {name!r} beneath {root}") from error
        raise LoadError(f"{name!r} beneath {root} cannot be opened: {error.strerror}") from error


def _resolved(path: Path) -> Path:
    """Return a path without links; what says that it is a link, and is none when it is read, is looked at again."""
    for _ in range(_ATTEMPTS):
        try:
            return Path(os.path.realpath(path, strict=True))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return Path(os.path.realpath(path, strict=True))


def _open_beneath(root: Path, parts: tuple[str, ...], name: str, directory: bool) -> int:
    above = os.open(root, _DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=above)
            os.close(above)
            above = inner
        if directory:
            return os.open(parts[-1], LISTABLE, dir_fd=above)
        return open_regular(above, parts[-1], name)
    finally:
        os.close(above)


def open_regular(directory: int, part: str, name: str | None = None) -> int:
    """Open a regular file in an open directory for reading and return its descriptor, which the caller closes.

    Raises:
        UnknownResourceError: It is not a regular file; a link is none.
        OSError: It cannot be opened.
    """
    name = part if name is None else name
    _check_regular(os.stat(part, dir_fd=directory, follow_symlinks=False), name)  # opening a device may act
    descriptor = os.open(part, _FILE, dir_fd=directory)
    try:
        _check_regular(os.fstat(descriptor), name)
    except UnknownResourceError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise UnknownResourceError(f"{name!r} is {kind}: only regular files can be loaded")


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
