"""Arrays as the bytes of an ``.npz`` file: written the same every time, read without trusting anything in them."""

from __future__ import annotations

import io
import math
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from preloader.errors import BundleError
from preloader.ndarray import NDArray

if TYPE_CHECKING:
    import zipfile

MAX_BYTES = 512 << 20
"""How much the arrays of one bundle may take, unpacked."""

_NAME = re.compile(r"[0-9A-Za-z_.-]{1,80}\.npy")
_KINDS = "biuf"
_MAX_ARRAYS = 4_096
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6

Arrays = dict[str, NDArray[np.generic]]


def encode_arrays(arrays: Arrays) -> bytes:
    """Return an ``.npz`` file with the arrays, the same bytes for the same arrays."""
    import zipfile  # here, as below, since a manager without a state reads no arrays: 5 ms

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as file:
        for name, array in sorted(arrays.items()):
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.open(info, "w", force_zip64=array.nbytes >= 1 << 31) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def decode_arrays(data: bytes, max_bytes: int = MAX_BYTES) -> Arrays:
    """Return the arrays of an ``.npz`` file.

    Args:
        data: The file.
        max_bytes: How much they may take, unpacked.

    Raises:
        BundleError: It is damaged, too large, or holds anything but plain arrays.
    """
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            _check(members, max_bytes)
            return {info.filename.removesuffix(".npy"): _array(file, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, SyntaxError) as error:
        raise BundleError(f"arrays.npz is damaged: {error}") from error
    except (RuntimeError, MemoryError, OverflowError, KeyError, TypeError) as error:
        raise BundleError(f"arrays.npz cannot be read: {error}") from error


def _check(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    names = [info.filename for info in members]
    if len(names) > _MAX_ARRAYS or len(set(names)) < len(names):
        raise BundleError(f"arrays.npz has {len(names)} members, some twice or more than {_MAX_ARRAYS}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise BundleError(f"arrays.npz has a member {name[:80]!r}, which is no array's name")
    total = sum(info.file_size for info in members)
    if total > max_bytes:
        raise BundleError(f"arrays.npz unpacks to {total:,} bytes, more than the allowed {max_bytes:,}")


def _array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    with file.open(info) as member:
        content = member.read(info.file_size + 1)
    stream = io.BytesIO(content)
    shape, is_fortran, dtype = _header(stream)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise BundleError(f"arrays.npz has an array {info.filename!r} of {dtype}, which is no plain number")
    size = math.prod(shape)
    if is_fortran or size * dtype.itemsize != len(content) - stream.tell():
        raise BundleError(f"arrays.npz has an array {info.filename!r} of shape {shape} in {len(content):,} bytes")
    return np.frombuffer(content, dtype, size, stream.tell()).reshape(shape)


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    if version != (1, 0):
        raise BundleError(f"arrays.npz has an array of the format version {version}; (1, 0) is needed")
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    return header
