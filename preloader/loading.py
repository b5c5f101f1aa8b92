"""From a key to a resident entry: single flight, dependencies first, room made before anything is loaded.

This is the half of the manager that moves resources; `preloader.manager` is the half that decides which.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from functools import partial
from types import MappingProxyType
from typing import Any

from preloader.cache import Entry, Store
from preloader.catalogue import Catalogue
from preloader.conflicts import Conflicts
from preloader.errors import ConflictError, LoadError, PreloaderError
from preloader.events import PreloadOutcome
from preloader.freshness import Freshness
from preloader.gathering import Gathering
from preloader.ports import Cost, Loaded, Provider, priority_of
from preloader.room import NoRoom, Outlook, Room
from preloader.scheduling.flights import CancelledLoad, Flight, LoadSlots, loading
from preloader.scheduling.guard import LoadGuard
from preloader.settings import Settings
from preloader.telemetry import OpenPreload, logger

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
EndPreload = Callable[[OpenPreload, PreloadOutcome, str], None]

_NOTHING: Mapping[str, Entry] = MappingProxyType({})


class Loader:
    """Loads resources into the store, and takes them out of it.

    Args:
        providers: By kind.
        store: Where entries live.
        settings: Limits of single loads, and how many run at once.
        outlook: Returns what is expected to be used soon, for eviction.
        end: Called when a preload ends here.
        spawn: Starts a task that the manager owns.
        landed: Called after each flight, when slots may have become free.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        store: Store,
        settings: Settings,
        *,
        outlook: Outlook,
        end: EndPreload,
        spawn: Spawn,
        landed: Callable[[], None],
    ) -> None:
        self.flights: dict[str, Flight[Entry]] = {}
        self.slots: LoadSlots[Entry] = LoadSlots(settings.loaders)
        self.guard = LoadGuard(settings)
        self.counts: Counter[str] = Counter()
        self.freshness = Freshness(store, settings.load_timeout_s, self.evict, self.unpin)
        self._store = store
        self._settings = settings
        self._workers = settings.loaders or max(settings.tier_workers)  # what a need may have loaded at once
        self._unloading: dict[asyncio.Task[None], Entry] = {}
        self.catalogue = Catalogue(providers, store, self._workers)
        self.conflicts = Conflicts(self, store, providers, outlook)
        self.room = Room(store, outlook, self.catalogue.provider, partial(self.evict, for_room=True))
        self._end = end
        self._spawn = spawn
        self._landed = landed

    def totals(self) -> Counter[str]:
        """Return what was counted, here and in what it is made of."""
        totals = Counter(preemptions=self.slots.preemptions)
        for part in (self, self.catalogue, self.room, self.guard, self.freshness):
            totals.update(part.counts)
        return totals

    def loss_s(self, key: str) -> float:
        """Return what making room for a key is expected to cost; see `Budget.loss_s`."""
        return self.room.loss_s(self.catalogue.cost(key).bytes)

    def worth_loading(self, preload: OpenPreload) -> bool:
        """Return whether room for a preload exists or is worth making."""
        return self.room.is_worth_making(preload, self.catalogue.cost(preload.key))

    def start(
        self,
        key: str,
        preload: OpenPreload | None = None,
        *,
        foreground: bool,
        host: Flight[Entry] | None = None,
        lent: Mapping[str, Entry] = _NOTHING,
    ) -> Flight[Entry]:
        """Start a flight. The caller has made sure that none can be joined, and that ``key`` is not resident.

        ``lent`` are entries that the flight may stand on as if they were resident, for as long as they are in there.
        """
        flight: Flight[Entry] = Flight(key, foreground=foreground, preload=preload, host=host)
        self.flights[key] = flight
        task = self._spawn(self._fly(flight, lent), f"flight {key}")
        task.add_done_callback(lambda _: self._grounded(flight))
        flight.takes_off(task)
        return flight

    def in_flight(self, key: str) -> Flight[Entry] | None:
        """Return the flight of ``key`` that can be joined."""
        flight = self.flights.get(key)
        return None if flight is None or flight.cancel_reason else flight

    async def board(self, flight: Flight[Entry]) -> Entry:
        """Wait for a flight and return its entry, pinned once for the caller.

        A flight that nobody waits for any more is cancelled, unless it is a preload in its own right.
        """
        flight.passengers += 1
        try:
            entry = await asyncio.shield(flight.landed)
        except asyncio.CancelledError:
            self.alight(flight)
            raise
        entry.landing -= 1
        return entry

    def alight(self, flight: Flight[Entry]) -> None:
        """Wait for a flight no longer; what it has brought by now is let go of."""
        if flight.landed.done():
            if flight.landed.exception() is None:
                flight.landed.result().landing -= 1
                self.unpin(flight.landed.result())
            return
        flight.passengers -= 1
        if flight.passengers:
            return
        if flight.own_preload is None:
            flight.cancel("cancelled in flight: nobody waits for it any more")
        else:
            self.slots.demote(flight)

    def served(self, entry: Entry, user: str, session: str, *, brought: bool = False) -> None:
        """A need was served from ``entry``: the preloads that brought it and what it stands on were of use.

        ``brought`` says that the entry was loaded for this very need, so that its admission was this use.
        """
        if entry.stored and not brought:
            self._store.used(entry)
        for part in entry.own(user, session, served=True):
            part.proved, part.speculative = True, False
            preload, part.preload = part.preload, None
            if preload is not None and not preload.ended:
                if preload.key == part.key:
                    self._end(preload, PreloadOutcome.USED, "used")
                else:  # a dependency that was brought for something else counts for that no longer
                    preload.bytes -= part.bytes

    def evict(self, entry: Entry, reason: str, *, for_room: bool = False) -> None:
        """Take an entry out of the store, if it is there still; its value is unloaded once nobody holds it."""
        if not entry.stored:  # a listener to the end of another one has had it evicted
            return
        if for_room:
            self.counts["evictions"] += 1
            self._store.evict(entry)
        else:
            self._store.remove(entry)
        preload = entry.preload
        if preload is not None and not preload.ended and preload.key == entry.key:
            self._end(preload, PreloadOutcome.WASTED, reason)
        if not entry.pins:
            self._retire(entry)

    def unpin(self, entry: Entry, *, keep: bool = False) -> None:
        """Let go of an entry; one not stored is unloaded with its last holder.

        ``keep`` hands over a value that never was stored: it is the caller's from then on.
        """
        entry.pins -= 1
        if entry.pins:
            return
        if not entry.stored:
            self._retire(entry, unload=entry.admitted or not keep)
        elif self._store.free_bytes < 0:
            self.room.shed()

    def resize(self, budget_bytes: int) -> None:
        """Change the store's budget, and evict what no longer fits.

        Raises:
            ValueError: The budget is below 1.
        """
        self._store.resize(budget_bytes)
        self.room.shed()

    async def clear(self, which: Callable[[Entry], bool]) -> None:
        """Evict the entries of a sort that nobody holds, and wait until they are unloaded; no later ones."""
        cleared = dict.fromkeys(entry for entry in self._store.entries() if which(entry))
        for entry in (queue := list(cleared)):  # what it holds may have left the store, and goes with its last holder
            new = [held for held in entry.holds if held not in cleared]
            cleared.update(dict.fromkeys(new))
            queue += new
        while True:
            for entry in cleared:
                if not entry.pins and which(entry):
                    self.evict(entry, "cleared unused")
            leaving = [task for task, entry in self._unloading.items() if entry in cleared]
            if not leaving:
                return
            await asyncio.wait(leaving)

    async def unloaded(self) -> None:
        """Wait until every value that was let go of is unloaded."""
        while self._unloading:  # what one held may be unloaded after it
            await asyncio.wait(self._unloading)

    def unloadings(self) -> list[asyncio.Task[None]]:
        """Return the tasks that unload what was let go of."""
        return list(self._unloading)

    def retiring(self) -> list[Entry]:
        """Return the entries that they unload."""
        return list(self._unloading.values())

    def cancel_flights(self, reason: str) -> None:
        """Cancel every load; each flight lands with an error within a few turns of the loop."""
        for flight in list(self.flights.values()):
            flight.cancel(reason)

    async def aclose(self, grace_s: float) -> None:
        """Empty the store, now that no flight is left, and wait until everything is unloaded.

        What somebody still holds is unloaded when that one lets go of it.
        """
        for entry in self._store.entries():
            self.evict(entry, "unused at shutdown")
        await self.guard.swept(grace_s)
        await self.unloaded()
        await self.guard.aclose(grace_s)

    async def _fly(self, flight: Flight[Entry], lent: Mapping[str, Entry]) -> None:
        try:
            entry = await self._load(flight, lent)
        except asyncio.CancelledError:
            self._crash(flight, CancelledLoad(flight.cancel_reason or "cancelled in flight: shutdown"))
        except PreloaderError as error:
            self._crash(flight, error)
        except Exception as error:
            logger.exception("the provider of %s failed outside its loader", flight.key)
            self._crash(flight, LoadError(f"cannot load {flight.key}: {type(error).__name__}: {error}"))
        else:
            self._land(flight, entry)
        finally:
            self._leave(flight)

    def _grounded(self, flight: Flight[Entry]) -> None:
        """Close a flight that was cancelled before its task ran at all, so that nothing in `_fly` could."""
        if not flight.landed.done():
            self._crash(flight, CancelledLoad(flight.cancel_reason or "cancelled in flight: shutdown"))
            self._leave(flight)

    def _leave(self, flight: Flight[Entry]) -> None:
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        self._landed()

    def _land(self, flight: Flight[Entry], entry: Entry) -> None:
        entry.pins += flight.passengers
        entry.landing = flight.passengers
        preload = flight.own_preload
        if preload is not None:
            preload.ready_s = asyncio.get_running_loop().time()
            if preload.needed:
                self._end(preload, PreloadOutcome.USED, "joined in flight")
            elif not entry.stored:
                self._end(preload, PreloadOutcome.WASTED, "larger than expected: it did not fit")
        if not entry.stored and not entry.pins:
            self._retire(entry)
        flight.landed.set_result(entry)

    def _crash(self, flight: Flight[Entry], error: PreloaderError) -> None:
        preload = flight.own_preload
        if preload is not None:
            if not isinstance(error, CancelledLoad | NoRoom | ConflictError):
                outcome = PreloadOutcome.FAILED
            elif preload.started_s is None:
                outcome = PreloadOutcome.DROPPED
            else:
                outcome = PreloadOutcome.WASTED
            self._end(preload, outcome, str(error))
        flight.landed.set_exception(error)

    async def _load(self, flight: Flight[Entry], lent: Mapping[str, Entry]) -> Entry:
        provider = self.catalogue.provider(flight.key)
        gathering = Gathering(
            self, flight, requires=self.catalogue.requires, lent=lent, width=lambda: self._width(flight)
        )
        try:
            holds = await gathering.run()
            entry = await self._load_alone(flight, provider)
        except BaseException:
            gathering.release()
            raise
        entry.hold(holds)
        if entry.preload is not None and entry.preload.slot is not None:
            entry.own(*entry.preload.slot, served=False)
        return entry

    def _width(self, flight: Flight[Entry]) -> int:
        """Return how many of its dependencies a flight may have loaded at once."""
        if flight.host is not None:  # it has the one slot that it was lent
            return 1
        if flight.foreground or flight.preload is None:
            return self._workers
        return self._settings.tier_workers[flight.preload.tier]

    async def _load_alone(self, flight: Flight[Entry], provider: Provider) -> Entry:
        preload, entry = flight.preload, None
        try:
            await self.conflicts.claim(flight)  # before the slot, which what is waited for may need
            await self.slots.acquire(flight)
            try:
                entry, ttl_s = await self._made(flight, provider)
            finally:
                self.slots.release(flight)
        finally:
            self.conflicts.release(flight, entry, self._remains(flight, provider))
        if preload is not None and not preload.ended:
            preload.bytes += entry.bytes
        try:
            if self.room.make(flight, Cost(entry.load_s, entry.bytes), loaded=True):
                self._admit(entry, ttl_s)
            else:
                self.counts["not_stored"] += 1
        except BaseException:  # a faulty eviction policy: what was loaded must not be left behind
            self._retire(entry)
            raise
        return entry

    async def _made(self, flight: Flight[Entry], provider: Provider) -> tuple[Entry, float | None]:
        """Have a provider make a value, in room that is reserved for it; return its entry and its time to live."""
        key, preload, loop = flight.key, flight.preload, asyncio.get_running_loop()
        loading.set(flight)  # in this flight's task, which the loader's inherits from
        expected, priority = provider.cost(key), priority_of(provider, key)
        if self.room.make(flight, expected):
            self._store.reserve(key, expected.bytes)
        started_s = loop.time()
        if preload is not None and preload.started_s is None:
            preload.started_s = started_s
        try:
            loaded = await self.guard.load(key, provider)
        finally:
            self._store.release(key)
        return Entry(key, loaded, provider, loop.time() - started_s, preload, priority=priority), loaded.ttl_s

    def _admit(self, entry: Entry, ttl_s: float | None) -> None:
        self._store.admit(entry)
        if ttl_s is not None:
            entry.expires_in(ttl_s, lambda: self.evict(entry, "its time to live ended before it was used"))

    def _retire(self, entry: Entry, *, unload: bool = True) -> None:
        """Let go of an entry's value, and then of what it held.

        The task is none of the manager's group: who holds a value may let go of it after the manager has stopped.
        """
        if unload:
            self._unload(entry, self.guard.unload(entry.key, entry.provider, entry.value))
        else:
            self._let_go(entry)

    def _remains(self, flight: Flight[Entry], provider: Provider) -> Entry | None:
        """Return what stands for a value that an abandoned load may deliver yet, if there is one.

        Until it was swept, what it stands on is held, and what it conflicts with waits: at most ``load_timeout_s``.
        """
        sweeping = self.guard.sweeping(flight.key)
        if not sweeping:
            return None
        ghost = Entry(flight.key, Loaded(None, 0), provider, 0.0, None)
        ghost.hold(flight.holds.values())
        for held in ghost.holds:
            held.pins += 1
        self._unload(ghost, asyncio.wait(sweeping, timeout=self._settings.load_timeout_s))
        return ghost

    def _unload(self, entry: Entry, unload: Coroutine[Any, Any, object]) -> None:
        """Do what ends an entry's value, in a task, and let go of what that held."""

        async def run() -> None:
            try:
                await unload
            finally:
                self._let_go(entry)

        context = copy_context()
        context.run(loading.set, None)  # it is no part of the load that makes room, and is not refused a thread with it
        task = asyncio.create_task(run(), name=f"retire {entry.key}", context=context)
        self._unloading[task] = entry
        task.add_done_callback(self._unloading.pop)

    def _let_go(self, entry: Entry) -> None:
        self.conflicts.gone(entry)
        for dependency in entry.holds:
            self.unpin(dependency)
