"""What was known at each session's latest items, so that what comes k items later can teach step k."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel
from preloader.prediction.contexts import TEMPLATES
from preloader.prediction.counts import Counts
from preloader.prediction.mixture import Scene
from preloader.prediction.recency import MAX_MARKS, NO_MARK, Marks
from preloader.prediction.state import within
from preloader.prediction.words import MAX_WORDS, WordArray

IntArray = NDArray[np.int64]


class Sessions:
    """The evidence before the latest ``horizon`` items of each live session, in fixed arrays: one slot a session.

    Args:
        horizon: How many items back.
        capacity: How many sessions; the one silent for longest gives up its slot.
    """

    def __init__(self, horizon: int, capacity: int) -> None:
        self._slots: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._capacity = capacity
        self._horizon = horizon
        self._items = np.zeros(capacity, np.int32)
        self._at = np.zeros(capacity, np.int32)
        self._back = np.arange(horizon)
        self._rows = np.zeros((capacity, horizon, len(TEMPLATES)), np.int64)
        self._hashes = np.zeros((capacity, horizon, len(TEMPLATES)), np.int64)
        self._marked = np.zeros((capacity, horizon, MAX_MARKS), np.int32)
        self._marks = np.full((capacity, horizon, MAX_MARKS), NO_MARK, np.int8)
        self._mark_counts = np.zeros((capacity, horizon), np.int32)
        self._words = np.zeros((capacity, horizon, MAX_WORDS), np.uint32)
        self._word_counts = np.zeros((capacity, horizon), np.int32)
        self._held = (
            *(self._items, self._at, self._rows, self._hashes, self._marked, self._marks, self._mark_counts),
            *(self._words, self._word_counts),
        )

    def slot(self, user: str, session: str) -> tuple[int, bool]:
        """Return a session's slot, and whether it is new to it."""
        name = (user, session)
        slot = self._slots.get(name)
        if slot is not None:
            self._slots.move_to_end(name)
            return slot, False
        slot = len(self._slots) if len(self._slots) < self._capacity else self._slots.popitem(last=False)[1]
        self._slots[name] = slot
        self._items[slot] = 0
        return slot, True

    def push(self, slot: int, rows: IntArray, hashes: IntArray, marks: Marks, words: WordArray) -> int:
        """Note the evidence before an item that comes now; return how many of the latest items are on record."""
        items: int = kernel.active.remember(*self._held, rows, hashes, *marks, words, slot)
        return items

    def rows(self, slot: int, items: int, counts: Counts) -> IntArray:
        """Return the rows of a slot's contexts: at step k, those before the k-th latest item."""
        rows = np.empty((self._horizon, len(TEMPLATES)), np.int64)
        kernel.active.recall(rows, self._rows, self._hashes, counts.hashes, slot, int(self._at[slot]), items)
        return rows

    def scene(self, slot: int, items: int, rows: IntArray) -> Scene:
        """Return the evidence of a slot, of which `rows` are a part."""
        order = (int(self._at[slot]) - self._back) % self._horizon
        most = int(self._mark_counts[slot].max())
        marked = self._marked[slot, :, :most].take(order, axis=0)
        marks = self._marks[slot, :, :most].take(order, axis=0)
        words = [
            self._words[slot, at, :count]
            for at, count in zip(order.tolist(), self._word_counts[slot].take(order).tolist(), strict=True)
        ]
        return Scene(rows, marked, marks, words[:items] + [words[0][:0]] * (self._horizon - items))

    def forget_keys(self, keys: IntArray) -> None:
        """Take the marks off keys whose numbers are given up."""
        is_gone = np.isin(self._marked, keys)
        self._marked[is_gone] = 0
        self._marks[is_gone] = NO_MARK

    def names(self) -> list[tuple[str, str, int]]:
        """Return users and sessions in the order of their slots' last use, with the slot: as JSON holds them."""
        return [(user, session, slot) for (user, session), slot in self._slots.items()]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the evidence: the state itself, not copies."""
        return {
            "items": self._items,
            "at": self._at,
            "rows": self._rows,
            "hashes": self._hashes,
            "marked": self._marked,
            "marks": self._marks,
            "mark_counts": self._mark_counts,
            "words": self._words,
            "word_counts": self._word_counts,
        }

    def load_names(self, names: Any) -> None:
        """Fill an empty record with what `names` returned.

        Raises:
            ValueError: It is damaged.
        """
        names = msgspec.convert(names, list[tuple[str, str, int]])
        self._slots = OrderedDict(((user, session), slot) for user, session, slot in names)
        if sorted(self._slots.values()) != list(range(len(names))) or len(names) > self._capacity:
            raise ValueError("sessions share a slot, or are too many")

    def check(self, numbers: int, max_contexts: int) -> None:
        """Check the arrays that were loaded.

        Args:
            numbers: How many numbers the vocabulary has given.
            max_contexts: How many contexts there may be.

        Raises:
            ValueError: They are damaged.
        """
        within("items", self._items, 0, self._horizon)
        within("at", self._at, 0, self._horizon - 1)
        within("rows", self._rows, 0, max_contexts)
        within("marked", self._marked, 0, numbers - 1)
        within("marks", self._marks, 0, NO_MARK)
        within("mark_counts", self._mark_counts, 0, MAX_MARKS)
        within("word_counts", self._word_counts, 0, MAX_WORDS)
