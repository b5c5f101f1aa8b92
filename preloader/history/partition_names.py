"""The directories of a history that is partitioned by user: ``user=<name>/part-*.parquet``, as Hive lays it out.

A directory's name must hold any user's, on any file system: letters that differ only in case, or only in how Unicode
composes them, may not collide, nothing may lead elsewhere, and names have an end. So lower-case letters, digits, ``-``
and ``_`` stand for themselves, every other byte of the user's UTF-8 is percent-encoded (as `pyarrow.dataset` and Spark
decode it), and a name too long is cut and ends in ``~`` and a hash of the whole: the column ``user`` has it in full.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from preloader.errors import HistoryError

_PREFIX = "user="
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_LONGEST = 200  # bytes; file systems take 255, and a draft's name is longer than the final one
_HASH_DIGITS = 32
_CUT = re.compile(r"%[0-9A-F]?$")
_ENCODED = re.compile(r"user=((?:[a-z0-9_-]|%[0-9A-F]{2})*)(~[0-9a-f]{32})?")
_PART = re.compile(r"part-\d{5,}\.parquet")


def directory_of(user: str) -> str:
    """Return the name of a user's directory: one component, ASCII, at most 200 bytes, different for every user."""
    raw = user.encode(errors="surrogatepass")
    encoded = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)
    if len(_PREFIX) + len(encoded) > _LONGEST:
        kept = encoded[: _LONGEST - len(_PREFIX) - _HASH_DIGITS - 1]
        encoded = f"{_CUT.sub('', kept)}~{hashlib.sha256(raw).hexdigest()[:_HASH_DIGITS]}"
    return _PREFIX + encoded


def user_of(directory: str) -> str | None:
    """Return the user whose directory this is; ``None`` where the name was cut, so that it does not say.

    Raises:
        HistoryError: `directory_of` gives no user such a directory.
    """
    match = _ENCODED.fullmatch(directory)
    if match is not None and match[2]:
        return None
    try:
        user = unquote_to_bytes(match[1]).decode(errors="surrogatepass") if match else ""
    except UnicodeDecodeError:
        user = ""
    if directory_of(user) != directory:
        raise HistoryError(f"{directory!r} is not how the partition of a user is named here; convert the history anew")
    return user


def directories(root: Path) -> list[str]:
    """Return the names of the user directories beneath ``root``, in order; links are none.

    Raises:
        HistoryError: One of them is named in another way, so that it would not be found by its user.
    """
    with os.scandir(root) as entries:
        found = [entry.name for entry in entries if _is_users(entry)]
    for name in found:
        user_of(name)
    return sorted(found)


def parts(directory: Path) -> list[Path]:
    """Return the files of one user's directory, in order; links are none."""
    with os.scandir(directory) as entries:
        found = [entry for entry in entries if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    return [directory / name for name in sorted((entry.name for entry in found), key=lambda name: (len(name), name))]


def part_name(number: int) -> str:
    """Return the name of the file of this number, from 0."""
    return f"part-{number:05}.parquet"


def is_partitioned(path: Path) -> bool:
    """Return whether ``path`` is a directory with a user's directory in it; never raises."""
    try:
        with os.scandir(path) as entries:
            return any(_ENCODED.fullmatch(entry.name) and _is_users(entry) for entry in entries)
    except OSError:
        return False


def _is_users(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False)
