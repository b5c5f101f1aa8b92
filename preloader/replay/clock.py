"""Virtual time: an asyncio event loop that never sleeps, so that a month of history passes in seconds.

Whenever nothing is ready to run, the loop's clock jumps to its next timer. All that happens inside happens in one
thread, in an order that only timers decide, so a run is exactly repeatable. What would bring real time back in
(worker threads, waiting for a socket) is refused with an error rather than left to hang.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTimeError(RuntimeError):
    """Something inside virtual time waits for the real world."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls descriptors without ever blocking; instead of waiting it moves the clock.

    Attributes:
        now_s: The virtual time, in seconds from the loop's start. Only `select` writes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # The loop's own wake-up pipe is always registered; other threads do not exist here, so it need not be read.
        ready = super().select(0) if len(self.get_map()) > 1 else []
        if ready:
            return ready
        if timeout is None:
            raise VirtualTimeError(
                "deadlock in virtual time: nothing is ready, no timer is set, so what is awaited can never happen"
            )
        self.now_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` jumps to the next timer as soon as nothing else is left to do.

    Starts at 0 s. Descriptors may be watched (a ring's wake-up descriptor, say) and are polled at each turn.

    Raises:
        VirtualTimeError: From `run_until_complete` when everything waits and no timer is set; from `run_in_executor`
            always.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # Timers within this of the present are due. The real clock's 1 ns is less than a float resolves after four
        # months, and a timer that is neither due nor ahead would be waited for in vain.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual time in seconds since the loop was made."""
        return self._jumping.now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Refuse: a thread runs in real time, and would make the run depend on the machine's speed."""
        call = func.args[0] if isinstance(func, functools.partial) and func.args else func  # as asyncio.to_thread wraps
        name = getattr(call, "__qualname__", repr(call))
        raise VirtualTimeError(f"{name} wants a thread, which virtual time does not have: run it inline")


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time, like `asyncio.run`.

    Raises:
        VirtualTimeError: It waits for something that cannot happen in virtual time.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
