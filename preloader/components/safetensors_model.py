"""Tensors in a safetensors file, mapped and not copied.

The format (https://github.com/huggingface/safetensors) is eight bytes of header length, a JSON header that names each
tensor's type, shape and place, and the tensors one after the other without gaps. It holds no code. The reference
implementation's NumPy interface copies every tensor it hands out and keeps the file open for as long as any lives; here
the arrays are views of one mapping that is given back when the component is unloaded. What the reference refuses is
refused: overlaps, gaps, trailing bytes, sizes that do not fit shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.components.blocking import make_or_release
from preloader.components.contents import ConfinedFiles, FileContent
from preloader.errors import LoadError
from preloader.ndarray import NDArray
from preloader.ports import Cost, Executor

_MAX_HEADER_BYTES = 100_000_000  # as the reference has it
_MAX_DIMENSIONS = 64  # as NumPy has it; the product of millions of lengths would take for ever
_MAX_BYTES = 2**63 - 1  # NumPy's, too: it looks at all lengths but the empty ones
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
    "C64": "<c8",
}
_BITS = {"BF16": "<u2", "F8_E4M3": "|u1", "F8_E5M2": "|u1", "F8_E8M0": "|u1"}  # which NumPy has no numbers for


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class SafetensorsModel(Mapping[str, NDArray[np.generic]]):
    """The value of a safetensors component: read-only arrays by name, all views of the mapped file.

    Views that are held beyond the component's life keep the mapping alive.

    Attributes:
        metadata: What the file says of itself.
        nbytes: Size of the file.
    """

    def __init__(self, content: FileContent, name: str) -> None:
        self.content = content
        self.nbytes = content.nbytes
        self._name = name
        self._tensors, self.metadata, self._start = _header(memoryview(content.data), name)

    def __getitem__(self, tensor: str) -> NDArray[np.generic]:
        """Return a tensor.

        Raises:
            KeyError: There is none of that name.
            LoadError: Its type is none of NumPy's; `bits` has it.
        """
        dtype = self._tensors[tensor].dtype
        if dtype not in _TYPES:
            raise LoadError(f"{tensor!r} in {self._name!r} is {dtype}, which NumPy lacks: use .bits({tensor!r})")
        return self._view(tensor, _TYPES[dtype])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def bits(self, tensor: str) -> NDArray[np.generic]:
        """Return a tensor of BF16 or eight-bit floats as the unsigned integers that have its bits."""
        dtype = self._tensors[tensor].dtype
        return self._view(tensor, _BITS.get(dtype) or _TYPES[dtype])

    def close(self) -> None:
        """Give the mapping back."""
        self.content.close()

    def _view(self, name: str, dtype: str) -> NDArray[np.generic]:
        tensor = self._tensors[name]
        if not prod(tensor.shape):
            return np.zeros(tensor.shape, dtype)
        at = self._start + tensor.data_offsets[0]
        return np.frombuffer(self.content.data, dtype, prod(tensor.shape), at).reshape(tensor.shape)


class SafetensorsLoader:
    """Maps a safetensors file.

    Args:
        files: Where it is; mapped if its mode is ``mmap``, which has the danger that `preloader.components.contents`
            tells of.
        name: Its path beneath that root.
    """

    immutable = False

    def __init__(self, files: ConfinedFiles, name: str) -> None:
        self._files = files
        self._name = name

    def expected(self, size: int | None = None) -> Cost:
        """Return what loading it is expected to cost, from its size at present."""
        return self._files.expected(self._name, size)

    async def load(self, executor: Executor) -> SafetensorsModel:
        """Return the tensors.

        Raises:
            LoadError: It is no safetensors file, or a damaged one.
            UnknownResourceError: There is no such file.
        """
        return await make_or_release(executor, self._open, SafetensorsModel.close)

    async def unload(self, executor: Executor, value: SafetensorsModel) -> None:
        """Give the memory back."""
        await executor.run(value.close)

    async def is_fresh(self, executor: Executor, value: SafetensorsModel) -> bool:
        """Return whether it is the same file still."""
        return await executor.run(partial(self._files.is_fresh, self._name, value.content))

    def _open(self) -> SafetensorsModel:
        content = self._files.load(self._name)
        try:
            return SafetensorsModel(content, self._name)
        except BaseException:
            content.close()
            raise


def _header(data: memoryview, name: str) -> tuple[dict[str, _Tensor], dict[str, str], int]:
    """Return the tensors, the metadata, and where the tensors' bytes begin; everything is checked."""
    try:
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > min(_MAX_HEADER_BYTES, len(data) - 8):
            raise LoadError(f"{name!r} is no safetensors file: its header would have {size:,} bytes")
        try:
            header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, Any])
            metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
            tensors = msgspec.convert(header, dict[str, _Tensor])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LoadError(f"{name!r} is no safetensors file: its header: {error}") from None
        _check_places(tensors, len(data) - 8 - size, name)
        return tensors, metadata, 8 + size
    finally:
        data.release()  # else the mapping could not be closed


def _check_places(tensors: Mapping[str, _Tensor], size: int, name: str) -> None:
    """Check that the tensors fill the file, one after the other, each as large as its shape says."""
    end = 0
    for key, tensor in sorted(tensors.items(), key=lambda entry: entry[1].data_offsets):
        dtype = _TYPES.get(tensor.dtype) or _BITS.get(tensor.dtype)
        if dtype is None:
            raise LoadError(f"the tensor {shown(key)} in {name!r} is of an unknown type, {shown(tensor.dtype)}")
        begin, stop = tensor.data_offsets
        if begin != end:
            raise LoadError(f"the tensor {shown(key)} in {name!r} begins at {begin}, where {end} would be right")
        each = np.dtype(dtype).itemsize
        if not _is_possible(tensor.shape, each):
            raise LoadError(f"the tensor {shown(key)} in {name!r} has a shape that no array can have")
        if stop - begin != prod(tensor.shape) * each:
            raise LoadError(f"the tensor {shown(key)} in {name!r} has {stop - begin} bytes, which its shape does not")
        end = stop
    if end != size:
        raise LoadError(f"{name!r} is damaged: its tensors have {end:,} bytes, and there are {size:,}")


def _is_possible(shape: tuple[int, ...], itemsize: int) -> bool:
    """Return whether NumPy could have an array of a shape, be it empty."""
    if len(shape) > _MAX_DIMENSIONS or min(shape, default=0) < 0:
        return False
    return prod(filter(None, shape)) * itemsize <= _MAX_BYTES
