"""The operators of ML programs in NumPy, with the names, parameters and defaults of coremltools' documentation.

An operator takes its parameters by name and returns an array, or a tuple of them where the program has several outputs.
It computes in float32, which holds every half-precision number exactly; who calls it rounds to the type that the
program states. What is here is what the exporter emits for embeddings, recurrent layers, transformers, trees and the
usual arithmetic between them.

Source: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from preloader.ndarray import NDArray

Array = NDArray[Any]
Operator = Callable[..., "Array | tuple[Array, ...]"]

_erf = np.vectorize(math.erf, otypes=[np.float32])
_TINY = 1e-45
"""The default of `log`'s epsilon: the least that float32 tells from 0."""


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), computed so that nothing overflows."""
    half: Array = 0.5 * np.tanh(0.5 * x) + 0.5
    return half


def relu(x: Array) -> Array:
    """Return x where it is positive, and 0 elsewhere."""
    return np.maximum(x, 0)


def _log(x: Array, epsilon: float = _TINY) -> Array:
    return np.log(x + np.float32(epsilon))


def _rsqrt(x: Array, epsilon: float = 1e-12) -> Array:
    return 1 / np.sqrt(x + np.float32(epsilon))


def _inverse(x: Array, epsilon: float = 1e-4) -> Array:
    return 1 / (x + np.float32(epsilon))


def _clip(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(x, alpha, beta)


def _leaky_relu(x: Array, alpha: float = 0.01) -> Array:
    return np.where(x >= 0, x, np.float32(alpha) * x)


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0)))


def _silu(x: Array) -> Array:
    return x * sigmoid(x)


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


def _gelu(x: Array, mode: str = "EXACT") -> Array:
    share: Array
    if mode == "EXACT":
        share = 0.5 * (1 + _erf(x / math.sqrt(2)))
    elif mode == "TANH_APPROXIMATION":
        share = 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    else:
        share = sigmoid(1.702 * x)
    return x * share


def _linear(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
    return x @ weight.T + bias


def _matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    product: Array = (np.swapaxes(x, -1, -2) if transpose_x else x) @ (np.swapaxes(y, -1, -2) if transpose_y else y)
    return product


def _softmax(x: Array, axis: int = -1) -> Array:
    raised: Array = np.exp(x - x.max(axis, keepdims=True))
    return raised / np.sum(raised, axis, keepdims=True)


def _layer_norm(
    x: Array, axes: Array | None = None, gamma: Array | float = 1.0, beta: Array | float = 0.0, epsilon: float = 1e-5
) -> Array:
    over = tuple(range(x.ndim)) if axes is None else tuple(axes.tolist())
    centred = x - x.mean(over, keepdims=True)
    variance = np.square(centred).mean(over, keepdims=True)
    normed: Array = centred / np.sqrt(variance + np.float32(epsilon)) * gamma + beta
    return normed


def _reduction(reduce: Callable[..., Array]) -> Operator:
    def reduced(x: Array, axes: Array | None = None, keep_dims: bool = False) -> Array:
        return reduce(x, axis=None if axes is None else tuple(axes.tolist()), keepdims=keep_dims)

    return reduced


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    largest = x.max(axis, keepdims=True)
    summed: Array = np.log(np.exp(x - largest).sum(axis, keepdims=True)) + largest
    return summed if keepdims else np.squeeze(summed, axis)


def _arg(reduce: Callable[..., Array]) -> Operator:
    def reduced(x: Array, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
        return reduce(x, axis=axis, keepdims=keep_dims)

    return reduced


def _select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


def _cast(x: Array, dtype: str) -> Array:
    return x  # who calls stores it in the type that the program states


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


def _of_x(function: Callable[..., Array]) -> Operator:
    return lambda x: function(x)


def _of_both(function: Callable[..., Array]) -> Operator:
    return lambda x, y: function(x, y)


_UNARY: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "erf": _erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": np.asarray,
    "logical_not": np.logical_not,
    "relu": relu,
    "round": np.round,
    "shape": lambda x: np.array(x.shape, np.int32),
    "sigmoid": sigmoid,
    "sign": np.sign,
    "silu": _silu,
    "sin": np.sin,
    "softplus": _softplus,
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
}

_BINARY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "real_div": np.true_divide,
    "sub": np.subtract,
}

_REDUCTIONS: dict[str, Callable[..., Array]] = {
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
}

OPERATORS: dict[str, Operator] = {
    **{name: _of_x(function) for name, function in _UNARY.items()},
    **{name: _of_both(function) for name, function in _BINARY.items()},
    **{name: _reduction(function) for name, function in _REDUCTIONS.items()},
    "cast": _cast,
    "clip": _clip,
    "concat": _concat,
    "cumsum": _cumsum,
    "elu": _elu,
    "expand_dims": _expand_dims,
    "fill": _fill,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "gelu": _gelu,
    "inverse": _inverse,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "log": _log,
    "matmul": _matmul,
    "one_hot": _one_hot,
    "range_1d": _range_1d,
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "reshape": _reshape,
    "rsqrt": _rsqrt,
    "scatter": _scatter,
    "select": _select,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "softmax": _softmax,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
}
"""What each operator does, by its name in a program."""
