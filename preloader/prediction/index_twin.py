"""The index of counted contexts, in NumPy: the part of `preloader.prediction.twin` that finds rows.

A hash table with open addressing and linear probing: a place holds a row, 0 where it is empty. What is taken out leaves
no mark behind: those after it move up (Knuth, *The Art of Computer Programming*, volume 3, algorithm 6.4R).
"""

from __future__ import annotations

import numpy as np

from preloader.ndarray import NDArray

IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]


def find(found: IntArray, index: Int32Array, row_hashes: IntArray, hashes: IntArray) -> None:
    """Fill ``found`` with the rows of contexts, 0 for those not known.

    Args:
        found: Out.
        index: The rows, where their hashes have them found: as many places as a power of two, more than rows.
        row_hashes: Whose each row is.
        hashes: The contexts.
    """
    found[:] = [index[_place(index, row_hashes, value)] for value in hashes.tolist()]


def find_or_add(
    found: IntArray,
    index: Int32Array,
    row_hashes: IntArray,
    keys: Int32Array,
    counts: NDArray[np.uint8],
    summary: NDArray[np.int16],
    hashes: IntArray,
    following: int,
) -> int:
    """Fill ``found`` with the rows of contexts, giving the rows of the oldest to those not known.

    Args:
        found: Out.
        index: See `find`.
        row_hashes: See `find`.
        keys: See `twin.count`, as for counts and summary: a row that changes hands is emptied.
        counts: See `twin.count`.
        summary: See `twin.count`.
        hashes: The contexts.
        following: The row that goes next.

    Returns:
        The row that goes next after that.
    """
    for at, value in enumerate(hashes.tolist()):
        row = int(index[_place(index, row_hashes, value)])
        if not row:
            row, following = following, following + 1 if following + 1 < len(row_hashes) else 1
            old = _place(index, row_hashes, int(row_hashes[row]))
            if index[old] == row:
                _vacate(index, row_hashes, old)
                keys[row] = counts[row] = summary[row] = 0
            index[_place(index, row_hashes, value)] = row
            row_hashes[row] = value
        found[at] = row
    return following


def _place(index: Int32Array, row_hashes: IntArray, value: int) -> int:
    """Return where a hash stands, or the empty place where it would."""
    mask = len(index) - 1
    place = value & mask
    while (row := index[place]) and row_hashes[row] != value:
        place = (place + 1) & mask
    return place


def _vacate(index: Int32Array, row_hashes: IntArray, place: int) -> None:
    """Empty a place, and move up what stood further from home for it."""
    mask, at = len(index) - 1, place
    while row := index[(at := (at + 1) & mask)]:
        if (at - int(row_hashes[row])) & mask >= (at - place) & mask:
            index[place], place = row, at
    index[place] = 0
