"""What a session itself says about its next item: how lately and how often each key came, and what followed before.

It is read from the context alone, so it works for users, sessions and habits that were never learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MAX_MARKS = 64
"""How many marks a session can leave: one a key for age and one for count, and one for each place that it was in."""

_AGE_BUCKETS = (0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 7, 7)  # beyond: 8
_OLD = 8
_COUNT_BUCKETS = (0, 0, 9, 10, 10, 11, 11, 11, 11)  # beyond: 12; a key that came once leaves no mark
_OFTEN = 12
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


def marks(items: Sequence[str], ids: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the marks that a session left: the keys' numbers, and for each mark its feature.

    Args:
        items: The session's keys of one kind, latest first.
        ids: The number of each known key; others leave no mark.
    """
    came = [ids.get(key, 0) for key in items]
    counts: dict[int, int] = {}
    keys: list[int] = []
    slots: list[int] = []
    for age, number in enumerate(came):
        seen = counts.get(number, 0)
        counts[number] = seen + 1
        if not seen:
            keys.append(number)
            slots.append(_AGE_BUCKETS[age] if age < len(_AGE_BUCKETS) else _OLD)
    for number, count in counts.items():
        if count > 1:
            keys.append(number)
            slots.append(_COUNT_BUCKETS[count] if count < len(_COUNT_BUCKETS) else _OFTEN)
    times = 0
    for place in range(1, len(came)):
        if came[place] == came[0] and times < _TIMES:
            same_before = place + 1 < len(came) and came[place + 1] == came[1]
            keys.append(came[place - 1])
            slots.append(_FOLLOWED + times + _TIMES * same_before)
            times += 1
    kept = [(number, slot) for number, slot in zip(keys, slots, strict=True) if number][:MAX_MARKS]
    return [number for number, _ in kept], [slot for _, slot in kept]
