"""Inputs that differ: what several examples have in common proves an export no better than one of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from preloader.learning.mil_shapes import Array
from preloader.ndarray import NDArray

Numbers = NDArray[np.int64]


def distinct(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the rows of a network's inputs that differ from all before them.

    Args:
        inputs: Rows of each input, batch first.
    """
    first: dict[tuple[bytes, ...], int] = {}
    for number, row in enumerate(_rows(inputs)):
        first.setdefault(row, number)
    kept = list(first.values())
    return {name: array[kept] for name, array in inputs.items()}


def choose_distinct(total: int, count: int, inputs_at: Callable[[Numbers], Mapping[str, Array]]) -> Numbers:
    """Return the numbers of examples whose inputs differ, evenly spaced where the examples do.

    Args:
        total: How many examples there are.
        count: How many to return.
        inputs_at: Returns the inputs of the examples of some numbers.

    Returns:
        So many numbers. Where fewer examples differ, all of them have been looked at, and the numbers repeat.
    """
    first: dict[tuple[bytes, ...], int] = {}
    for chosen in _turns(total, count):
        for number, row in zip(chosen.tolist(), _rows(inputs_at(chosen)), strict=True):
            first.setdefault(row, number)
        if len(first) >= count:
            break
    return np.resize(np.sort(np.array(list(first.values())[:count], np.int64)), count)


def _turns(total: int, count: int) -> Iterator[Numbers]:
    """Yield all numbers in parts: evenly spaced ones, and then those between."""
    spaced = np.unique(np.linspace(0, total - 1, count).astype(np.int64))
    yield spaced
    between = np.setdiff1d(np.arange(total), spaced)
    for start in range(0, len(between), count):
        yield between[start : start + count]


def _rows(inputs: Mapping[str, Array]) -> Iterator[tuple[bytes, ...]]:
    return zip(*([row.tobytes() for row in array] for array in inputs.values()), strict=True)
