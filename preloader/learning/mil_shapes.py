"""The operators of ML programs that move, pick, join and repeat elements, in NumPy; `mil_ops` has the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from preloader.ndarray import NDArray

Array = NDArray[Any]
Operator = Callable[..., "Array | tuple[Array, ...]"]
"""Takes its parameters by name, and returns an array, or one for each of several outputs."""


def _gather(x: Array, indices: Array, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    if batch_dims == 0:
        return np.take(x, indices, axis)
    rows = [_gather(one, places, axis - 1, batch_dims - 1) for one, places in zip(x, indices, strict=True)]
    return np.stack(rows)


def _gather_along_axis(x: Array, indices: Array, axis: int = 0, validate_indices: bool = False) -> Array:
    return np.take_along_axis(x, indices, axis)


def _gather_nd(x: Array, indices: Array, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    if batch_dims == 0:
        found: Array = x[tuple(np.moveaxis(indices, -1, 0))]
        return found
    return np.stack([_gather_nd(one, places, batch_dims - 1) for one, places in zip(x, indices, strict=True)])


def _scatter(
    data: Array, indices: Array, updates: Array, axis: int = 0, mode: str = "add", validate_indices: bool = False
) -> Array:
    changed = data.copy()
    places: tuple[Any, ...] = (slice(None),) * (axis % data.ndim) + (indices,)
    if mode == "update":
        changed[places] = updates
    else:
        _SCATTERS[mode](changed, places, updates)
    return changed


_SCATTERS: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _concat(values: Sequence[Array], axis: int, interleave: bool = False) -> Array:
    if interleave:
        return np.stack(values, axis % values[0].ndim + 1).reshape(
            *values[0].shape[: axis % values[0].ndim], -1, *values[0].shape[axis % values[0].ndim + 1 :]
        )
    return np.concatenate(values, axis)


def _stack(values: Sequence[Array], axis: int) -> Array:
    return np.stack(values, axis)


def _split(
    x: Array, num_splits: int | None = None, split_sizes: Array | None = None, axis: int = 0
) -> tuple[Array, ...]:
    parts: Any = num_splits if split_sizes is None else np.cumsum(split_sizes)[:-1]
    return tuple(np.split(x, parts, axis))


def _reshape(x: Array, shape: Array) -> Array:
    wanted = [x.shape[at] if size == 0 else size for at, size in enumerate(shape.tolist())]
    return x.reshape(wanted)


def _transpose(x: Array, perm: Array) -> Array:
    return x.transpose(perm)


def _expand_dims(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(axes.tolist()))


def _squeeze(x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(axes.tolist()))


def _tile(x: Array, reps: Array) -> Array:
    return np.tile(x, tuple(reps.tolist()))


def _slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    places: list[int | slice] = []
    for at in range(x.ndim):
        first = int(begin[at])
        if squeeze_mask is not None and squeeze_mask[at]:
            places.append(first)
            continue
        start = None if begin_mask is not None and begin_mask[at] else first
        stop = None if end_mask is not None and end_mask[at] else int(end[at])
        places.append(slice(start, stop, 1 if stride is None else int(stride[at])))
    part: Array = x[tuple(places)]
    return part


def _slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    part: Array = x[
        tuple(
            slice(first, None if count == -1 else first + count)
            for first, count in zip(begin.tolist(), size.tolist(), strict=True)
        )
    ]
    return part


def _fill(shape: Array, value: float = 0.0) -> Array:
    return np.full(shape.tolist(), value)


def _range_1d(start: float, end: float, step: float) -> Array:
    return np.arange(start, end, step)


def _one_hot(
    indices: Array, one_hot_vector_size: int, axis: int = -1, on_value: float = 1, off_value: float = 0
) -> Array:
    is_hot = indices[..., None] == np.arange(one_hot_vector_size)
    return np.moveaxis(np.where(is_hot, on_value, off_value), -1, axis)


def _cumsum(x: Array, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    turned = np.flip(x, axis) if reverse else x
    summed = np.cumsum(turned, axis) - (turned if exclusive else 0)
    return np.flip(summed, axis) if reverse else summed


SHAPING: dict[str, Operator] = {
    "concat": _concat,
    "cumsum": _cumsum,
    "expand_dims": _expand_dims,
    "fill": _fill,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "one_hot": _one_hot,
    "range_1d": _range_1d,
    "reshape": _reshape,
    "scatter": _scatter,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
}
"""What each operator does, by its name in a program."""
