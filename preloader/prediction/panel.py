"""What several experts say of the same items, brought to one set of keys.

Experts name different keys: an online predictor those it met, a network those of its vocabulary. Each one's mass for
keys that it does not name is spread over the keys that only others name, in the proportion in which these share their
own mass; what then remains is for *a key that nobody names*, which gets a column of its own. So every row is a proper
distribution over the same outcomes, and every outcome, a new key included, can be scored and mixed.

A row that holds what is no probability is not heard, as if its expert slept: it spoils neither what the others say nor
what is learned of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.distribution import Distribution

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_SMOOTHING = 1e-4
"""How much of every row is spread evenly, so that no outcome is ruled out and every loss is finite."""

_HIGHEST = 1.0 + 1e-6  # what single precision may make of 1

OnUnsound = Callable[[int, int], None]
"""Is told an expert's number, and how many rows of it were not heard."""

_Columns = tuple[tuple[str, ...], tuple[int, ...]]


class Alignment:
    """Where the keys of several experts stand in their union.

    Args:
        columns: For each expert its keys and their columns.

    Attributes:
        index: The union's keys, each with its column.
        unnamed: Whether an expert that names any key leaves this one out, as 0 or 1: shape (experts, keys + 1). The
            last column, a key that nobody names, is 0.
        all_name_all: Whether all of ``unnamed`` is 0.
    """

    def __init__(self, columns: tuple[_Columns, ...]) -> None:
        self.columns = columns
        self.index: dict[str, int] = {}
        for keys, _ in columns:
            for key in keys:
                self.index.setdefault(key, len(self.index))
        self._to = [_places([self.index[key] for key in keys]) for keys, _ in columns]
        self._from = [_places(own) for _, own in columns]
        self.unnamed = np.zeros((len(columns), len(self.index) + 1))
        for row, to, (keys, _) in zip(self.unnamed, self._to, columns, strict=True):
            if keys:
                row[:-1] = 1.0
                row[to] = 0.0
        self.all_name_all = not self.unnamed.any()

    def equals(self, other: Alignment) -> bool:
        """Return whether the same experts name the same keys in the same columns."""
        return self is other or self.columns == other.columns

    def column(self, key: str) -> int:
        """Return the column of a key, the last one for a key that nobody names."""
        return self.index.get(key, len(self.index))

    def probabilities(
        self, told: Sequence[Distribution], steps: int, on_unsound: OnUnsound = lambda expert, rows: None
    ) -> FloatArray:
        """Return what the experts say, shape (experts, steps, keys + 1); rows without any mass are all 0.

        Args:
            told: What each says.
            steps: How many rows there are.
            on_unsound: See `Aligner`.
        """
        rows = np.zeros((len(told), steps, len(self.index) + 1))
        for row, one, to, own in zip(rows, told, self._to, self._from, strict=True):
            if one.index:
                given = one.probabilities[:steps]
                row[: len(given), to] = given[:, own]
        _silence_unsound(rows, on_unsound)
        total = rows.sum(axis=-1)  # (experts, steps)
        if (total > 1.0).any():
            rows /= np.maximum(total, 1.0)[..., None]
            total = np.minimum(total, 1.0)
        rest = (1.0 - total) * (total > 0.0)
        if not self.all_name_all:
            rest -= self._spread(rows, rest)
        np.maximum(rest, 0.0, out=rows[..., -1])
        return rows

    def _spread(self, rows: FloatArray, rest: FloatArray) -> FloatArray:
        """Give the keys that an expert does not name its mass for such keys, as the others share theirs.

        Returns:
            How much that is, of ``rest``: both of shape (experts, steps).
        """
        everybody = rows.sum(axis=0)  # (steps, keys + 1)
        others = self.unnamed @ everybody.T  # (experts, steps)
        left = np.maximum(rest.sum(axis=0) - rest, 0.0)  # before others are added, which may be tiny beside it
        scale = rest / np.maximum(others + left, 1e-300)
        rows += scale[..., None] * everybody * self.unnamed[:, None, :]
        spread: FloatArray = scale * others
        return spread


