"""What the three tiers hold: small, ordered, loop-owned queues in which moving and cancelling is easy."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from preloader.telemetry import OpenPreload


class TierQueue:
    """A bounded queue, most urgent first; among equals first come, first served.

    A sorted list serves tens of entries faster than a heap does, and keeps the least urgent at hand.

    Args:
        capacity: How many preloads it holds at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._queue: list[OpenPreload] = []

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[OpenPreload]:
        return iter(self._queue)

    def push(self, preload: OpenPreload) -> OpenPreload | None:
        """Queue a preload; return the least urgent one if that had to go (it may be the one pushed)."""
        insort(self._queue, preload, key=lambda queued: queued.urgency)
        return self._queue.pop() if len(self._queue) > self.capacity else None

    def pop(self) -> OpenPreload:
        """Take the most urgent preload.

        Raises:
            IndexError: The queue is empty.
        """
        return self._queue.pop(0)

    def remove(self, preload: OpenPreload) -> None:
        """Take one preload out.

        Raises:
            ValueError: It is not queued here.
        """
        self._queue.remove(preload)
