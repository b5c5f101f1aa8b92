"""Bundles: a predictor's state as a directory that is written whole or not at all, and believed only when it is intact.

::

    household-online/
        manifest.json   what it is, what it learned from, SHA-256 of every file (and of itself)
        state.json      settings and tables
        arrays.npz      arrays of numbers, no pickles
        CARD.md         for people, optional
        model.onnx, model.mlpackage/, weights.safetensors, *.png
                        a learned model in its forms, and the card's plots, optional
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from preloader.errors import BundleError
from preloader.ports import Predictor, Snapshot
from preloader.prediction.arrays import decode_arrays, encode_arrays
from preloader.prediction.bundle_files import (
    ARRAYS,
    CARD,
    MANIFEST,
    OWN,
    STATE,
    gather,
    read_files,
    recover,
    recovered,
    write_files,
)
from preloader.prediction.manifest import Facts, FittedOn, Manifest, decode_manifest, encode_manifest

if TYPE_CHECKING:
    from preloader.prediction.assembly import RuntimeChoice


class Bundle(msgspec.Struct, frozen=True):
    """What a bundle holds.

    Attributes:
        path: Where it was read from.
        manifest: What it is.
        snapshot: The predictor's state.
        files: The further files by their paths in the bundle, each checked against its SHA-256.
    """

    path: Path
    manifest: Manifest
    snapshot: Snapshot
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The SHA-256 of its manifest, and so of all that it holds."""
        return sha256(encode_manifest(self.manifest)).hexdigest()

    def predictor(
        self, runtime: RuntimeChoice = "auto", kinds: Sequence[str] | None = None, encoder: Path | str | None = None
    ) -> Predictor:
        """Return a new predictor in the bundle's state.

        Args:
            runtime: What runs its networks, if it has any; ``auto`` takes CoreML on macOS, ONNX Runtime elsewhere.
            kinds: The kinds that it may learn beyond those that it knows, where it would learn every kind it meets.
            encoder: The folder of the sentence encoder that its networks were trained with, if they were with one; by
                default the one that the environment names as ``PRELOADER_ENCODER``.

        Raises:
            BundleError: No predictor of this program has such a state, or it is damaged.
            MissingExtraError: What runs the networks is not installed.
        """
        from preloader.prediction.assembly import Parts, assemble, narrowed  # every predictor there is: 40 ms

        try:
            snapshot = self.snapshot if kinds is None else narrowed(self.snapshot, kinds)
            return assemble(snapshot, Parts(self.files, runtime, encoder))
        except BundleError as error:
            raise BundleError(f"{self.path}: {error}") from error


def save_bundle(
    path: Path | str,
    snapshot: Snapshot,
    *,
    fitted_on: FittedOn | None = None,
    command: str = "",
    card: str | None = None,
    files: Mapping[str, bytes | Path] | None = None,
    facts: Facts | None = None,
) -> Manifest:
    """Write a bundle: all of it, or, whatever happens meanwhile, the one that was there before stays.

    Args:
        path: The directory; one that is there is replaced if it is a bundle.
        snapshot: The predictor's state.
        fitted_on: What it learned from.
        command: The command that made it.
        card: A card for people, in Markdown.
        files: Further files by name, ``NAME.onnx``, ``NAME.safetensors`` or ``NAME.png``: the content, or where it is;
            for ``NAME.mlpackage`` where that directory is.
        facts: What else the manifest is to say.

    Returns:
        The manifest.

    Raises:
        BundleError: ``path`` is something else than a bundle, or cannot be written; or a file does not belong into one,
            or is larger than could be read again.
    """
    path = Path(path)
    contents = {STATE: _encode_state(snapshot.meta), ARRAYS: encode_arrays(snapshot.arrays)}
    if card is not None:
        contents[CARD] = card.encode()
    try:
        contents |= gather(files or {})
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror or error}") from error
    manifest = Manifest(
        predictor=str(snapshot.meta.get("predictor", "")),
        kinds=snapshot.meta.get("kinds"),
        package=_package_version(),
        files={name: sha256(data).hexdigest() for name, data in sorted(contents.items())},
        command=command,
        fitted_on=fitted_on,
        facts=facts,
    )
    try:
        recover(path)
        check_place(path)
        _write(path, {**contents, MANIFEST: encode_manifest(manifest)})
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    return manifest


def check_place(path: Path | str) -> None:
    """Check that a bundle may be written somewhere, as is worth doing before the work that it takes.

    Raises:
        BundleError: Something is there that is no bundle, or a directory on the way there is none, or cannot be
            written to.
    """
    path = Path(path)
    try:
        if path.exists() and not (path / MANIFEST).is_file():
            raise BundleError(f"{path} exists and is no bundle: it is not replaced")
        way = next(one for one in path.absolute().parents if one.exists())
    except OSError as error:  # a directory that may not be looked into, say
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    if not way.is_dir():
        raise BundleError(f"{path} cannot be written: {way} is no directory")
    if not os.access(way, os.W_OK | os.X_OK):
        raise BundleError(f"{path} cannot be written: nothing may be written to {way}")


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle and check every byte of it.

    Raises:
        BundleError: It is missing, damaged, tampered with, foreign, of another version, or too large; in one sentence.
    """
    path = Path(path)
    try:
        files = read_files(recovered(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    try:
        if MANIFEST not in files:
            raise BundleError(f"it has no {MANIFEST}, so it is no bundle")
        manifest = decode_manifest(files.pop(MANIFEST))
        _check_files(manifest, files)
        meta = _decode_state(files[STATE])
        if meta.get("predictor") != manifest.predictor:
            raise BundleError(f"{STATE} is not of the predictor {manifest.predictor!r} that {MANIFEST} names")
        further = {name: data for name, data in files.items() if name not in OWN}
        return Bundle(path, manifest, Snapshot(meta, decode_arrays(files[ARRAYS])), further)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    try:
        write_files(path, files)
    except BundleError as error:
        raise BundleError(f"{path} is not written, since it could not be read again: {error}") from error


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


def _package_version() -> str:
    from importlib import metadata  # a fifth of the whole package's import, for one word in a manifest

    try:
        return metadata.version("preloader")
    except metadata.PackageNotFoundError:  # the sources are used without being installed
        return "unknown"
