"""The operators of ML programs in NumPy, with the names, parameters and defaults of coremltools' documentation.

An operator takes its parameters by name and returns an array, or a tuple of them where the program has several outputs.
It computes in float32, which holds every half-precision number exactly; who calls it rounds to the type that the
program states. What is here is what the exporter emits for embeddings, recurrent layers, transformers, trees and the
usual arithmetic between them.

Source: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from preloader.learning.mil_shapes import SHAPING, Array, Operator

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
    raised = np.exp(x - x.max(axis, keepdims=True))
    shares: Array = raised / raised.sum(axis, keepdims=True)
    return shares


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
    **SHAPING,
    "cast": _cast,
    "clip": _clip,
    "elu": _elu,
    "gelu": _gelu,
    "inverse": _inverse,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "log": _log,
    "matmul": _matmul,
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "rsqrt": _rsqrt,
    "select": _select,
    "softmax": _softmax,
}
"""What each operator does, by its name in a program."""
