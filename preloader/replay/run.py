"""One replay: the real manager, driven through a script in virtual time.

The replay is a *closed loop*: the pause between two events of a history is time in which the user or the model thought,
and it begins when the previous need was served. A slow load therefore delays all that follows, as it does in life, and
waiting never eats the time that a preload has. Sessions that overlapped in the history are played one after another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Literal

import msgspec

from preloader.events import Need, Preload
from preloader.manager import PreloadManager
from preloader.ports import DecisionPolicy, EvictionPolicy, Predictor, Provider
from preloader.replay.clock import run_virtual
from preloader.replay.residency import Residency, WatchedEviction
from preloader.replay.script import SessionScript
from preloader.replay.unstaged import Unstaged
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings

Cache = Literal["cold", "warm"]
Listener = Callable[[Need | Preload], None]
Progress = Callable[[int], None]


class World(msgspec.Struct, frozen=True):
    """What all runs of one comparison share.

    Attributes:
        provider: Makes the resources ready, in virtual time.
        kind: The resource kind that is needed and predicted.
        capacity_bytes: The store's budget.
        cache: ``cold`` empties the store after each session, ``warm`` keeps one store for each stream.
        settings: Of the managers; budget, policy and eviction are the run's own.
    """

    provider: Provider
    kind: str
    capacity_bytes: int
    cache: Cache = "cold"
    settings: Settings = Settings(loaders=1)


class Cast(msgspec.Struct, frozen=True):
    """Who plays the replaceable parts of one manager."""

    predictor: Predictor
    policy: DecisionPolicy
    eviction: EvictionPolicy
    listeners: tuple[Listener, ...] = ()


Casting = Callable[[Sequence[SessionScript]], Cast]
"""Casts the manager of one store, given the sessions that it will serve."""


class Span(msgspec.Struct, frozen=True):
    """When one session was played, on the virtual clock."""

    user: str
    session: str
    start_s: float
    end_s: float


class Recording(msgspec.Struct, frozen=True):
    """What one run left behind.

    Attributes:
        run: Its name.
        needs: Every need, in order.
        asked_s: When each need was asked for, on the virtual clock that `Preload` uses too.
        preloads: Every preload, in the order that they ended.
        spans: When each session was played.
        mean_resident_bytes: What the store in play held, on average over the time of the sessions.
        events: How many events were observed.
        cpu_s: Processor time that the run took.
    """

    run: str
    needs: list[Need]
    asked_s: list[float]
    preloads: list[Preload]
    spans: list[Span]
    events: int
    cpu_s: float
    mean_resident_bytes: float = 0.0


def play(
    run: str, script: Sequence[SessionScript], world: World, casting: Casting, progress: Progress | None = None
) -> Recording:
    """Replay a script once.

    Args:
        run: The run's name.
        script: The sessions, in order.
        world: What is replayed in.
        casting: Called once for each store.
        progress: Called after each session with its number of events.

    Raises:
        VirtualTimeError: A part of the cast waits for real time.
    """
    return run_virtual(_Stage(run, world).play(script, casting, progress or (lambda events: None)))


class _Stage:
    """Plays one script and writes down what happens."""

    def __init__(self, run: str, world: World) -> None:
        self._world = world
        self._recording = Recording(run, [], [], [], [], 0, 0.0)

    async def play(self, script: Sequence[SessionScript], casting: Casting, progress: Progress) -> Recording:
        self._loop = asyncio.get_running_loop()
        events = 0
        began_s = time.thread_time()
        residencies: dict[str, Residency] = {}
        async with AsyncExitStack() as managers:
            by_store: dict[str, PreloadManager] = {}
            for store, sessions in _stores(script, self._world.cache).items():
                by_store[store] = await managers.enter_async_context(
                    self._manager(casting(sessions), residencies.setdefault(store, Residency()))
                )
            for session in script:
                store = _store(session, self._world.cache)
                residencies[store].begin()
                await self._play_session(session, by_store[store])
                residencies[store].end()
                events += len(session.steps)
                progress(len(session.steps))
        byte_s, seconds = (
            sum(values) for values in zip(*((r.byte_s, r.seconds) for r in residencies.values()), strict=True)
        )
        return msgspec.structs.replace(
            self._recording,
            events=events,
            cpu_s=time.thread_time() - began_s,
            mean_resident_bytes=byte_s / seconds if seconds else 0.0,
        )

    def _manager(self, cast: Cast, residency: Residency) -> PreloadManager:
        return PreloadManager(
            {self._world.kind: self._world.provider},
            predictor=Unstaged(cast.predictor),
            policy=cast.policy,
            eviction=WatchedEviction(cast.eviction, residency.held),
            settings=msgspec.structs.replace(
                self._world.settings, budget_bytes=self._world.capacity_bytes, pressure=False
            ),
            executor=InlineExecutor(),
            cpu_load=lambda: 0.0,  # what else the machine does is no part of what is replayed
            listeners=(self._record, *cast.listeners),
        )

    async def _play_session(self, session: SessionScript, manager: PreloadManager) -> None:
        start_s = self._loop.time()
        async with AsyncExitStack() as in_use:  # what was needed last stays pinned until the next need
            for step in session.steps:
                await asyncio.sleep(step.pause_s)
                for key in step.needs:
                    await in_use.aclose()
                    await in_use.enter_async_context(manager.use(key, user=session.user, session=session.session))
                manager.observe(step.event)
        manager.end_session(session.user, session.session)
        if self._world.cache == "cold":
            await manager.clear()
        self._recording.spans.append(Span(session.user, session.session, start_s, self._loop.time()))

    def _record(self, record: Need | Preload) -> None:
        if isinstance(record, Preload):
            self._recording.preloads.append(record)
        else:
            self._recording.needs.append(record)
            self._recording.asked_s.append(self._loop.time() - record.waited_s)


def _store(session: SessionScript, cache: Cache) -> str:
    return session.stream if cache == "warm" else ""


def _stores(script: Iterable[SessionScript], cache: Cache) -> dict[str, list[SessionScript]]:
    stores: dict[str, list[SessionScript]] = {}
    for session in script:
        stores.setdefault(_store(session, cache), []).append(session)
    return stores
