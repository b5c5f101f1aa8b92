"""The manager for runtimes without asyncio: the same calls, blocking, from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from preloader.errors import ClosedError, PreloaderError
from preloader.events import Decision, Event, Preload
from preloader.manager import PreloadManager
from preloader.prediction.hotswap import SwapStatus
from preloader.scheduling.pressure import Pressure, PressureCallback
from preloader.statistics import Statistics

if TYPE_CHECKING:  # not loaded with the manager
    from preloader.hint_channel import HintChannel

T = TypeVar("T")

_GRACE_S = 5.0


class SyncPreloadManager:
    """Runs a `PreloadManager` on an event loop in a thread of its own; use it as a context manager, once.

    Every method may be called from any thread but the loop's own, where loaders' coroutines and listeners run.

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
        self._thread: threading.Thread | None = None
        self._leave = asyncio.Event()
        self._lock = threading.Lock()
        self._is_closed = False
        self._stopped: Future[None] = Future()

    def __enter__(self) -> Self:
        """Start the loop; what prevents the manager from starting is raised here.

        Raises:
            ClosedError: The façade was entered before.
        """
        if self._thread is not None:
            raise ClosedError("a SyncPreloadManager runs once, and this one was entered before: make a new one")
        started: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop, started), name="preloader", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._ask_to_leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the manager and wait until nothing of it runs any more; what its end raises is raised here."""
        self._ask_to_leave()
        self._stopped.result()

    def observe(self, event: Event) -> list[Decision]:
        """See `PreloadManager.observe`."""
        return self._call(self._async(self._manager.observe, event))

    def settled(self) -> None:
        """See `PreloadManager.settled`."""
        self._call(self._manager.settled())

    def offer(self, bundle: Path | str) -> None:
        """See `PreloadManager.offer`."""
        self._call(self._manager.offer(bundle))

    def swap_status(self) -> SwapStatus:
        """See `PreloadManager.swap_status`."""
        return self._call(self._async(self._manager.swap_status))

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
        return self._call(self._get(key, user, session, timeout_s))

    @contextmanager
    def use(self, key: str, *, user: str = "", session: str = "") -> Iterator[Any]:
        """See `PreloadManager.use`."""
        with self._held(lambda: self._manager.use(key, user=user, session=session)) as value:
            yield value

    def hint(self, key: str, probability: float, steps: int = 1, *, ttl_s: float | None = 60.0) -> bool:
        """See `PreloadManager.hint`."""
        return self._manager.hint(key, probability, steps, ttl_s=ttl_s)

    @contextmanager
    def hint_channel(self, keys: Sequence[str], *, capacity: int = 256) -> Iterator[HintChannel]:
        """See `PreloadManager.hint_channel`; give ``path`` to whoever posts, and leave the rest to the loop."""
        with self._held(lambda: self._manager.hint_channel(keys, capacity=capacity)) as channel:
            yield channel

    def end_session(self, user: str, session: str) -> None:
        """See `PreloadManager.end_session`."""
        self._call(self._async(self._manager.end_session, user, session))

    def clear(self, *, user: str | None = None, session: str | None = None) -> None:
        """See `PreloadManager.clear`."""
        self._call(self._manager.clear(user=user, session=session))

    def resize(self, budget_bytes: int) -> None:
        """See `PreloadManager.resize`."""
        self._call(self._async(self._manager.resize, budget_bytes))

    def flush(self) -> None:
        """See `PreloadManager.flush`."""
        self._call(self._manager.flush())

    @property
    def pressure(self) -> Pressure:
        """See `PreloadManager.pressure`."""
        return self._manager.pressure

    def on_pressure(self, callback: PressureCallback) -> Callable[[], None]:
        """See `PreloadManager.on_pressure`. What it returns may be called from any thread.

        Args:
            callback: Called in the loop's thread, which it must not block; the façade refuses calls from there.
        """
        forget = self._call(self._async(self._manager.on_pressure, callback))

        def forget_from_anywhere() -> None:
            if threading.current_thread() is self._thread:
                forget()
                return
            with suppress(ClosedError):  # the manager may have been closed meanwhile
                self._call(self._async(forget))

        return forget_from_anywhere

    def recent_drops(self) -> list[Preload]:
        """See `PreloadManager.recent_drops`."""
        return self._call(self._async(self._manager.recent_drops))

    def statistics(self) -> Statistics:
        """See `PreloadManager.statistics`."""
        return self._call(self._async(self._manager.statistics))

    async def _get(self, key: str, user: str, session: str, timeout_s: float | None) -> Any:
        async with asyncio.timeout(timeout_s):
            return await self._manager.get(key, user=user, session=session)

    @contextmanager
    def _held(self, opening: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
        """Be inside of what ``opening`` returns, on the loop, as long as the block lasts."""
        ready: Future[T] = Future()
        release = asyncio.Event()
        holding = self._submit(self._hold(opening, ready, release))
        self._await_first(holding, ready)
        if not ready.done():
            self._result(holding)  # raises why there is nothing to hold
        try:
            yield ready.result()
        finally:
            with suppress(ClosedError):  # the manager may have been closed meanwhile
                self._call(self._async(release.set))
                self._result(holding)

    @staticmethod
    async def _hold(
        opening: Callable[[], AbstractAsyncContextManager[T]], ready: Future[T], release: asyncio.Event
    ) -> None:
        async with opening() as value:
            ready.set_result(value)
            await release.wait()

    def _run(self, loop: asyncio.AbstractEventLoop, started: Future[None]) -> None:
        """Body of the thread. Nothing escapes from here: `__enter__` or `__exit__` raises it."""

        async def main() -> None:
            async with self._manager:
                started.set_result(None)
                await self._leave.wait()

        try:
            try:
                loop.run_until_complete(main())
            finally:
                with self._lock:
                    self._is_closed = True
                loop.run_until_complete(_abandon_the_rest())
                loop.close()
        except BaseException as error:
            (self._stopped if started.done() else started).set_exception(error)
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _ask_to_leave(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # closed already
                self._loop.call_soon_threadsafe(self._leave.set)

    @staticmethod
    async def _async(function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return self._result(self._submit(work))

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._is_closed:
            raise ClosedError("the manager is not running: use it inside 'with SyncPreloadManager(...) as manager'")
        if threading.current_thread() is self._thread:
            raise PreloaderError(
                "SyncPreloadManager was called from its own loop's thread, which would wait for itself for ever: "
                "call the PreloadManager there"
            )
        return self._loop

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            with self._lock:  # after it is closed nothing may arrive on the loop any more
                return asyncio.run_coroutine_threadsafe(work, self._running_loop())
        except PreloaderError:
            work.close()
            raise

    def _await_first(self, future: Future[Any], *others: Future[Any]) -> None:
        """Wait for one of the futures, or for the end of the manager."""
        try:
            wait((future, *others, self._stopped), return_when=FIRST_COMPLETED)
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: the need is given up, not left behind
            raise

    def _result(self, future: Future[T]) -> T:
        self._await_first(future)
        if not future.done() or future.cancelled():
            raise ClosedError("the manager was closed meanwhile")
        return future.result()


async def _abandon_the_rest() -> None:
    """Cancel what still waits on this loop; what ignores that for long is left behind."""
    await asyncio.sleep(0)  # lets the last calls from other threads become tasks
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=_GRACE_S)
