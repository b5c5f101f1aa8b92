"""The manager for runtimes without asyncio: the same calls, blocking, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from preloader.errors import ClosedError
from preloader.events import Decision, Event
from preloader.manager import PreloadManager, Statistics

T = TypeVar("T")


class SyncPreloadManager:
    """Runs a `PreloadManager` on an event loop in a thread of its own; use it as a context manager.

    Every method may be called from any thread but the loop's own.

    Args:
        manager: The manager to run; from here on it belongs to this façade.

    >>> from preloader.testing import FakePredictor, FakeProvider
    >>> from preloader.ports import Cost
    >>> provider = FakeProvider({"component:tts": Cost(0.0, 10)})
    >>> with SyncPreloadManager(PreloadManager({"component": provider}, predictor=FakePredictor({}))) as manager:
    ...     manager.get("component:tts").key
    'component:tts'
    """

    def __init__(self, manager: PreloadManager) -> None:
        self._manager = manager
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the loop; what prevents the manager from starting is raised here."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="preloader", daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the manager and wait until nothing of it runs any more."""
        loop, self._loop = self._loop, None
        if loop is not None and self._leave is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()

    def observe(self, event: Event) -> list[Decision]:
        """See `PreloadManager.observe`."""
        return self._call(self._async(self._manager.observe, event))

    def get(self, key: str, *, user: str = "", session: str = "", timeout_s: float | None = None) -> Any:
        """See `PreloadManager.get`.

        Args:
            key: The resource.
            user: Who needs it, for the ledger.
            session: In which session, for the ledger.
            timeout_s: How long to wait; ``None`` as long as it takes.

        Raises:
            TimeoutError: It took longer.
        """
        return self._call(asyncio.wait_for(self._manager.get(key, user=user, session=session), timeout_s))

    @contextmanager
    def use(self, key: str, *, user: str = "", session: str = "") -> Iterator[Any]:
        """See `PreloadManager.use`."""
        using = self._manager.use(key, user=user, session=session)
        value = self._call(using.__aenter__())
        try:
            yield value
        finally:
            self._call(using.__aexit__(None, None, None))

    def hint(self, key: str, probability: float, steps: int = 1, *, ttl_s: float | None = 60.0) -> bool:
        """See `PreloadManager.hint`."""
        return self._manager.hint(key, probability, steps, ttl_s=ttl_s)

    def end_session(self, user: str, session: str) -> None:
        """See `PreloadManager.end_session`."""
        self._call(self._async(self._manager.end_session, user, session))

    def clear(self) -> None:
        """See `PreloadManager.clear`."""
        self._call(self._manager.clear())

    def flush(self) -> None:
        """See `PreloadManager.flush`."""
        self._call(self._manager.flush())

    def statistics(self) -> Statistics:
        """See `PreloadManager.statistics`."""
        return self._call(self._async(self._manager.statistics))

    def _run(self, started: Future[None]) -> None:
        async def main() -> None:
            self._leave = asyncio.Event()
            async with self._manager:
                self._loop = asyncio.get_running_loop()
                started.set_result(None)
                await self._leave.wait()

        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    @staticmethod
    async def _async(function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            work.close()
            raise ClosedError("the manager is not running: use it inside 'with SyncPreloadManager(...) as manager'")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: the need is given up, not left behind
            raise
