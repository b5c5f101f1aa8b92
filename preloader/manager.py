"""The manager: the one place that wires prediction, decision, queues, loading and the store, and owns every task.

One flow: `PreloadManager.observe` learns from an event, predicts, decides and queues; workers load into the store;
`PreloadManager.get` serves, and every need and every preload ends in exactly one outcome in the ledger.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from preloader.cache import Store, make_eviction
from preloader.cache.habits import Habits
from preloader.catalogue import check_providers
from preloader.decision import make_policy
from preloader.errors import ClosedError
from preloader.events import Decision, Event, Preload
from preloader.foresight import DecidedListener, Foresight
from preloader.hint_desk import HintDesk
from preloader.hints import HintInbox
from preloader.loading import Loader
from preloader.outlook import Outlook
from preloader.ports import DecisionPolicy, EvictionPolicy, Executor, Predictor, Provider, Remembering, UsesExecutor
from preloader.prediction import OnlinePredictor
from preloader.prediction.hotswap import HotSwapPredictor, SwapStatus
from preloader.prediction.shadow import SwapSettings
from preloader.relief import Relief
from preloader.scheduling.execution import ThreadExecutor
from preloader.scheduling.pressure import Pressure, PressureCallback, PressureSource
from preloader.scheduling.workers import CpuLoad, machine_cpu_load
from preloader.serving import Serving
from preloader.settings import Settings
from preloader.speculation import Speculation
from preloader.statistics import Statistics
from preloader.telemetry import Ledger, Listener
from preloader.upkeep import Upkeep

if TYPE_CHECKING:  # neither is loaded with the manager
    from preloader.hint_channel import HintChannel
    from preloader.history.log import EventLog

_SHUTDOWN_GRACE_S = 5.0


class PreloadManager:
    """Predicts what is needed next and gets it ready; use it as an async context manager, once.

    All methods but `hint` belong to the event loop that entered it.

    Args:
        providers: What makes resources ready, by kind.
        predictor: What predicts; an `OnlinePredictor` over the providers' kinds unless given.
        bundle: A bundle whose predictor takes that one's place when the manager starts; where it is refused, the
            reason is logged and counted, and the manager goes on without it.
        policy: What decides; as the settings name it unless given.
        eviction: What gives way; as the settings name it unless given.
        settings: Budget, tiers, timeouts, …
        executor: Where blocking work (loaders, saving state) runs; threads unless given. The caller closes its own.
        state_dir: Where what was learned is restored from and saved to, regularly and at the end: the predictor's
            state, habits, what components really cost.
        event_log: Where events are recorded. The caller keeps the ownership.
        listeners: Called with every `Need` and `Preload` as it ends, on the loop; they must not block.
        pressure_sources: What tells how short memory is; all that the machine has unless given.
        cpu_load: How busy the processors are, from 0 to 1, for the number of workers; must not block.
        decided: Called with every event and the decisions on it once they are made, on the loop; it must not block.
        wall_clock: Returns seconds since 1970: at which time of day the manager starts.

    Raises:
        ConfigurationError: A policy's name or a kind is wrong.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        predictor: Predictor | None = None,
        bundle: Path | str | None = None,
        policy: DecisionPolicy | None = None,
        eviction: EvictionPolicy | None = None,
        settings: Settings | None = None,
        executor: Executor | None = None,
        state_dir: Path | str | None = None,
        event_log: EventLog | None = None,
        listeners: Sequence[Listener] = (),
        decided: DecidedListener | None = None,
        pressure_sources: Sequence[PressureSource] | None = None,
        cpu_load: CpuLoad = machine_cpu_load,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        check_providers(providers)
        kinds = tuple(providers)
        self.settings = settings = settings or Settings()
        self._providers = dict(providers)
        self._bundle = bundle
        self._executor = executor or ThreadExecutor()
        self._owns_executor = executor is None
        self._predictor = swap = HotSwapPredictor(
            predictor or OnlinePredictor(kinds=kinds, horizon=settings.steps),
            kinds=kinds,
            settings=SwapSettings(every=settings.swap_every),
        )
        self._store = Store(settings.budget_bytes, eviction or make_eviction(settings.eviction))
        self._ledger = Ledger(listeners)
        policy = policy or make_policy(settings.policy, settings.waste_budget, settings.waste_burst)
        self._speculation = Speculation(policy, self._store, self._ledger, settings, cpu_load)
        self._loader = Loader(
            self._providers,
            self._store,
            settings,
            outlook=lambda: self._outlook.merged(),
            end=self._speculation.end,
            spawn=self._spawn,
            landed=self._speculation.pump,
        )
        self._outlook = Outlook(self._loader.catalogue.dependencies, settings.steps, kinds)
        self._serving = Serving(self._store, self._loader, self._speculation, self._ledger, self._check_running)
        habits = Habits()
        self._foresight = Foresight(
            swap, habits, self._outlook, self._speculation, self._executor, kinds, settings, wall_clock, decided
        )
        kept = (provider.kept for provider in providers.values() if isinstance(provider, Remembering))
        self._upkeep = Upkeep(
            swap, self._executor, state_dir, event_log, settings.autosave_s, lambda: swap.of_bundle, (habits, *kept)
        )
        self._hints = HintInbox(settings.tier_capacity)
        self._desk = HintDesk(self._hints, self._speculation, kinds, settings.steps)
        self._relief = Relief(
            settings, self._store, self._loader, self._speculation, self._hints, self._executor, pressure_sources
        )
        self._tasks: asyncio.TaskGroup | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._exits: AsyncExitStack | None = None
        self._running = False

    async def __aenter__(self) -> Self:
        """Restore the predictor and start.

        Raises:
            ClosedError: The manager was entered before.
        """
        if self._exits is not None:
            raise ClosedError("a manager runs once, and this one was entered before: make a new one")
        self._exits = AsyncExitStack()
        async with AsyncExitStack() as exits:  # undone in reverse order, here if this fails, else in __aexit__
            if self._owns_executor:
                exits.push_async_callback(self._executor.aclose)
            for provider in self._providers.values():
                if isinstance(provider, UsesExecutor):
                    provider.use_executor(self._executor)
            if self._bundle is not None:
                await self._foresight.adopt(self._bundle)
            await self._upkeep.restore()
            exits.push_async_callback(self._upkeep.aclose)
            exits.push_async_callback(self._loader.aclose, _SHUTDOWN_GRACE_S)
            self._tasks = await exits.enter_async_context(asyncio.TaskGroup())
            exits.callback(self._stop)
            self._running = True
            self._speculation.start(self._loader)
            chores = (*self._upkeep.chores(), self._foresight.run(), *self._relief.chores())
            self._chores = [self._spawn(chore, "chore") for chore in chores]
            self._desk.open()
            self._foresight.begin()
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: every preload ends, every load is cancelled, every value unloaded, the state saved.

        A value that is in use elsewhere is unloaded after that.
        """
        assert self._exits is not None
        await self._exits.aclose()  # without the error: the task group would wrap it, and it is the caller's own

    def observe(self, event: Event) -> list[Decision]:
        """Take note of an event: learn, predict, decide, queue. Returns at once; loading happens behind it.

        Where the predictor is staged (`preloader.ports.StagedPredictor`) its inference runs behind it, too, and what
        arrives meanwhile is inferred together; the decisions then go to the ``decided`` listener alone, and `settled`
        waits for them. A failing predictor or policy is logged and counted; preloading pauses for that event, serving
        goes on.

        Args:
            event: What happened. Events of a session come in order.

        Returns:
            The decisions, with their reasons; none where they follow.

        Raises:
            ClosedError: The manager is not running.
        """
        self._check_running()
        self._upkeep.record(event)
        return self._foresight.observe(event)

    async def settled(self) -> None:
        """Wait until everything observed so far has been decided on: at once, unless the predictor is staged."""
        await self._foresight.settled()

    async def offer(self, bundle: Path | str) -> None:
        """Load a bundle beside the predictor in service, and try it on what happens from now on.

        It takes over once it has proved better, and gives way again if it then proves worse; see
        `preloader.prediction.hotswap`, and `swap_status`.

        Raises:
            BundleError: It is missing, damaged, tampered with, of another version, or of no use here.
            PreloaderError: Another one is on trial, or on probation.
            ClosedError: The manager is not running.
        """
        self._check_running()
        await self._foresight.offer(bundle)

    def swap_status(self) -> SwapStatus:
        """Return who predicts, which bundle is on trial or probation, and how they compare."""
        return self._foresight.swap_status()

    async def get(self, key: str, *, user: str = "", session: str = "") -> Any:
        """Serve a resource: ready, joined in flight, or loaded on demand. This is a *need*.

        The value may be evicted, and unloaded, any time later; `use` keeps it while it is in use.

        Args:
            key: The resource.
            user: Who needs it, for the ledger.
            session: In which session, for the ledger.

        Raises:
            UnknownResourceError: No provider has it.
            LoadError: It could not be loaded, in time, or is in quarantine.
            ClosedError: The manager is not running.
        """
        entry = self._store.get(key)
        if entry is not None and entry.lasting and self._running:
            self._serving.hit(entry, user, session)
            return entry.value
        entry = await self._serving.need(key, user, session)
        self._loader.unpin(entry, keep=True)
        return entry.value

    @asynccontextmanager
    async def use(self, key: str, *, user: str = "", session: str = "") -> AsyncIterator[Any]:
        """Serve a resource as `get` does, and keep it resident inside the block.

        Raises:
            UnknownResourceError: No provider has it.
            LoadError: It could not be loaded, in time, or is in quarantine.
            ClosedError: The manager is not running.
        """
        entry = await self._serving.need(key, user, session)
        try:
            yield entry.value
        finally:
            self._loader.unpin(entry)
            self._speculation.pump()  # there may be room now
            if not self._running:
                await self._loader.unloaded()

    def hint(self, key: str, probability: float, steps: int = 1, *, ttl_s: float | None = 60.0) -> bool:
        """Say from any thread that ``key`` will probably be needed. The policy decides as it does on predictions.

        Args:
            key: The resource.
            probability: P(needed at that step), 0 to 1.
            steps: How many items ahead, 1 to 255.
            ttl_s: A preload that this starts is written off when it is unused after so many seconds, at most 23 days;
                ``None``: never.

        Returns:
            Whether the hint was taken; ``False`` where the ring is full or the manager is not running.

        Raises:
            ValueError: The probability, the steps or the time to live are out of range.
        """
        return self._hints.post(key, probability, steps, ttl_s)

    def retract(self, keys: Collection[str], reason: str = "retracted", *, user: str = "", session: str = "") -> None:
        """Say that hints on these keys no longer hold, nor what was predicted for a session if one is named.

        What they started, and nobody needed so far, is dropped from its queue, cancelled in flight, or wasted.
        """
        self._desk.retract(keys, reason)
        if session:
            self._speculation.withdraw_of(user, session, reason)

    def is_ready(self, key: str) -> bool:
        """Return whether a resource is loaded."""
        return key in self._store

    def holds(self, key: str) -> bool:
        """Whether a resource is ready, or being loaded, or waits for that."""
        return key in self._store or self._speculation.of(key) is not None or self._loader.in_flight(key) is not None

    def serves(self, providers: Mapping[str, Provider]) -> bool:
        """Return whether no other provider than these makes resources of their kinds ready."""
        return all(self._providers.get(kind, provider) is provider for kind, provider in providers.items())

    def hint_channel(self, keys: Sequence[str], *, capacity: int = 256) -> AbstractAsyncContextManager[HintChannel]:
        """Take hints on these keys from other processes, and from threads without the GIL, inside an ``async with``.

        They post through shared memory, with `preloader.ring.channel.HintSender` or from C; see docs/ring.md.

        Raises:
            UnknownResourceError: On entry, a key is of a kind that has no provider.
            ConfigurationError: The keys or the capacity cannot be a channel's, or there is no compiled ring here.
            ClosedError: The manager is not running.
        """
        self._check_running()
        return self._desk.channel(keys, capacity, self._spawn)

    def end_session(self, user: str, session: str) -> None:
        """Say that a session is over: its preloads that are unused by now are wasted."""
        self._foresight.end_session((user, session))
        self._speculation.end_session((user, session))

    async def clear(self, *, user: str | None = None, session: str | None = None) -> None:
        """Evict everything that nobody holds, or what one user or session alone brought or used; wait until it is gone.

        For all it voids the hints under way, for a user or session it withdraws their preloads. What was learned of
        them stays: only the cache is cleared.

        Args:
            user: Whose; everybody's unless given.
            session: Which of that user's sessions; all of them unless given.

        Raises:
            ValueError: A session is given without its user.
        """
        if user is None and session is not None:
            raise ValueError(f"clear(session={session!r}) needs the user whose session it is, as in user='anna'")
        if user is None:
            self._hints.invalidate()
        else:
            self._speculation.withdraw_of(user, session, "cleared unused")
        await self._loader.clear(lambda entry: user is None or entry.owners.only(user, session))

    async def discard(self, keys: Collection[str]) -> None:
        """Evict these resources, as when what they were made of has changed; whoever holds one keeps it."""
        await self._loader.clear(lambda entry: entry.key in keys)

    def resize(self, budget_bytes: int) -> None:
        """Change the memory budget: what no longer fits is evicted at once, and what is in use once it is released.

        Under memory pressure a share of it holds, and all of it afterwards.

        Raises:
            ValueError: The budget is below 1.
        """
        self._relief.resize(budget_bytes)

    async def flush(self) -> None:
        """Write the event log; every event observed before is durable when this returns."""
        await self._upkeep.flush()

    @property
    def pressure(self) -> Pressure:
        """How short memory is at present; see docs/pressure.md."""
        return self._relief.level

    def on_pressure(self, callback: PressureCallback) -> Callable[[], None]:
        """Call ``callback(level, before)`` on the loop whenever memory pressure changes, after the manager's response.

        Args:
            callback: Must not block. If it raises, that is logged.

        Returns:
            What ends it.
        """
        return self._relief.on_change(callback)

    def recent_drops(self) -> list[Preload]:
        """Return the latest preloads that were given up before they were ready, oldest first, with the reasons."""
        return self._speculation.drops.recent()

    def statistics(self) -> Statistics:
        """Return a snapshot of everything that is counted."""
        counts = self._loader.totals()
        counts["hints_refused"] = self._hints.refused
        counts.update(self._desk.totals())
        for part in (self._foresight, self._speculation, self._store, self._relief):
            counts.update(part.counts)
        speculative = self._store.speculative()
        return Statistics(
            ledger=self._ledger.totals(),
            tiers=self._speculation.statistics(),
            drops=self._speculation.drops.by_tier(),
            pressure=self._relief.statistics(),
            residents=len(self._store),
            resident_bytes=self._store.occupied_bytes,
            budget_bytes=self._store.capacity_bytes,
            speculative=len(speculative),
            speculative_bytes=sum(entry.bytes for entry in speculative),
            counts=dict(counts),
        )

    def _stop(self) -> None:
        """Start nothing any more, end every preload, and send every load home."""
        self._running = False
        self._desk.close()
        for chore in self._chores:
            chore.cancel()
        self._speculation.stop()
        self._loader.cancel_flights("cancelled in flight: shutdown")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work, name=name)

    def _check_running(self) -> None:
        if not self._running:
            raise ClosedError("the manager is not running: use it inside 'async with PreloadManager(...) as manager'")
