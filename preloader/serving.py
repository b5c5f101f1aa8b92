"""How a need is served: ready and still true, joined in flight, or loaded on demand, and entered in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from preloader.cache import Entry, Store
from preloader.errors import UnknownResourceError
from preloader.events import NeedOutcome
from preloader.loading import Loader
from preloader.scheduling.flights import Flight, loading
from preloader.speculation import Speculation
from preloader.telemetry import Ledger


class Serving:
    """Serves needs from the store, before and beside all speculation.

    Args:
        store: Where entries live.
        loader: What loads those that are not there.
        speculation: Whose queued preloads a need overtakes.
        ledger: Where every need is entered once.
        check_running: Raises `ClosedError` where nothing may be loaded any more.
    """

    def __init__(
        self,
        store: Store,
        loader: Loader,
        speculation: Speculation,
        ledger: Ledger,
        check_running: Callable[[], None],
    ) -> None:
        self._store = store
        self._loader = loader
        self._speculation = speculation
        self._ledger = ledger
        self._check_running = check_running

    def hit(self, entry: Entry, user: str, session: str) -> None:
        """Enter a need of what is resident and cannot go stale."""
        self._loader.served(entry, user, session)
        self._ledger.hit(entry.key, user, session)

    async def need(self, key: str, user: str, session: str) -> Entry:
        """Return the entry of ``key``, pinned once, and enter the need.

        Raises:
            UnknownResourceError: No provider has it.
            LoadError: It could not be loaded, in time, or is in quarantine.
            ClosedError: The manager is not running.
        """
        self._check_running()
        loop = asyncio.get_running_loop()
        asked_s, outcome = loop.time(), NeedOutcome.MISS
        try:
            entry = await self._loader.freshness.fresh(key)
            if entry is not None:
                outcome = NeedOutcome.HIT
            began_before = True
            while entry is None:
                self._check_running()  # it may have been stopped while freshness was asked for
                flight = self._loader.in_flight(key)
                if flight is None:
                    outcome = NeedOutcome.MISS
                    self._store.missed(key)
                    entry = await self._loader.board(self._start(key))
                else:
                    outcome = NeedOutcome.LATE_HIT
                    self._join(flight)
                    entry = await (self._confirmed(flight) if began_before else self._loader.board(flight))
                    began_before = False  # any other began since the need arose
            self._loader.served(entry, user, session, brought=outcome is NeedOutcome.MISS)
            return entry
        finally:
            self._ledger.need(key, user, session, outcome, loop.time() - asked_s, loop.time())

    async def _confirmed(self, flight: Flight[Entry]) -> Entry | None:
        """Return what a flight brings that was under way when the need arose, pinned once, or what is resident since.

        What it reads it may have read before, and that may have changed; a resource that was not there may be there
        now. Where that is so, and nobody else has loaded it since, it is ``None``.
        """
        try:
            entry = await self._loader.board(flight)
        except UnknownResourceError:
            pass
        else:
            if await self._loader.freshness.confirm(entry):
                return entry
        return await self._loader.freshness.fresh(flight.key)

    def _start(self, key: str) -> Flight[Entry]:
        if (queued := self._speculation.of(key)) is not None:
            self._speculation.withdraw(queued, "needed before its load began")
        return self._loader.start(key, foreground=True, host=loading.get())

    def _join(self, flight: Flight[Entry]) -> None:
        if flight.own_preload is not None:
            flight.own_preload.needed = True
        self._loader.slots.promote(flight, loading.get())
