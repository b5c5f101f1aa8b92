"""What a session itself says about its next item: how lately and how often each key came, and what followed before.

It is read from the context alone, so it works for users, sessions and habits that were never learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction import kernel

Marks = tuple[NDArray[np.int32], NDArray[np.int8]]

MAX_MARKS = 64
"""How many marks a session can leave: one a key for age and one for count, and one for each place that it was in."""

_AGE_SLOTS = np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 7, 7, 8], np.int8)  # the last one for all that is older
_COUNT_SLOTS = np.array([0, 0, 9, 10, 10, 11, 11, 11, 11, 12], np.int8)  # a key that came once leaves no mark
_FOLLOWED = 13  # 13-16: followed the latest item the last, last but one, … time; 17-20: with the same item before it
_TIMES = 4
NO_MARK = 21
SLOTS = 22
"""How many features there are; the last is that of no mark."""

NAMES = (
    *("used last", "used 1 item ago", "used 2 items ago", "used 3 items ago", "used 4 items ago", "used 5 items ago"),
    *("used 6-8 items ago", "used 9-13 items ago", "used earlier in the session"),
    *("used twice", "used 3-4 times", "used 5-8 times", "used more than 8 times"),
    *(f"followed the same item, {times} times ago" for times in range(1, _TIMES + 1)),
    *(f"followed the same two items, {times} times ago" for times in range(1, _TIMES + 1)),
    "no mark",
)


def marks(items: Sequence[str], ids: Mapping[str, int]) -> Marks:
    """Return the marks that a session left: the keys' numbers, and for each mark its feature.

    Args:
        items: The session's keys of one kind, latest first.
        ids: The number of each known key; others leave no mark.
    """
    marked, slots = np.empty(MAX_MARKS, np.int32), np.empty(MAX_MARKS, np.int8)
    came = list(map(ids.get, items, repeat(0)))
    count = kernel.active.mark(marked, slots, _AGE_SLOTS, _COUNT_SLOTS, came, _FOLLOWED, _TIMES)
    return marked[:count], slots[:count]
