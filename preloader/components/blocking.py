"""Blocking work of providers: where it runs, and that nothing is left behind when its caller has gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from preloader.errors import ConfigurationError, PreloaderError
from preloader.ports import Executor
from preloader.telemetry import logger

T = TypeVar("T")


class _NoExecutor:
    """Stands for the executor that a manager has not handed over yet."""

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        raise ConfigurationError(
            f"there is no executor to run {function!r} on: hand the provider to a PreloadManager, or give it executor=…"
        )

    async def aclose(self) -> None:
        pass


class Blocking:
    """What providers with blocking work share: the executor chosen for them, else the manager's.

    Args:
        executor: Where to run blocking calls; ``None`` takes the manager's.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._is_chosen = executor is not None
        self.executor: Executor = executor or _NoExecutor()

    def use_executor(self, executor: Executor) -> None:
        """Run blocking calls on ``executor`` from now on, unless one was chosen already."""
        if not self._is_chosen:
            self.executor = executor


async def make_or_release(executor: Executor, make: Callable[[], T], release: Callable[[T], object]) -> T:
    """Return ``make()``, run on ``executor``; if the caller is cancelled meanwhile, what it made is released.

    A thread cannot be stopped, so it may deliver after its caller has gone. Then ``release`` runs on that thread.
    """
    handover = _Handover(make, release)
    try:
        return await executor.run(handover.run)
    except asyncio.CancelledError:
        if handover.abandon():
            await _release(executor, handover)
        raise


async def _release(executor: Executor, handover: _Handover[T]) -> None:
    """Release on the executor, or here where it takes no work any more: better to block for once than to leak."""
    try:
        try:
            await executor.run(handover.release)
        except PreloaderError:
            handover.release()
    except Exception:  # the caller is being cancelled, and must see that
        logger.exception("a value that nobody waited for could not be released")


class _Handover(Generic[T]):
    """One value on its way from the thread that makes it: it reaches the caller or is released, never both."""

    def __init__(self, make: Callable[[], T], release: Callable[[T], object]) -> None:
        self._make = make
        self._release = release
        self._lock = threading.Lock()
        self._made: list[T] = []
        self._abandoned = False

    def run(self) -> T:
        """Make the value; release it if the caller has gone."""
        value = self._make()
        with self._lock:
            self._made.append(value)
            is_late = self._abandoned
        if is_late:
            self.release()
        return value

    def abandon(self) -> bool:
        """Say that the caller has gone; return whether the value was made already, so that the caller must release."""
        with self._lock:
            self._abandoned = True
            return bool(self._made)

    def release(self) -> None:
        """Release the value, unless that was begun before."""
        if self._made:
            self._release(self._made.pop())
