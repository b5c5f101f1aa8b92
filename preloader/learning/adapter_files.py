"""Adapters on disk: one safetensors file for each user, believed only when it is intact and of the base at hand."""

from __future__ import annotations

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from preloader.checks import shown
from preloader.errors import BundleError, ConfigurationError
from preloader.learning.adapter import Adapter, AdapterInfo, shapes
from preloader.learning.base import Base
from preloader.prediction.manifest import Sha256
from preloader.prediction.sequence import MAX_VOCABULARY
from preloader.whole_file import write_whole

SCHEMA = 1
SUFFIX = ".safetensors"

_MAX_BYTES = 64 << 20
_MAX_HEADER_BYTES = 1 << 20
_LENGTH_BYTES = 8  # https://github.com/huggingface/safetensors#format: a length, a JSON header, the numbers
_READABLE = 40  # characters of the user's name that the file's name shows
_HASH_DIGITS = 12


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    info: AdapterInfo
    sha256: Sha256


class _Metadata(msgspec.Struct, frozen=True):
    preloader: str


class _Header(msgspec.Struct, frozen=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")


def file_name(user: str) -> str:
    """Return the name of a user's file: what is harmless of theirs, and a hash that tells them from everybody else.

    >>> file_name("../Ann")
    'Ann-55c97bd6d4b5.safetensors'
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", user).strip("-")[:_READABLE]
    digest = sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{readable or 'user'}-{digest}{SUFFIX}"


def save_adapter(folder: Path | str, adapter: Adapter) -> Path:
    """Write an adapter under its user's name, whole or not at all, readable by its owner alone; return where.

    Raises:
        BundleError: It cannot be written.
    """
    path = Path(folder) / file_name(adapter.info.user)
    sealed = msgspec.json.encode(_Sealed(SCHEMA, adapter.info, _digest(adapter))).decode()
    data = save(dict(adapter.tensors), {"preloader": sealed})
    try:
        write_whole(path, data)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def load_adapter(folder: Path | str, user: str, base: Base) -> Adapter:
    """Read a user's adapter and check every byte of it.

    Args:
        folder: Where the adapters are.
        user: Whose is wanted.
        base: What it is to be merged with.

    Raises:
        ConfigurationError: The user has none here.
        BundleError: It is damaged, tampered with, another user's, or of another base; in one sentence.
    """
    path = Path(folder) / file_name(user)
    try:
        adapter = _decoded(_read(path))
        _check(adapter.info, user, base)
        expected, found = shapes(base, adapter.info), {name: tuple(one.shape) for name, one in adapter.tensors.items()}
        if found != expected:
            name = min(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            raise BundleError(f"tensor {shown(name)} has shape {found.get(name)}, not {expected.get(name)}")
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} holds no adapter of user {user!r}: personalise for them first") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return adapter


def _read(path: Path) -> bytes:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise BundleError("it is no regular file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise BundleError(f"it is larger than {_MAX_BYTES:,} bytes")
    return data


def _decoded(data: bytes) -> Adapter:
    try:
        sealed = _sealed(data)
        tensors = load(data)
    except (SafetensorError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BundleError(f"it is no adapter, or damaged: {error}") from error
    adapter = Adapter(sealed.info, tensors)
    if any(one.dtype != torch.float32 or not bool(one.isfinite().all()) for one in tensors.values()):
        raise BundleError("it holds other numbers than finite 32-bit ones")
    if _digest(adapter) != sealed.sha256:
        raise BundleError("it does not match the SHA-256 that it holds: it was changed or damaged")
    return adapter


def _sealed(data: bytes) -> _Sealed:
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if not 0 < length <= _MAX_HEADER_BYTES:
        raise ValueError(f"its header would be {length:,} bytes long")
    header = msgspec.json.decode(data[_LENGTH_BYTES : _LENGTH_BYTES + length], type=_Header)
    sealed = msgspec.json.decode(header.metadata.preloader, type=_Sealed)
    if sealed.schema != SCHEMA:
        raise ValueError(f"it has schema {shown(sealed.schema)}, and {SCHEMA} can be read")
    return sealed


def _digest(adapter: Adapter) -> str:
    digest = sha256(msgspec.json.encode(adapter.info))
    for name, tensor in sorted(adapter.tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check(info: AdapterInfo, user: str, base: Base) -> None:
    if info.user != user:
        raise BundleError(f"it is the adapter of user {shown(info.user)}, not of {user!r}")
    if info.kind != base.spec.kind:
        raise BundleError(f"it is for the kind {shown(info.kind)}, and the base predicts {base.spec.kind!r}")
    if info.base != base.digest:
        raise BundleError(
            f"it was fitted to the base {info.base[:12]}…, and this one is {base.digest[:12]}…: personalise anew"
        )
    known = set(base.spec.vocabulary)
    for key in info.keys:
        if key in known:
            raise BundleError(f"it adds the key {shown(key)}, which the base or the adapter itself has already")
        known.add(key)
    if len(known) > MAX_VOCABULARY:
        raise BundleError(f"with its keys the base would have {len(known):,}, and {MAX_VOCABULARY:,} are allowed")
