"""The files of a bundle: which may be there, how large they may be, and how they are read and written.

Nothing in a bundle is believed. A name that does not belong, a link, a pipe, a directory in the wrong place or a file
that is too large is refused before its content is looked at.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.prediction.arrays import MAX_BYTES

MANIFEST, STATE, ARRAYS, CARD = "manifest.json", "state.json", "arrays.npz", "CARD.md"
OWN = (MANIFEST, STATE, ARRAYS, CARD)
"""The files that every bundle has, or may have, and that its maker does not name."""

_PACKAGE = ("", "Data/", "Data/com.apple.CoreML/", "Data/com.apple.CoreML/weights/")
"""The directories of an ``.mlpackage``, as coremltools writes it."""

_STEM = r"[A-Za-z0-9_-][A-Za-z0-9_-]{0,47}"
_IN_PACKAGE = rf"{_STEM}\.mlpackage/(?:Manifest\.json|Data/com\.apple\.CoreML/(?:model\.mlmodel|weights/weight\.bin))"
NAME = rf"\A(?:state\.json|arrays\.npz|CARD\.md|{_STEM}\.(?:onnx|safetensors|png)|{_IN_PACKAGE})\Z"
"""A regular expression of what a manifest may list."""

_MODEL_BYTES = 64 << 20
_MAX_FILE_BYTES = (
    (re.compile(r"manifest\.json"), 16 << 20),
    (re.compile(r"state\.json"), 256 << 20),
    (re.compile(r"arrays\.npz"), MAX_BYTES),
    (re.compile(r"CARD\.md"), 4 << 20),
    (re.compile(rf"{_STEM}\.png"), 4 << 20),
    (re.compile(rf"{_STEM}\.(?:onnx|safetensors)|{_IN_PACKAGE}"), _MODEL_BYTES),
)
_MAX_FILES = 64
_MAX_TOTAL_BYTES = 1 << 30
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def max_bytes_of(name: str) -> int:
    """Return how large a file may be.

    Args:
        name: Its path in the bundle, with slashes.

    Raises:
        BundleError: No such file belongs into a bundle.
    """
    for pattern, max_bytes in _MAX_FILE_BYTES:
        if pattern.fullmatch(name):
            return max_bytes
    raise BundleError(f"{name[:80]!r} does not belong into a bundle")


def read_files(path: Path) -> dict[str, bytes]:
    """Return every file of a bundle by its path in there, following no link.

    Args:
        path: The bundle, which may itself be reached through a link.

    Raises:
        BundleError: Something in it does not belong there, or is too large.
        OSError: It cannot be read.
    """
    return _read(path, "")


def gather(files: Mapping[str, bytes | Path]) -> dict[str, bytes]:
    """Return files that are to go into a bundle by their paths in there.

    Args:
        files: A file's content or place by its name; for ``NAME.mlpackage``, the directory's place.

    Raises:
        BundleError: A name does not belong into a bundle, or a file is too large.
        OSError: A file cannot be read.
    """
    gathered: dict[str, bytes] = {}
    for name, content in files.items():
        if name in OWN:
            raise BundleError(f"{name!r} is a name that a bundle's own file has")
        if isinstance(content, bytes):
            _check_size(name, len(content))
            gathered[name] = content
        elif content.is_dir():
            max_bytes_of(f"{name}/Manifest.json")
            gathered.update(_read(content, f"{name}/"))
        else:
            gathered[name] = _read_file(os.open(content, os.O_RDONLY), name)
    _check_total(gathered)
    return gathered


def write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Replace a bundle by another: all of it, or nothing. Whoever the umask lets may read it.

    Raises:
        BundleError: It could not be read again: a file is too large, or there are too many.
        OSError: It cannot be written; what was there stays.
    """
    for name, data in files.items():
        _check_size(name, len(data))
    _check_total(files)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=_draft_prefix(path), dir=path.parent))
    lock = _locked(draft)  # until the end, however that comes: it tells `recover` that somebody is at work
    made = draft / path.name  # within: a temporary directory is its owner's alone, this one is as the umask has it
    try:
        made.mkdir()
        for name, data in files.items():
            _write_file(made / name, data)
        for directory in {made, *(made / parent for name in files for parent in Path(name).parents)}:
            sync(directory)
        previous = aside_of(path)
        if path.exists():
            path.rename(previous)
        made.rename(path)
        sync(path.parent)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def recovered(path: Path) -> Path:
    """Return where the bundle is: at its path, or, if the writer was killed at the worst moment, beside it."""
    previous = aside_of(path)
    return previous if not path.exists() and previous.exists() else path


def recover(path: Path) -> None:
    """Bring the old bundle back if the last writer was killed between two renames; remove it if that was later.

    What writers had begun that were killed is removed, too.
    """
    previous = aside_of(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
    elif previous.exists():
        previous.rename(path)
    for draft in _drafts(path):
        lock = _locked(draft)
        if lock is not None:
            shutil.rmtree(draft, ignore_errors=True)
            os.close(lock)


def _draft_prefix(path: Path) -> str:
    return f".{path.name}.draft-"


def _drafts(path: Path) -> list[Path]:
    try:
        beside = list(path.parent.iterdir())
    except OSError:  # no such directory, say: then there are none
        return []
    return [one for one in beside if one.name.startswith(_draft_prefix(path)) and not one.is_symlink()]


def _locked(draft: Path) -> int | None:
    """Return an open descriptor that locks a draft; ``None`` where another holds it, or nothing can be locked."""
    try:
        descriptor = os.open(draft, _DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _read(path: Path, prefix: str) -> dict[str, bytes]:
    directory = os.open(path, _DIRECTORY)
    try:
        files: dict[str, bytes] = {}
        for name, content in _walk(directory, prefix):
            files[name] = content
            _check_total(files)
    finally:
        os.close(directory)
    return files


def _walk(directory: int, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield what is in an open directory, all names having been checked before anything is read."""
    names = sorted(os.listdir(directory))
    for name in names:
        if not _is_directory_name(prefix + name):
            max_bytes_of(prefix + name)
    for name in names:
        inside = prefix + name
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if not _is_directory_name(inside):
            if not stat.S_ISREG(mode):
                raise BundleError(f"{inside} is no regular file")
            yield inside, _read_file(os.open(name, _FILE, dir_fd=directory), inside)
        elif not stat.S_ISDIR(mode):
            raise BundleError(f"{inside} is no directory")
        else:
            below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                yield from _walk(below, f"{inside}/")
            finally:
                os.close(below)


def _is_directory_name(name: str) -> bool:
    package, dot, rest = f"{name}/".partition(".mlpackage/")
    return dot != "" and re.fullmatch(_STEM, package) is not None and rest in _PACKAGE


def _read_file(descriptor: int, name: str) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(max_bytes_of(name) + 1)
    _check_size(name, len(data))
    return data


def _check_size(name: str, size: int) -> None:
    max_bytes = max_bytes_of(name)
    if size > max_bytes:
        raise BundleError(f"{name} is larger than {max_bytes:,} bytes")


def _check_total(files: Mapping[str, bytes]) -> None:
    if len(files) > _MAX_FILES:
        raise BundleError(f"it has {shown(len(files))} files, and {_MAX_FILES} are allowed")
    total = sum(map(len, files.values()))
    if total > _MAX_TOTAL_BYTES:
        raise BundleError(f"its files are larger than {_MAX_TOTAL_BYTES:,} bytes together")


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Have on the disk what a directory holds.

    Raises:
        OSError: It cannot be done.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def aside_of(path: Path) -> Path:
    """Return where the old bundle stands for the moment between two renames."""
    return path.with_name(f".{path.name}.previous")
