"""Awaiting what comes through a ring: one descriptor for each event loop that waits, written once for many records."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from preloader.errors import ClosedError
from preloader.ring.record import Record

if TYPE_CHECKING:
    from preloader.ring.twin import Ring

T = TypeVar("T", bound=Sized)


class Reader:
    """Awaits records; any number of tasks of one event loop may do so at a time. Close it, or use it in ``with``.

    Every loop has a reader of its own. A producer wakes all readers that sleep, with one write to each one's descriptor
    however many records it puts until they have looked; who finds nothing sleeps again. Cancelling loses no record:
    none is taken before the waiting is over.

    Args:
        ring: The ring to take from. Up to 32 readers may wait at one; one where it was made with a ``wake_fd``.

    Raises:
        ValueError: There are too many already.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._consumer = ring.open_consumer()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def get(self) -> Record:
        """Take the oldest record, waiting for one if need be.

        Raises:
            ClosedError: The ring was closed and is empty, or the reader was closed.
            RuntimeError: The reader belongs to another event loop.
        """
        return (await self._take(lambda: self._ring.get_records(1)))[0]

    async def get_many(self, n: int, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """Take up to ``n`` records, oldest first, waiting for the first one if need be.

        Args:
            n: How many at most; at least 1.
            out: An array to fill and return the filled part of, instead of a new one.

        Raises:
            ClosedError: The ring was closed and is empty, or the reader was closed.
            ValueError: ``n`` is smaller than 1, or ``out`` has no room.
            RuntimeError: The reader belongs to another event loop.
        """
        room = n if out is None else min(n, len(out))
        if room < 1:
            raise ValueError(f"a reader waits for at least 1 record, not {room}")
        return await self._take(lambda: self._ring.get_many(n, out))

    def close(self) -> None:
        """Wait no more: whoever does is told. Belongs to the reader's event loop, as all its methods do."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._ring.fileno(self._consumer))
            self._wake_next()
        self._ring.close_consumer(self._consumer)

    async def _take(self, take: Callable[[], T]) -> T:
        self._watch()
        try:
            while not len(taken := take()):
                await self._sleep()
            return taken
        finally:
            if self._waiters:
                self._pass_on()

    def _watch(self) -> None:
        """Watch the descriptor from now on, on the loop that takes first."""
        if self._closed:
            raise ClosedError("the reader was closed: make a new one")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            loop.add_reader(self._ring.fileno(self._consumer), self._woken)
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this reader belongs to another event loop: make one for each")

    async def _sleep(self) -> None:
        """Wait until it is worth looking again."""
        if self._closed or self._ring.closed:
            raise ClosedError("the reader was closed" if self._closed else "the ring was closed, and is empty")
        if not self._ring.arm(self._consumer):
            return
        assert self._loop is not None
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    def _woken(self) -> None:
        self._ring.clear(self._consumer)
        self._wake_next()

    def _wake_next(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                return

    def _pass_on(self) -> None:
        """Let the next task look, where there is something for it or nothing ever will be; else sleep on."""
        if self._closed or not self._ring.arm(self._consumer):
            self._wake_next()