class Panel(msgspec.Struct, frozen=True, eq=False):
    """What all experts say of the next items of one kind.

    Attributes:
        alignment: The keys.
        logs: Logarithms of probabilities, shape (experts, steps, keys + 1); the last column is a key that nobody
            names. An expert that sleeps has the mean of those awake.
        awake: Whether an expert says anything, shape (steps, experts); ``None`` where all do.
    """

    alignment: Alignment
    logs: NDArray[np.floating[Any]]
    awake: BoolArray | None

    @property
    def is_silent(self) -> bool:
        """Whether no expert says anything about any step."""
        return not self.alignment.index

    def at(self, step: int) -> Panel:
        """Return the row of one step, from 0."""
        rows = slice(step, step + 1)
        return Panel(self.alignment, self.logs[:, rows], None if self.awake is None else self.awake[rows])

    def of(self, rows: BoolArray) -> Panel:
        """Return the rows of some steps: shape (steps,)."""
        awake = None if self.awake is None else self.awake[rows]
        return Panel(self.alignment, np.compress(rows, self.logs, axis=1), awake)

    def later(self) -> Panel:
        """Return the rows of all but the first step, in single precision: what is kept until their items come."""
        return Panel(
            self.alignment, self.logs[:, 1:].astype(np.float32), None if self.awake is None else self.awake[1:]
        )


def joined(panels: Sequence[Panel]) -> Panel:
    """Return the steps of several panels, of the same alignment, as one in double precision."""
    awake = None
    if any(panel.awake is not None for panel in panels):
        awake = np.concatenate([_awake(panel) for panel in panels])
    logs = np.concatenate([panel.logs for panel in panels], axis=1, dtype=np.float64)
    return Panel(panels[0].alignment, logs, awake)


class Aligner:
    """Makes panels; an alignment is made anew only where the keys have changed.

    Args:
        on_unsound: Called with an expert's number and how many of its rows held what is no probability.
    """

    def __init__(self, on_unsound: OnUnsound = lambda expert, rows: None) -> None:
        self._on_unsound = on_unsound
        self._indices: list[Mapping[str, int]] = []
        self._latest = Alignment(())

    def panel(self, told: Sequence[Distribution], steps: int) -> Panel:
        """Return what the experts say of ``steps`` items, of which each may leave out the last ones."""
        alignment = self._aligned(told)
        rows = alignment.probabilities(told, steps, self._on_unsound)
        awake: BoolArray = rows.max(axis=-1) > 0.0  # (experts, steps)
        rows *= 1.0 - _SMOOTHING
        rows += _SMOOTHING / rows.shape[-1]
        logs: FloatArray = np.log(rows, out=rows)
        if awake.all():
            return Panel(alignment, logs, None)
        shares = awake / np.maximum(awake.sum(axis=0), 1)
        mean = np.einsum("ns,nsk->sk", shares, logs)
        return Panel(alignment, np.where(awake[..., None], logs, mean), awake.T.copy())

    def _aligned(self, told: Sequence[Distribution]) -> Alignment:
        columns = tuple(self._columns(number, one.index) for number, one in enumerate(told))
        if self._latest.columns != columns:
            self._latest = Alignment(columns)
        self._indices = [one.index for one in told]
        return self._latest

    def _columns(self, number: int, index: Mapping[str, int]) -> _Columns:
        if number < len(self._indices) and self._indices[number] is index:
            columns = self._latest.columns[number]
            if len(columns[0]) == len(index):
                return columns
        return tuple(index), tuple(index.values())


def _silence_unsound(rows: FloatArray, on_unsound: OnUnsound) -> None:
    """Set rows to 0 that hold anything but probabilities: shape (experts, steps, keys + 1)."""
    sound = (rows.min(axis=-1) >= 0.0) & (rows.max(axis=-1) <= _HIGHEST)  # (experts, steps); False for NaN
    if not sound.all():
        rows[~sound] = 0.0
        for expert in np.flatnonzero(~sound.all(axis=1)).tolist():
            on_unsound(expert, int((~sound[expert]).sum()))


def _places(columns: Sequence[int]) -> slice | IntArray:
    """Return what selects these columns: a slice, which is quicker, of those that follow each other from 0."""
    count = len(columns)
    return slice(count) if list(columns) == list(range(count)) else np.array(columns, np.int64)


def _awake(panel: Panel) -> BoolArray:
    experts, steps, _ = panel.logs.shape
    return np.ones((steps, experts), np.bool_) if panel.awake is None else panel.awake
