"""Where blocking functions run: each on a thread of its own, or inline for replay.

A loader is the user's code: it may hang for ever, call ``sys.exit`` or raise what a coroutine must not raise. A pool's
threads would be used up by a few hung loaders and would keep the interpreter from exiting, so `ThreadExecutor` gives
each call a daemon thread that can be left behind. Even these are bounded. A share of them is kept from speculation, for
a need must not fail because what was loaded ahead hangs; and a share from any one kind, for neither needs of other
kinds nor the manager's own saving and inference must stop because all that one provider does hangs. Starting a thread
holds the event loop until it runs, 0.1 to 0.2 ms and more on a busy machine, so one whose call has ended waits a while
for the next.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from preloader.errors import ClosedError, LoadError
from preloader.events import kind_of
from preloader.scheduling.flights import asked_about, loading
from preloader.telemetry import logger

T = TypeVar("T")

DEFAULT_MAX_THREADS = 64
_KEPT_FOR_NEEDS = 0.25  # share of the threads that speculation leaves alone
_KEPT_FOR_OTHERS = 0.125  # share that one kind leaves to all else
_MOST_PARKED = 4  # threads that wait for a call, as inferences and small files want one after the other
_PARKED_S = 10.0


def _is_harmless(error: BaseException) -> bool:
    """Return whether ``error`` may be raised in a coroutine without stopping the loop, the task or a generator."""
    return isinstance(error, Exception) and not isinstance(error, StopIteration)


def _stand_in(error: BaseException, function: Callable[..., Any]) -> LoadError:
    name = getattr(function, "__qualname__", repr(function))
    stand_in = LoadError(f"{name} raised {type(error).__name__}{error.args!r}, which a loader must not raise")
    stand_in.__cause__ = error
    return stand_in


class NoThread(LoadError):
    """There was no thread for a call, which says nothing about what was to be called."""


class InlineExecutor:
    """Runs every call at once, on the loop: for replay, where threads would break the virtual clock.

    `KeyboardInterrupt` passes through: here it is Ctrl-C, not the loader's doing.
    """

    def __init__(self) -> None:
        self._closed = False

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``; see `preloader.ports.Executor`."""
        if self._closed:
            raise ClosedError("the executor is closed: it takes no more work")
        try:
            return function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if _is_harmless(error):
                raise
            raise _stand_in(error, function) from error

    async def aclose(self) -> None:
        """Stop taking work."""
        self._closed = True


