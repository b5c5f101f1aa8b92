"""What was said of items that have not come yet, by session: step k is scored when the k-th next item comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.panel import Alignment, Panel, joined
from preloader.prediction.state import fitting

Slot = tuple[str, str]
IntArray = NDArray[np.int64]

_Column = Annotated[int, msgspec.Meta(ge=0)]


class _AlignmentState(msgspec.Struct, frozen=True):
    """Keys, and for each expert which of them it names, and their columns in what it says."""

    keys: list[str]
    named: list[list[_Column]]
    columns: list[list[_Column]]


class _State(msgspec.Struct, frozen=True):
    alignments: list[_AlignmentState]
    sessions: list[tuple[str, str, list[int]]]


class Pending:
    """The latest panels of each live session, without their first step; the session silent for longest is forgotten.

    Args:
        experts: How many.
        horizon: How many steps ahead; a session keeps one panel less.
        max_sessions: How many sessions.
    """

    def __init__(self, experts: int, horizon: int, max_sessions: int) -> None:
        self._experts = experts
        self._later = horizon - 1
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[Slot, list[Panel]] = OrderedDict()

    def due(self, slot: Slot, now: Panel) -> Iterator[tuple[Panel, IntArray]]:
        """Yield what was said of the item that comes now, in as few pieces as the keys allow.

        Args:
            slot: User and session.
            now: What is said just before the item, of the next ones.

        Yields:
            A panel, and which steps, from 0, its rows are.
        """
        pieces = [now.at(0), *(panel.at(step) for step, panel in enumerate(self._sessions.get(slot, ())))]
        start = 0
        for end in range(1, len(pieces) + 1):
            if end == len(pieces) or not pieces[end].alignment.equals(pieces[start].alignment):
                yield joined(pieces[start:end]), np.arange(start, end)
                start = end

    def push(self, slot: Slot, panel: Panel) -> None:
        """Keep what was said before an item that has come now; panels have all steps of the horizon."""
        if not self._later:
            return
        self._sessions[slot] = [panel.later(), *self._sessions.get(slot, ())][: self._later]
        self._sessions.move_to_end(slot)
        if len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget all sessions."""
        self._sessions.clear()

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Return the state: what JSON holds, and copies of arrays."""
        alignments: dict[Any, tuple[int, Alignment]] = {}

        def number(alignment: Alignment) -> int:
            return alignments.setdefault(alignment.columns, (len(alignments), alignment))[0]

        sessions = [
            [user, session, [number(panel.alignment) for panel in panels]]
            for (user, session), panels in self._sessions.items()
        ]
        held = [panel for panels in self._sessions.values() for panel in panels]
        everybody = np.ones((self._later, self._experts), np.bool_)
        arrays: dict[str, NDArray[np.generic]] = {
            "logs": np.concatenate([np.zeros(0, np.float32), *(panel.logs.ravel() for panel in held)]),
            "awake": np.array([everybody if panel.awake is None else panel.awake for panel in held], np.bool_).reshape(
                len(held), self._later, self._experts
            ),
        }
        return {"alignments": [_dump_alignment(one) for _, one in alignments.values()], "sessions": sessions}, arrays

    def load(self, meta: Any, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Fill an empty record with what `dump` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        state = msgspec.convert(meta, _State)
        alignments = [self._alignment(one) for one in state.alignments]
        sizes = [
            len(alignments[number].index) + 1
            for *_, numbers in state.sessions
            for number in _checked(numbers, alignments)
        ]
        logs, awake = arrays["logs"], arrays["awake"]
        rows = self._experts * self._later
        fitting("logs", logs, np.zeros(0, np.float32), rows * sum(sizes))
        fitting("awake", awake, np.zeros((0, self._later, self._experts), np.bool_), len(sizes))
        if len(state.sessions) > self._max_sessions or any(len(one[2]) > self._later for one in state.sessions):
            raise ValueError("there are more sessions, or more of each, than are kept")
        parts = iter(np.split(logs, rows * np.cumsum(sizes, dtype=np.int64))[:-1])
        awakes = iter(awake)
        for user, session, numbers in state.sessions:
            self._sessions[user, session] = [
                self._panel(alignments[number], next(parts), next(awakes)) for number in numbers
            ]

    def _alignment(self, state: _AlignmentState) -> Alignment:
        if len(state.named) != self._experts or len(state.columns) != self._experts:
            raise ValueError(f"keys are aligned for {len(state.named)} experts, not for {self._experts}")
        names = [tuple(state.keys[at] for at in named) for named in state.named]
        alignment = Alignment(tuple((keys, tuple(columns)) for keys, columns in zip(names, state.columns, strict=True)))
        if list(alignment.index) != state.keys or any(len(a) != len(b) for a, b in alignment.columns):
            raise ValueError("keys are aligned for nobody")
        return alignment

    def _panel(self, alignment: Alignment, logs: NDArray[Any], awake: NDArray[Any]) -> Panel:
        shape = (self._experts, self._later, len(alignment.index) + 1)
        return Panel(alignment, logs.reshape(shape).copy(), None if awake.all() else awake.copy())


def _dump_alignment(alignment: Alignment) -> dict[str, Any]:
    return {
        "keys": list(alignment.index),
        "named": [[alignment.index[key] for key in keys] for keys, _ in alignment.columns],
        "columns": [list(columns) for _, columns in alignment.columns],
    }


def _checked(numbers: list[int], alignments: list[Alignment]) -> list[int]:
    if not all(0 <= number < len(alignments) for number in numbers):
        raise ValueError("a session's keys are aligned by nothing that is there")
    return numbers
