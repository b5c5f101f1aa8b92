"""What is known before a session's items, in NumPy: the part of `preloader.prediction.twin` that prepares evidence."""

from __future__ import annotations

from typing import Any

import numpy as np

from preloader.ndarray import NDArray

IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]
ByteArray = NDArray[np.uint8]
HashArray = NDArray[np.uint32]

_NO_MARK = 21
_HASH_MASK = (1 << 62) - 1


def past(used: list[tuple[str, ...]], prefix: str, most: int, longest: int) -> tuple[list[str], int]:
    """Return a session's items of one kind, latest first, and how many events ago the latest without a resource was.

    Args:
        used: The resources of the session's events, oldest first.
        prefix: What the keys of the kind begin with.
        most: How many items at most; events before them are not looked at.
        longest: The largest number of events returned.
    """
    items: list[str] = []
    run, running = 0, True
    for resources in reversed(used):
        if len(items) >= most:
            break
        running = running and bool(resources)
        run += running
        items += [key for key in reversed(resources) if key.startswith(prefix)]
    return items[:most], min(run, longest)


def mix(
    found: IntArray,
    multipliers: NDArray[np.uint64],
    starts: NDArray[np.uint64],
    members: ByteArray,
    ingredients: tuple[int, ...],
) -> None:
    """Fill ``found`` with the 62-bit hash of each context: the sum, exact, of its members' products.

    Args:
        found: Out.
        multipliers: One for each ingredient.
        starts: One for each context.
        members: Whether an ingredient is one of a context's: (contexts, ingredients).
        ingredients: Their hashes, at most 32 bits each.
    """
    products = [value * multiplier for value, multiplier in zip(ingredients, multipliers.tolist(), strict=True)]
    sums = [
        sum((products[one] for one in np.flatnonzero(of_context).tolist()), start)
        for start, of_context in zip(starts.tolist(), members, strict=True)
    ]
    found[:] = [(value ^ (value >> 32)) & _HASH_MASK for value in sums]  # the high bits mix best


def remember(
    items: Int32Array,
    latest: Int32Array,
    rows: IntArray,
    hashes: IntArray,
    marked: Int32Array,
    marks: Int8Array,
    mark_counts: Int32Array,
    words: HashArray,
    word_counts: Int32Array,
    of_rows: IntArray,
    of_hashes: IntArray,
    of_marked: Int32Array,
    of_marks: Int8Array,
    of_words: HashArray,
    slot: int,
) -> int:
    """Note what is known before an item of a session, and return how many of its latest items are on record.

    Args:
        items: How many items of each slot are on record.
        latest: Where in its ring each slot's latest item stands.
        rows: The contexts' rows, in a ring for each slot: (slots, H, C).
        hashes: The contexts' hashes, of the same shape.
        marked: The marked keys: (slots, H, most marks).
        marks: The features of the marks, of the same shape.
        mark_counts: How many marks there are.
        words: The words heard: (slots, H, most words).
        word_counts: How many words there are.
        of_rows: What is noted: (C,), and so are the hashes.
        of_hashes: See ``of_rows``.
        of_marked: As many keys as there are marks.
        of_marks: See ``of_marked``.
        of_words: As many as there are words.
        slot: Which session.
    """
    horizon: int = rows.shape[1]
    items[slot] = min(int(items[slot]) + 1, horizon)
    latest[slot] = (int(latest[slot]) + 1) % horizon
    cell = slot, int(latest[slot])
    rows[cell], hashes[cell] = of_rows, of_hashes
    _fill(marked[cell], of_marked, 0)
    _fill(marks[cell], of_marks, _NO_MARK)
    mark_counts[cell], word_counts[cell] = len(of_marked), len(of_words)
    words[cell][: len(of_words)] = of_words
    return int(items[slot])


def _fill(held: NDArray[Any], values: NDArray[Any], rest: int) -> None:
    held[: len(values)] = values
    held[len(values) :] = rest


def recall(
    found: IntArray, rows: IntArray, hashes: IntArray, row_hashes: IntArray, slot: int, latest: int, items: int
) -> None:
    """Fill ``found``, (H, C), with the rows of a session's latest contexts, 0 for those that were forgotten since.

    Args:
        found: Out: at step k, the rows before the k-th latest item.
        rows: Of each slot, in a ring: (slots, H, C).
        hashes: The contexts' hashes, of the same shape.
        row_hashes: Whose each row is now.
        slot: Which session.
        latest: Where in the ring its latest item stands.
        items: How many items are on record.
    """
    order = (latest - np.arange(len(found))) % len(found)
    then = rows[slot].take(order, axis=0)
    found[:] = then * (row_hashes.take(then) == hashes[slot].take(order, axis=0))
    found[items:] = 0
