"""What the three tiers hold, in which order it leaves them, and how many of each load at once.

All of it is owned by the loop: a ring only hands hints over. A tier holds tens of preloads, where a sorted list is
faster than a heap, and keeps the least urgent at hand.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Sequence

import msgspec

from preloader.events import Tier
from preloader.scheduling.pressure import Pressure
from preloader.scheduling.workers import STEP_S, Workers
from preloader.telemetry import OpenPreload

Order = Callable[[OpenPreload], tuple[float, ...]]
"""Sorts what goes first to the front."""


def by_urgency(preload: OpenPreload) -> tuple[float, ...]:
    """Nearest need, then likeliest; the cheap before the dear among equals, as the shortest job first waits least."""
    return (*preload.urgency, preload.expected.seconds, preload.expected.bytes)


def by_density(preload: OpenPreload) -> tuple[float, ...]:
    """Most expected seconds saved for each byte, P × seconds ÷ bytes; the cheap before the dear among equals.

    The greedy rule of the fractional knapsack: right where memory, or time in the queue, is what is short.
    """
    cost = preload.expected
    return (-preload.probability * cost.seconds / max(1, cost.bytes), cost.seconds, cost.bytes)


class TierStatistics(msgspec.Struct, frozen=True):
    """One tier.

    Attributes:
        queued: How many preloads wait.
        capacity: How many may, at present.
        loading: How many load.
        workers: How many may, at present; 0 where memory pressure has stopped them.
    """

    queued: int
    capacity: int
    loading: int
    workers: int


class TierQueue:
    """A bounded queue, first in its order first; among equals first come, first served.

    Args:
        capacity: How many preloads it holds at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._order: Order = by_urgency
        self._queue: list[OpenPreload] = []

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[OpenPreload]:
        return iter(self._queue)

    def age_s(self, now_s: float) -> float:
        """Return how long the oldest has waited; 0 where nothing waits."""
        return now_s - min((preload.queued_s for preload in self._queue), default=now_s)

    def push(self, preload: OpenPreload) -> OpenPreload | None:
        """Queue a preload; return the last one if that had to go (it may be the one pushed)."""
        insort(self._queue, preload, key=self._order)
        return self._queue.pop() if len(self._queue) > self.capacity else None

    def pop(self) -> OpenPreload:
        """Take the first preload.

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

    def reorder(self, order: Order) -> None:
        """Keep ``order`` from now on."""
        if order is not self._order:
            self._order = order
            self._queue.sort(key=order)

    def resize(self, capacity: int) -> list[OpenPreload]:
        """Hold at most ``capacity`` from now on; return those that had to go, the last first."""
        self.capacity = capacity
        return [self._queue.pop() for _ in range(len(self._queue) - capacity)]


class Tiers:
    """The three queues and their workers, as memory pressure and the age of the queues let them be.

    Args:
        capacity: How many preloads wait in each tier at most.
        patience_s: How long a preload waits in each tier until that counts as long: the tier then goes by density.
        workers: How many preloads each tier loads at once.
    """

    def __init__(
        self, capacity: tuple[int, int, int], patience_s: tuple[float, float, float], workers: Workers
    ) -> None:
        self._capacity = capacity
        self._patience_s = patience_s
        self._workers = workers
        self._pressure = Pressure.LOW
        self._adapt_s = 0.0  # when it is time to look again
        self._queues = {tier: TierQueue(capacity[tier]) for tier in Tier}

    def __iter__(self) -> Iterator[OpenPreload]:
        """Yield everything that waits, most urgent tier first."""
        for queue in self._queues.values():
            yield from queue

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return any(self._queues.values())

    def __contains__(self, preload: OpenPreload) -> bool:
        return preload in self._queues[preload.tier]

    def push(self, preload: OpenPreload) -> OpenPreload | None:
        """Queue a preload in its tier; return the one that had to go for it, if any."""
        return self._queues[preload.tier].push(preload)

    def remove(self, preload: OpenPreload) -> None:
        """Take a preload out of its tier."""
        self._queues[preload.tier].remove(preload)

    def adapt(self, now_s: float) -> None:
        """Order each tier, and set its workers, by how long it has been waiting; at most every quarter of a second.

        A tier that has come to go by density does so until its oldest has waited less than half as long as that took.
        """
        if now_s < self._adapt_s:
            return
        self._adapt_s = now_s + STEP_S / 2
        for tier, queue in self._queues.items():
            age_s, patience_s = queue.age_s(now_s), self._patience_s[tier]
            if self._pressure >= Pressure.HIGH or age_s > patience_s:
                queue.reorder(by_density)
            elif age_s <= patience_s / 2:
                queue.reorder(by_urgency)
            self._workers.adapt(tier, now_s, len(queue), age_s, patience_s)

    def next(self, loading: Sequence[int], *, foreground: bool) -> OpenPreload | None:
        """Take the preload that may start now, if one may: a tier waits until those above it are empty.

        Args:
            loading: How many preloads of each tier load.
            foreground: Whether a need is being loaded, which the background does not disturb.
        """
        for tier, queue in self._queues.items():
            if queue:
                busy = loading[tier] >= self.workers(tier)
                yields = tier is Tier.BACKGROUND and foreground
                return None if busy or yields else queue.pop()
        return None

    def may_grow(self) -> bool:
        """Return whether the first tier that waits could be given more workers later on."""
        tier = next((tier for tier, queue in self._queues.items() if queue), None)
        return tier is not None and self.workers(tier) > 0 and self._workers.may_grow(tier)

    def workers(self, tier: Tier) -> int:
        """Return how many preloads a tier may load at once: none in the background from HIGH on, none from CRITICAL."""
        stopped = Pressure.CRITICAL if tier is not Tier.BACKGROUND else Pressure.HIGH
        return 0 if self._pressure >= stopped else self._workers.count(tier)

    def restrain(self, pressure: Pressure) -> list[OpenPreload]:
        """Fit the tiers to a level of pressure; return what they give up.

        From HIGH on each holds half as many and goes by density; from CRITICAL on they hold nothing.
        """
        self._pressure = pressure
        given_up: list[OpenPreload] = []
        for tier, queue in self._queues.items():
            capacity = self._capacity[tier]
            if pressure >= Pressure.HIGH:
                queue.reorder(by_density)
                capacity = 0 if pressure >= Pressure.CRITICAL else max(1, capacity // 2)
            given_up += queue.resize(capacity)
        return given_up

    def statistics(self, loading: Sequence[int]) -> dict[str, TierStatistics]:
        """Return a snapshot, by name of the tier."""
        return {
            tier.name.lower(): TierStatistics(len(queue), queue.capacity, loading[tier], self.workers(tier))
            for tier, queue in self._queues.items()
        }
