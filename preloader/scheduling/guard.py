"""Loads that may raise, hang or be cancelled, made safe: timeout, retries with back-off, quarantine."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import NoReturn

import stamina

from preloader.errors import LoadError, LoadTimeoutError, QuarantinedError, UnknownResourceError
from preloader.ports import Loaded, Provider
from preloader.settings import Settings
from preloader.telemetry import logger

_MAX_WAIT_S = 30.0


class LoadGuard:
    """Runs providers' loads.

    A loader runs in a task of its own. One that neither finishes in time nor reacts to cancellation is abandoned: it is
    counted, and should it still deliver, its value is unloaded.

    Args:
        settings: Timeout, attempts, back-off and quarantine.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._strikes: Counter[str] = Counter()
        self._quarantined_until_s: dict[str, float] = {}
        self._running: set[asyncio.Task[Loaded]] = set()
        self._abandoned: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()

    def quarantined(self, key: str) -> bool:
        """Return whether ``key`` is not tried at present."""
        if not self._quarantined_until_s:  # nearly always, and asked for every prediction
            return False
        until_s = self._quarantined_until_s.get(key)
        return until_s is not None and asyncio.get_running_loop().time() < until_s

    async def load(self, key: str, provider: Provider) -> Loaded:
        """Load ``key``, trying again where that may help.

        Raises:
            QuarantinedError: It failed too often lately.
            LoadTimeoutError: The last attempt did not finish in time.
            LoadError: The last attempt raised; the cause is chained.
            UnknownResourceError: There is no such resource; that is not tried again.
        """
        if self.quarantined(key):
            left_s = self._quarantined_until_s[key] - asyncio.get_running_loop().time()
            raise QuarantinedError(f"{key} failed repeatedly and is not tried again for {left_s:.0f} s")
        try:
            async for attempt in stamina.retry_context(
                on=LoadError,
                attempts=self._settings.load_attempts,
                timeout=None,
                wait_initial=self._settings.retry_wait_s,
                wait_max=_MAX_WAIT_S,
                wait_jitter=0.0,
            ):
                with attempt:
                    loaded = await self._attempt(key, provider)
        except LoadError:
            self._strike(key)
            raise
        self._strikes.pop(key, None)
        self._quarantined_until_s.pop(key, None)
        return loaded

    async def aclose(self, grace_s: float) -> None:
        """Cancel what still runs and wait for it, at most ``grace_s``; then leave it behind."""
        for task in self._running | self._abandoned:
            task.cancel()
        if pending := self._running | self._abandoned:
            _, stuck = await asyncio.wait(pending, timeout=grace_s)
            for task in stuck:
                logger.warning("%s ignores its cancellation and is left behind", task.get_name())

    async def _attempt(self, key: str, provider: Provider) -> Loaded:
        task = asyncio.create_task(_contained(key, provider), name=f"load {key}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
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
        if isinstance(error, UnknownResourceError):
            raise error
        if error is not None:
            self._fail(key, f"its loader raised {type(error).__name__}: {error}", error)
        return task.result()

    def _fail(self, key: str, why: str, cause: BaseException | None = None) -> NoReturn:
        self.counts["errors"] += 1
        logger.debug("cannot load %s: %s", key, why)
        raise LoadError(f"cannot load {key}: {why}") from cause

    def _strike(self, key: str) -> None:
        self._strikes[key] += 1
        if self._strikes[key] >= self._settings.quarantine_after:
            self.counts["quarantines"] += 1
            self._quarantined_until_s[key] = asyncio.get_running_loop().time() + self._settings.quarantine_s
            logger.debug("%s is quarantined for %g s", key, self._settings.quarantine_s)

    def _abandon(self, key: str, provider: Provider, task: asyncio.Task[Loaded]) -> None:
        task.cancel()
        sweeper = asyncio.create_task(_sweep(key, provider, task), name=f"sweep {key}")
        self._abandoned.add(sweeper)
        sweeper.add_done_callback(self._abandoned.discard)


async def _contained(key: str, provider: Provider) -> Loaded:
    """Load, and keep a loader's wish to end the program to itself."""
    try:
        return await provider.load(key)
    except (SystemExit, KeyboardInterrupt) as error:
        raise LoadError(f"the loader of {key} raised {type(error).__name__}") from error


async def _sweep(key: str, provider: Provider, task: asyncio.Task[Loaded]) -> None:
    """Unload what an abandoned loader delivers after all."""
    try:
        loaded = await task
    except (asyncio.CancelledError, Exception) as error:
        logger.debug("the abandoned load of %s ended with %r", key, error)
        return
    try:
        await provider.unload(key, loaded.value)
    except Exception as error:
        logger.debug("unloading the late value of %s raised %r", key, error)