class _Call:
    """One call on a thread: runs the function and hands the result to the loop, if anybody still waits there.

    Attributes:
        kind: The kind of resource that it helps to load, or to tell whether it is still true; nothing where it does
            neither.
        is_speculative: Whether no need waits for that load.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], ended: Callable[[_Call], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.abandoned = False  # this and `ended` are guarded by the executor's lock
        self.ended = False
        self._function = function
        self._args = args
        self._ended = ended
        self._context = contextvars.copy_context()
        flight = loading.get()
        self.kind = kind_of(asked_about.get() or (flight.key if flight is not None else ""))
        self.is_speculative = flight is not None and not flight.foreground

    def run(self) -> None:
        """Run it, on a thread. Nothing may escape from here: it would be printed as a thread's traceback."""
        result, error = None, None
        try:
            result = self._context.run(self._function, *self._args)
        except BaseException as raised:
            error = raised if _is_harmless(raised) else _stand_in(raised, self._function)
        self._ended(self)
        try:
            self.loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the loop was closed meanwhile, so nobody waits
            logger.debug("a call of %r ended after its loop was closed", self._function)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():  # cancelled: the caller has left
            if error is not None:
                logger.debug("an abandoned call of %r failed: %r", self._function, error)
        elif error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class ThreadExecutor:
    """Runs each call on a daemon thread that nothing else runs on meanwhile.

    A call whose caller is cancelled is *abandoned*: it runs on and its result is dropped, but it counts towards
    ``max_threads`` until it ends, and it never keeps the interpreter from exiting. Context variables are those of the
    caller. `run` belongs to an event loop; one executor may serve several loops in turn.

    Args:
        max_threads: Largest number of threads alive at once, abandoned ones included. Loaders that run ahead of a need
            get none of the last quarter, and one kind none of the last eighth.
    """

    def __init__(self, max_threads: int = DEFAULT_MAX_THREADS) -> None:
        self.max_threads = max_threads
        self._lock = threading.Lock()
        self._live = 0
        self._abandoned = 0
        self._of_kind: Counter[str] = Counter()  # live calls
        self._closed = False
        self._numbers = itertools.count(1)
        self._parked: list[queue.SimpleQueue[_Call | None]] = []  # where each waiting thread is handed its next call

    @property
    def live(self) -> int:
        """How many calls run now, abandoned ones included."""
        return self._live

    @property
    def abandoned(self) -> int:
        """How many of the running calls nobody waits for any more."""
        return self._abandoned

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``, or raise what it raises; see `preloader.ports.Executor`.

        Raises:
            ClosedError: The executor is closed.
            NoThread: ``max_threads`` calls are running already, or as many as speculation or one kind may have and
                this is part of it, or the system grants no further thread.
            LoadError: The function raised something that would stop the loop (`SystemExit`, `KeyboardInterrupt`,
                `StopIteration`, …).
        """
        call = _Call(function, args, self._ended)
        self._start(call)
        try:
            result: T = await call.future
        except asyncio.CancelledError:
            self._abandon(call)
            raise
        return result

    async def aclose(self) -> None:
        """Stop taking work. Calls that are running run on; none is waited for."""
        with self._lock:
            self._closed = True
            parked, self._parked = self._parked, []
        for place in parked:
            place.put(None)

    def _check_room(self, call: _Call) -> None:
        """Raise `NoThread` where a call may have none. The lock is held."""
        most = self.max_threads - int(_KEPT_FOR_NEEDS * self.max_threads if call.is_speculative else 0)
        if self._live >= most:
            raise NoThread(
                f"all {most} threads are busy, {self._abandoned} of them with calls that were given up "
                "and still hang: mend the loaders that hang, or raise max_threads"
            )
        most = self.max_threads - int(_KEPT_FOR_OTHERS * self.max_threads)
        if call.kind and self._of_kind[call.kind] >= most:
            raise NoThread(
                f"all {most} threads that kind {call.kind!r} may have are busy: mend the loaders that hang, or raise "
                "max_threads"
            )

    def _start(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError("the executor is closed: it takes no more work")
            self._check_room(call)
            self._live += 1
            self._of_kind[call.kind] += 1
            place = self._parked.pop() if self._parked else None  # the latest: its stack is warm, and others time out
        if place is not None:
            place.put(call)
            return
        place = queue.SimpleQueue()
        place.put(call)
        name = f"preloader-{next(self._numbers)}"
        try:
            threading.Thread(target=self._work, args=(place,), name=name, daemon=True).start()
        except RuntimeError as error:
            self._ended(call)
            raise NoThread(f"the system grants no thread for a loader: {error}") from error

    def _work(self, place: queue.SimpleQueue[_Call | None]) -> None:
        """Body of a thread: run the calls that are handed to it, until none comes for a while."""
        call = place.get()
        while call is not None:
            call.run()
            call = None  # what it holds must not live on while the thread waits
            if self._park(place):
                try:
                    call = place.get(timeout=_PARKED_S)
                except queue.Empty:
                    call = self._unpark(place)

    def _park(self, place: queue.SimpleQueue[_Call | None]) -> bool:
        with self._lock:
            if self._closed or len(self._parked) >= _MOST_PARKED:
                return False
            self._parked.append(place)
            return True

    def _unpark(self, place: queue.SimpleQueue[_Call | None]) -> _Call | None:
        """Return the call that was handed over at the last moment, if one was."""
        with self._lock:
            if place in self._parked:
                self._parked.remove(place)
                return None
        return place.get()

    def _ended(self, call: _Call) -> None:
        with self._lock:
            self._live -= 1
            self._of_kind[call.kind] -= 1
            self._abandoned -= call.abandoned
            call.ended = True

    def _abandon(self, call: _Call) -> None:
        with self._lock:
            if not call.ended:
                call.abandoned = True
                self._abandoned += 1
