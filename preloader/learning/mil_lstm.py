"""The LSTM operator of ML programs (Hochreiter and Schmidhuber, *Long Short-Term Memory*, 1997) in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from preloader.errors import ExportError
from preloader.learning.mil_ops import relu, sigmoid
from preloader.learning.mil_shapes import Array

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": np.asarray,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


class _Layer(NamedTuple):
    weight_ih: Array  # (4 H, I), of the gates input, forget, output and cell
    weight_hh: Array  # (4 H, H)
    bias: Array | float  # (4 H,)
    gate: Callable[[Array], Array]
    cell: Callable[[Array], Array]
    out: Callable[[Array], Array]


def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | float = 0.0,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | float = 0.0,
    **unsupported: Any,
) -> tuple[Array, Array, Array]:
    """Return the states of every row or of the last, (rows or 1, batch, H), the last state, and the last memory.

    Args:
        x: (rows, batch, I).
        initial_h: (batch, H), or (batch, 2 H) where both directions are read.
        initial_c: Likewise.
        weight_ih: (4 H, I), of the gates input, forget, output and cell.
        weight_hh: (4 H, H), likewise.
        bias: (4 H,), likewise.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        output_sequence: Whether the states of every row are wanted.
        recurrent_activation: Of the gates.
        cell_activation: Of what enters the memory.
        activation: Of what leaves it.
        weight_ih_back: As above, of the other direction.
        weight_hh_back: Likewise.
        bias_back: Likewise.
        unsupported: Clipping and peepholes, which nothing here emits.

    Raises:
        ExportError: One of them is asked for.
    """
    if unsupported:
        raise ExportError(f"an lstm with {', '.join(unsupported)} is not known here; export one without")
    functions = _ACTIVATIONS[recurrent_activation], _ACTIVATIONS[cell_activation], _ACTIVATIONS[activation]
    there = _Layer(weight_ih, weight_hh, bias, *functions)
    if direction == "forward":
        states, h, c = _read(x, initial_h, initial_c, there)
    elif direction == "reverse":
        states, h, c = _read(x[::-1], initial_h, initial_c, there)
        states = states[::-1]
    else:
        assert weight_ih_back is not None
        assert weight_hh_back is not None
        back = _Layer(weight_ih_back, weight_hh_back, bias_back, *functions)
        size = weight_hh.shape[1]
        forward = _read(x, initial_h[:, :size], initial_c[:, :size], there)
        backward = _read(x[::-1], initial_h[:, size:], initial_c[:, size:], back)
        states = np.concatenate([forward[0], backward[0][::-1]], 2)
        h, c = (np.concatenate([forward[part], backward[part]], 1) for part in (1, 2))
    return (states if output_sequence else h[None]), h, c


def _read(x: Array, h: Array, c: Array, layer: _Layer) -> tuple[Array, Array, Array]:
    """Return the state after each row, (rows, batch, H), and the last state and memory, (batch, H)."""
    size = layer.weight_hh.shape[1]
    weight = np.ascontiguousarray(layer.weight_hh.T)
    entering = x @ layer.weight_ih.T + layer.bias  # (rows, batch, 4 H)
    states = np.empty((len(x), *h.shape), np.float32)
    for row, drive in enumerate(entering):
        gates = drive + h @ weight  # (batch, 4 H)
        opened = layer.gate(gates[:, : 3 * size])
        enters, stays, leaves = opened[:, :size], opened[:, size : 2 * size], opened[:, 2 * size :]
        c = stays * c + enters * layer.cell(gates[:, 3 * size :])
        h = leaves * layer.out(c)
        states[row] = h
    return states, h, c
