"""Loads that may raise, hang or be cancelled, made safe: timeout, retries with back-off, quarantine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from preloader.errors import LoadError, LoadTimeoutError, QuarantinedError, UnknownResourceError
from preloader.events import Prediction
from preloader.ports import Loaded, Provider
from preloader.scheduling.execution import NoThread
from preloader.settings import Settings
from preloader.telemetry import logger

T = TypeVar("T")

_MAX_WAIT_S = 30.0
_MAX_STRIKES = 1_024  # keys whose failures are remembered: an assistant may run for months


class LoadGuard:
    """Runs providers' loads and unloads.

    Each runs in a task of its own. One that neither finishes in time nor reacts to cancellation is abandoned: it is
    counted, and should a loader still deliver, its value is unloaded.

    Args:
        settings: Timeout, attempts, back-off and quarantine.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._strikes: dict[str, int] = {}  # loads failed in a row; the latest to fail comes last
        self._quarantined_until_s: dict[str, float] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._sweeping: dict[asyncio.Task[None], tuple[str, asyncio.Task[Loaded]]] = {}
        self.counts: Counter[str] = Counter()

    def quarantined(self, key: str) -> bool:
        """Return whether ``key`` is not tried at present."""
        until_s = self._quarantined_until_s.get(key)
        return until_s is not None and asyncio.get_running_loop().time() < until_s

    def allowed(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        """Return those of some predictions whose keys may be tried at present."""
        if not self._quarantined_until_s:  # nearly always
            return predictions
        return [prediction for prediction in predictions if not self.quarantined(prediction.key)]

    async def load(self, key: str, provider: Provider) -> Loaded:
        """Load ``key``, trying again where that may help.

        Raises:
            QuarantinedError: It failed too often lately.
            LoadTimeoutError: The last attempt did not finish in time.
            LoadError: The last attempt raised; the cause is chained.
            UnknownResourceError: There is no such resource; that is not tried again.
            NoThread: No thread was left to load it on; likewise.
        """
        if self.quarantined(key):
            left_s = self._quarantined_until_s[key] - asyncio.get_running_loop().time()
            raise QuarantinedError(f"{key} failed repeatedly and is not tried again for {left_s:.0f} s")
        try:
            loaded = await self._persist(key, provider)
        except NoThread:  # which is not the loader's fault
            raise
        except LoadError:
            self._strike(key)
            raise
        self._forgive(key)
        return loaded

    async def unload(self, key: str, provider: Provider, value: Any) -> None:
        """Release a value. Whatever goes wrong is counted and logged, and a call that hangs is left behind."""
        task = self._run(lambda: provider.unload(key, value), f"unload {key}")
        await asyncio.wait({task}, timeout=self._settings.load_timeout_s)
        if not task.done():
            task.cancel()
            self._note_unload_error(key, "took too long")
        elif task.cancelled():
            self._note_unload_error(key, "was cancelled from within")
        elif (error := task.exception()) is not None:
            self._note_unload_error(key, f"raised {error!r}")

    def sweeping(self, key: str) -> list[asyncio.Task[None]]:
        """Return the tasks that wait for abandoned loads of ``key``, and unload what they deliver."""
        return [sweeper for sweeper, (swept, _) in self._sweeping.items() if swept == key]

    async def swept(self, grace_s: float) -> None:
        """Wait, at most ``grace_s``, until no abandoned load is left; then leave behind those that are."""
        loads = {load for _, load in self._sweeping.values() if not load.done()}
        await _leave_behind({*loads, *self._sweeping}, grace_s)

    async def aclose(self, grace_s: float) -> None:
        """Wait, at most ``grace_s``, for what was cancelled and has not ended yet; then leave it behind."""
        await _leave_behind({*self._running, *self._sweeping}, grace_s)

    async def _persist(self, key: str, provider: Provider) -> Loaded:
        """Try as often as the settings allow, waiting twice as long each time.

        By hand: retry libraries log every attempt as a warning, which speculation must not.
        """
        for attempt in range(self._settings.load_attempts - 1):
            try:
                return await self._attempt(key, provider)
            except NoThread:
                raise
            except LoadError:
                await asyncio.sleep(min(_MAX_WAIT_S, self._settings.retry_wait_s * 2 ** min(attempt, 16)))
        return await self._attempt(key, provider)

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(_contained(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # looked at here: it may be left behind
            logger.debug("%s ended with %r", task.get_name(), error)

    async def _attempt(self, key: str, provider: Provider) -> Loaded:
        task = self._run(lambda: _checked(provider, key), f"load {key}")
        try:
            await asyncio.wait({task}, timeout=self._settings.load_timeout_s)
        except asyncio.CancelledError:
            self._abandon(key, provider, task)
            raise
        if not task.done():
            self.counts["timeouts"] += 1
            self._abandon(key, provider, task)
            raise LoadTimeoutError(f"loading {key} took longer than {self._settings.load_timeout_s:g} s")
        if task.cancelled():
            self._fail(key, "its loader was cancelled from within")
        error = task.exception()
        if isinstance(error, UnknownResourceError | NoThread):
            raise error
        if error is not None:
            self._fail(key, f"its loader raised {type(error).__name__}: {error}", error)
        return task.result()

    def _fail(self, key: str, why: str, cause: BaseException | None = None) -> NoReturn:
        self.counts["errors"] += 1
        logger.debug("cannot load %s: %s", key, why)
        raise LoadError(f"cannot load {key}: {why}") from cause

    def _strike(self, key: str) -> None:
        self._strikes[key] = self._strikes.pop(key, 0) + 1
        if len(self._strikes) > _MAX_STRIKES:
            self._forgive(next(iter(self._strikes)))
        if self._strikes[key] >= self._settings.quarantine_after:
            self.counts["quarantines"] += 1
            self._quarantined_until_s[key] = asyncio.get_running_loop().time() + self._settings.quarantine_s
            logger.debug("%s is quarantined for %g s", key, self._settings.quarantine_s)

    def _forgive(self, key: str) -> None:
        self._strikes.pop(key, None)
        self._quarantined_until_s.pop(key, None)

    def _note_unload_error(self, key: str, why: str) -> None:
        self.counts["unload_errors"] += 1
        logger.debug("unloading %s %s", key, why)

    def _abandon(self, key: str, provider: Provider, task: asyncio.Task[Loaded]) -> None:
        task.cancel()
        sweeper = asyncio.create_task(self._sweep(key, provider, task), name=f"sweep {key}")
        self._sweeping[sweeper] = key, task
        sweeper.add_done_callback(self._sweeping.pop)

    async def _sweep(self, key: str, provider: Provider, task: asyncio.Task[Loaded]) -> None:
        """Unload what an abandoned loader delivers after all."""
        await asyncio.wait({task})
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.debug("the abandoned load of %s ended with %r", key, error)
        else:
            await self.unload(key, provider, task.result().value)


async def _leave_behind(pending: set[asyncio.Task[Any]], grace_s: float) -> None:
    if pending:
        _, stuck = await asyncio.wait(pending, timeout=grace_s)
        for task in stuck:
            task.cancel()
            logger.warning("%s ignores its cancellation and is left behind", task.get_name())


async def _checked(provider: Provider, key: str) -> Loaded:
    loaded: object = await provider.load(key)
    if not isinstance(loaded, Loaded) or loaded.bytes < 0:
        raise TypeError(f"a provider must return Loaded(value, bytes) with bytes of at least 0, not {loaded!r}")
    if loaded.ttl_s is not None and not loaded.ttl_s > 0:
        raise TypeError(f"a provider must return Loaded with a ttl_s above 0 seconds, or None, not {loaded.ttl_s!r}")
    return loaded


async def _contained(work: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    """Do a provider's work, and keep its wish to end the program to itself."""
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise LoadError(f"{name} raised {type(error).__name__}") from error
