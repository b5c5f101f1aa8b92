"""Where, when and how often each path was named: the arrays that a ranker's features are read from."""

from __future__ import annotations

from typing import Literal

import numpy as np

from preloader.ndarray import NDArray

Channel = Literal["user", "assistant", "thinking", "search", "shell", "read", "result", "call", "directory"]
"""Where a path was named: in words, in what a tool returned, in a call; or only a directory that holds it."""

CHANNELS: tuple[Channel, ...] = (
    "user",
    "assistant",
    "thinking",
    "search",
    "shell",
    "read",
    "result",
    "call",
    "directory",
)
NEVER = -1e9
"""The item, step or second of what never happened."""

_NUMBER = {channel: number for number, channel in enumerate(CHANNELS)}
_COLUMNS: dict[str, float] = {
    "times": 0,
    "item": NEVER,
    "step": NEVER,
    "second": NEVER,
    "place": 0,
    "beside": 0,
    "certainty": 0,
    "lines": 0,
    "numbered": 0,
}


class Grown:
    """A float array of rows that grows as rows are added.

    Args:
        width: How many columns.
        fill: What a new row holds.
    """

    def __init__(self, width: int, fill: float = 0.0) -> None:
        self._fill = fill
        self._data: NDArray[np.float64] = np.full((256, width), fill)

    def upto(self, rows: int) -> NDArray[np.float64]:
        """Return the first rows as a view, which the next growth leaves behind: (rows, width)."""
        if rows > len(self._data):
            larger = np.full((max(rows, 2 * len(self._data)), self._data.shape[1]), self._fill)
            larger[: len(self._data)] = self._data
            self._data = larger
        return self._data[:rows]

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all rows but these, which become the first."""
        kept = self.upto(int(rows.max(initial=-1)) + 1)[rows]
        self._data = np.full((max(256, len(kept)), kept.shape[1]), self._fill)
        self._data[: len(kept)] = kept


class Evidence:
    """What each channel said of each path last, and how often.

    Attributes of `columns`, each (paths, channels): ``times`` named; the ``item``, ``step`` and ``second`` of the last
    time; the ``place`` among the paths that were named with it, and how many these were (``beside``); how sure it is
    that it was meant (``certainty``); in how many lines it stood (``lines``), with numbers or not (``numbered``).
    """

    def __init__(self) -> None:
        self._columns = {name: Grown(len(CHANNELS), fill) for name, fill in _COLUMNS.items()}

    def of(self, name: str, rows: int) -> NDArray[np.float64]:
        """Return a column of the first rows."""
        return self._columns[name].upto(rows)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all rows but these, which become the first."""
        for column in self._columns.values():
            column.keep(rows)

    def note(self, row: int, channel: Channel, **values: float) -> None:
        """Keep what was said of a path, by the names of the columns."""
        number = _NUMBER[channel]
        self._columns["times"].upto(row + 1)[row, number] += 1
        for name, value in values.items():
            self._columns[name].upto(row + 1)[row, number] = value
