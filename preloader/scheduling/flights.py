"""Loads in flight: one for each key, foreground before speculation.

A *flight* is a load under way. Whoever needs its key meanwhile joins it. Slots bound how many loads run at once; when
a need finds none free, it takes the slot of a speculative flight, which is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from preloader.errors import LoadError
from preloader.telemetry import OpenPreload

T = TypeVar("T")

loading: ContextVar[Flight[Any] | None] = ContextVar("loading", default=None)
"""The flight whose loader runs in this context: a need from in there must not wait for the slot that it holds."""

asked_about: ContextVar[str] = ContextVar("asked_about", default="")
"""The key whose provider is asked in this context whether a value is still true; nothing where none is."""


class CancelledLoad(LoadError):
    """A flight was cancelled, by a need that took its slot, by a changed prediction, or by shutdown."""


class Flight(Generic[T]):
    """One load under way.

    Attributes:
        key: The resource.
        foreground: Whether a need waits for it; such a flight is never preempted.
        preload: The preload that it belongs to, its own or that of a dependent; ``None`` for a need's.
        waits_for: The flights of dependencies that it waits for at present, in the order that it came to them.
        holds: What it keeps pinned for what it is about to load, by key.
        host: The flight whose loader asked for this one, and lends its slot while it waits.
        passengers: How many callers wait for it.
        landed: Resolves to the result, or to the error. Always awaited through `asyncio.shield`.
        cancel_reason: Why it is on its way out; empty while it is not.
        began_s: When it got its slot.
    """

    def __init__(
        self,
        key: str,
        *,
        foreground: bool,
        preload: OpenPreload | None = None,
        host: Flight[T] | None = None,
    ) -> None:
        self.key = key
        self.foreground = foreground
        self.preload = preload
        self.waits_for: dict[Flight[T], None] = {}
        self.holds: Mapping[str, T] = {}
        self.host = host
        self.passengers = 0
        self.landed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.landed.add_done_callback(_observe)
        self.cancel_reason = ""
        self.began_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def own_preload(self) -> OpenPreload | None:
        """The preload of this very key, if it is what the flight is for and has not ended."""
        preload = self.preload
        return preload if preload is not None and preload.key == self.key and not preload.ended else None

    def takes_off(self, task: asyncio.Task[None]) -> None:
        """Attach the task that flies it."""
        self._task = task

    def cancel(self, reason: str) -> None:
        """Cancel the load; ``landed`` gets a `CancelledLoad` that gives the reason. The first reason stands."""
        if self.cancel_reason:
            return
        self.cancel_reason = reason
        if self._task is not None:
            self._task.cancel()


def _observe(landed: asyncio.Future[T]) -> None:
    """Look at the error, so that asyncio does not report one that nobody waited for."""
    if not landed.cancelled():
        landed.exception()


class LoadSlots(Generic[T]):
    """Bounds the loads that run at once.

    Args:
        limit: How many; ``None`` for no bound.

    Attributes:
        timed: Called with a preload, and how long a load for it had its slot, unless it was cancelled.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._holders: list[Flight[T]] = []
        self._foreground: deque[tuple[Flight[T], asyncio.Future[None]]] = deque()
        self._speculative: deque[tuple[Flight[T], asyncio.Future[None]]] = deque()
        self.preemptions = 0
        self.timed: Callable[[OpenPreload, float], None] = lambda preload, seconds: None

    def spare(self, flights: Iterable[Flight[T]]) -> bool:
        """Return whether one more load could start at once, beside ``flights``; who waits needs no slot yet."""
        return self._limit is None or sum(not flight.waits_for for flight in flights) < self._limit

    async def acquire(self, flight: Flight[T]) -> None:
        """Wait for a slot; a need preempts speculation rather than waiting for it, and a guest uses its host's."""
        if self._has_room() or flight.host in self._holders:
            self._board(flight)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._foreground if flight.foreground else self._speculative
        queue.append((flight, turn))
        if flight.foreground:
            self._preempt()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(flight)  # the slot came in the same moment
            for waiting in (self._foreground, self._speculative):
                if (flight, turn) in waiting:
                    waiting.remove((flight, turn))
            raise

    def promote(self, flight: Flight[T], host: Flight[T] | None = None) -> None:
        """A need has joined a flight: it can no longer be preempted, and waits with the needs if it waits.

        Args:
            flight: The flight joined.
            host: The flight whose loader is in need of it, if it is one.
        """
        reached = {flight: None}
        for each in (queue := [flight]):  # no recursion: chains of dependencies are deep
            new = [one for one in each.waits_for if one not in reached]
            reached.update(dict.fromkeys(new))
            queue += new
        for each in queue:  # all of them, before one takes a slot: it must not be that of another
            each.foreground, each.host = True, host or each.host
        waiting = [pair for pair in (*self._speculative, *self._foreground) if pair[0] in reached]
        for one, turn in waiting:
            self._wait_with_the_needs(one, turn)

    def release(self, flight: Flight[T]) -> None:
        """Give a slot back; the longest waiting need gets it first."""
        self._holders.remove(flight)
        if flight.preload is not None and not flight.cancel_reason:
            self.timed(flight.preload, asyncio.get_running_loop().time() - flight.began_s)
        for queue in (self._foreground, self._speculative):
            while queue and self._has_room():
                waiting, turn = queue.popleft()
                if not turn.done():
                    self._board(waiting)
                    turn.set_result(None)

    def demote(self, flight: Flight[T]) -> None:
        """No need waits for a flight any more: it is speculation again, which the next need may preempt.

        So is what it alone waits for.
        """
        for each in (queue := [flight]):
            each.foreground = False
            queue += [one for one in each.waits_for if one.foreground and one.passengers == 1]
            for waiting in [one for one in self._foreground if one[0] is each]:
                self._foreground.remove(waiting)
                self._speculative.append(waiting)

    def _board(self, flight: Flight[T]) -> None:
        flight.began_s = asyncio.get_running_loop().time()
        self._holders.append(flight)

    def _has_room(self) -> bool:
        return self._limit is None or len(self._holders) < self._limit

    def _wait_with_the_needs(self, flight: Flight[T], turn: asyncio.Future[None]) -> None:
        waiting = (flight, turn)
        if flight.host in self._holders and not turn.done():
            (self._speculative if waiting in self._speculative else self._foreground).remove(waiting)
            self._board(flight)
            turn.set_result(None)
        elif waiting in self._speculative:
            self._speculative.remove(waiting)
            self._foreground.append(waiting)
            self._preempt()

    def _preempt(self) -> None:
        """Cancel the latest speculative holder, unless enough of them are on their way out already."""
        leaving = sum(1 for flight in self._holders if flight.cancel_reason)
        if leaving >= len(self._foreground):
            return
        for flight in reversed(self._holders):
            if not flight.foreground and not flight.cancel_reason:
                self.preemptions += 1
                flight.cancel(_PREEMPTED)
                return


_PREEMPTED = "cancelled in flight: a need took its slot"
