"""Bundles: a predictor's state as a directory that is written whole or not at all, and believed only when it is intact.

::

    household-online/
        manifest.json   what it is, what it learned from, SHA-256 of every file (and of itself)
        state.json      settings and tables
        arrays.npz      arrays of numbers, no pickles
        CARD.md         for people, optional
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec

from preloader.errors import BundleError
from preloader.ports import Predictor, Snapshot
from preloader.prediction.arrays import MAX_BYTES, decode_arrays, encode_arrays
from preloader.prediction.manifest import FittedOn, Manifest, decode_manifest, encode_manifest
from preloader.prediction.online import OnlinePredictor

MANIFEST, STATE, ARRAYS, CARD = "manifest.json", "state.json", "arrays.npz", "CARD.md"
_MAX_FILE_BYTES = {MANIFEST: 16 << 20, STATE: 256 << 20, ARRAYS: MAX_BYTES, CARD: 4 << 20}
_PREDICTORS: dict[str, Callable[[Snapshot], Predictor]] = {OnlinePredictor.name: OnlinePredictor.from_snapshot}


class Bundle(msgspec.Struct, frozen=True):
    """What a bundle holds.

    Attributes:
        path: Where it was read from.
        manifest: What it is.
        snapshot: The predictor's state.
    """

    path: Path
    manifest: Manifest
    snapshot: Snapshot

    def predictor(self) -> Predictor:
        """Return a new predictor in the bundle's state.

        Raises:
            BundleError: No predictor of this program has such a state, or it is damaged.
        """
        make = _PREDICTORS.get(self.manifest.predictor)
        if make is None:
            known = ", ".join(_PREDICTORS)
            raise BundleError(f"{self.path} is of the predictor {self.manifest.predictor!r}; known are {known}")
        try:
            return make(self.snapshot)
        except BundleError as error:
            raise BundleError(f"{self.path}: {error}") from error


def save_bundle(
    path: Path | str,
    snapshot: Snapshot,
    *,
    fitted_on: FittedOn | None = None,
    command: str = "",
    card: str | None = None,
) -> Manifest:
    """Write a bundle: all of it, or, whatever happens meanwhile, the one that was there before stays.

    Args:
        path: The directory; one that is there is replaced if it is a bundle.
        snapshot: The predictor's state.
        fitted_on: What it learned from.
        command: The command that made it.
        card: A card for people, in Markdown.

    Returns:
        The manifest.

    Raises:
        BundleError: ``path`` is something else than a bundle, or cannot be written.
    """
    path = Path(path)
    files = {STATE: _encode_state(snapshot.meta), ARRAYS: encode_arrays(snapshot.arrays)}
    if card is not None:
        files[CARD] = card.encode()
    manifest = Manifest(
        predictor=str(snapshot.meta.get("predictor", "")),
        kinds=snapshot.meta.get("kinds"),
        package=_package_version(),
        files={name: sha256(data).hexdigest() for name, data in sorted(files.items())},
        command=command,
        fitted_on=fitted_on,
    )
    try:
        _recover(path)
        if path.exists() and not (path / MANIFEST).is_file():
            raise BundleError(f"{path} exists and is no bundle: it is not replaced")
        _write_directory(path, {**files, MANIFEST: encode_manifest(manifest)})
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    return manifest


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle and check every byte of it.

    Raises:
        BundleError: It is missing, damaged, tampered with, foreign, of another version, or too large; in one sentence.
    """
    path = Path(path)
    try:
        files = _read_directory(_recovered(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    try:
        manifest = decode_manifest(files.pop(MANIFEST))
        _check_files(manifest, files)
        meta = _decode_state(files[STATE])
        if meta.get("predictor") != manifest.predictor:
            raise BundleError(f"{STATE} is not of the predictor {manifest.predictor!r} that {MANIFEST} names")
        return Bundle(path, manifest, Snapshot(meta, decode_arrays(files[ARRAYS])))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _encode_state(meta: dict[str, Any]) -> bytes:
    """Return a state as JSON. It is encoded piece by piece, so that other threads run meanwhile."""
    pieces = json.JSONEncoder(default=msgspec.to_builtins, separators=(",", ":")).iterencode(meta)
    return "".join(pieces).encode()


def _decode_state(data: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{STATE} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise BundleError(f"{STATE} holds no table")
    return meta


def _check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name in (STATE, ARRAYS):
        if name not in manifest.files:
            raise BundleError(f"{MANIFEST} lists no {name}")
    for name, digest in manifest.files.items():
        if name not in files:
            raise BundleError(f"{name} is missing, though {MANIFEST} lists it")
        if sha256(files[name]).hexdigest() != digest:
            raise BundleError(f"{name} does not match its SHA-256 in {MANIFEST}: it was changed or damaged")
    for name in files:
        if name not in manifest.files:
            raise BundleError(f"{name} is there, though {MANIFEST} does not list it")


def _read_directory(path: Path) -> dict[str, bytes]:
    """Return every file of a bundle, following no link."""
    names = sorted(entry.name for entry in path.iterdir())
    for name in names:
        if name not in _MAX_FILE_BYTES:
            raise BundleError(f"{name[:80]!r} does not belong into a bundle")
    if MANIFEST not in names:
        raise BundleError(f"it has no {MANIFEST}, so it is no bundle")
    return {name: _read_file(path / name, _MAX_FILE_BYTES[name]) for name in names}


def _read_file(path: Path, max_bytes: int) -> bytes:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise BundleError(f"{path.name} is no regular file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BundleError(f"{path.name} is larger than {max_bytes:,} bytes")
    return data


def _write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, data in files.items():
            with (made / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        made.chmod(0o755)
        _sync(made)
        previous = _previous(path)
        if path.exists():
            path.rename(previous)
        made.rename(path)
        _sync(path.parent)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _previous(path: Path) -> Path:
    """Return where the old bundle stands for the moment between two renames."""
    return path.with_name(f".{path.name}.previous")


def _recovered(path: Path) -> Path:
    """Return where the bundle is: at its path, or, if the writer was killed at the worst moment, beside it."""
    previous = _previous(path)
    return previous if not path.exists() and previous.exists() else path


def _recover(path: Path) -> None:
    """Bring the old bundle back if the last writer was killed between two renames; remove it if that was later."""
    previous = _previous(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
    elif previous.exists():
        previous.rename(path)


def _package_version() -> str:
    from importlib import metadata  # a fifth of the whole package's import, for one word in a manifest

    try:
        return metadata.version("preloader")
    except metadata.PackageNotFoundError:  # the sources are used without being installed
        return "unknown"
