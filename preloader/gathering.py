"""What one load requires, loaded in parallel stages and held until the load has taken hold of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from preloader.cache import Entry
from preloader.errors import LoadError
from preloader.scheduling.flights import CancelledLoad, Flight
from preloader.stages import CircleError, Stages, arrows

if TYPE_CHECKING:
    from preloader.loading import Loader

_MOST = 50_000
"""More requirements than this are none: a provider makes up new ones as it is asked."""

_PIECE = 256  # looked at in one go


class Gathering:
    """Loads the missing requirements of one flight's key, each as soon as its own are there, the most urgent first.

    Only what may start has a flight, so a flight of others for the same key is joined, and a deep chain costs neither
    stack nor tasks. When one requirement fails, all that were started for this key, and that nobody else waits for,
    are cancelled.

    Args:
        loader: Starts flights, and knows what is resident.
        flight: The flight of what requires.
        requires: Returns what must be ready before a key, directly.
        lent: Entries that a gathering which this flight is part of holds, resident or not.
        width: Returns how many flights this may have under way at present.

    Attributes:
        held: What it holds, by key, each pinned once.
    """

    def __init__(
        self,
        loader: Loader,
        flight: Flight[Entry],
        *,
        requires: Callable[[str], Sequence[str]],
        lent: Mapping[str, Entry],
        width: Callable[[], int],
    ) -> None:
        self.held: dict[str, Entry] = {}
        self._loader = loader
        self._flight = flight
        self._requires = requires
        self._lent = lent
        self._width = width
        self._seconds: dict[str, float] = {}
        self._boarded: list[Flight[Entry]] = []
        self._own: set[Flight[Entry]] = set()  # started here, and not landed yet
        flight.holds = self.held

    async def run(self) -> tuple[Entry, ...]:
        """Make ready all that the key requires, and return what it requires directly; `held` holds that alone then.

        Raises:
            LoadError: A requirement failed, or requires what waits for it.
            UnknownResourceError: There is no such requirement.
        """
        key = self._flight.key
        direct = self._requires(key)
        missing = await self._missing(key, direct)
        if len(missing) > 1 or key in direct:
            await self._load(missing)
        entries = {each: self.held.pop(each) for each in dict.fromkeys(direct)}
        self.release()
        self.held.update(entries)
        return tuple(entries.values())

    def release(self) -> None:
        """Let go of everything, and cancel what was started for this alone and has not landed."""
        boarded, self._boarded = self._boarded, []
        for flight in boarded:
            self._flight.waits_for.pop(flight, None)
            self._loader.alight(flight)
        held = list(self.held.values())
        self.held.clear()  # who was lent it finds nothing from now on
        for entry in held:
            self._loader.unpin(entry)

    async def _missing(self, key: str, direct: Sequence[str]) -> dict[str, Sequence[str]]:
        """Return what has to be loaded, ``key`` included, and hold what it stands on."""
        missing = {key: direct}
        for each in (queue := list(direct)):
            if each in missing or await self._hold(each):
                continue
            missing[each] = self._requires(each)
            self._seconds[each] = self._loader.catalogue.seconds(each)
            queue += missing[each]
            if len(missing) % _PIECE == 0:
                await asyncio.sleep(0)
            if len(missing) > _MOST:
                raise LoadError(f"cannot load {key}: it requires more than {_MOST:,} others, such as {each}")
        return missing

    async def _hold(self, key: str) -> bool:
        """Pin an entry that is there, and fresh, once; return whether there is one."""
        if key in self.held:
            return True
        entry = self._lent.get(key)
        if entry is not None:  # loaded a moment ago
            entry.pins += 1
        else:
            entry = await self._loader.freshness.fresh(key)
        if entry is None:
            return False
        self.held[key] = entry
        return True

    async def _load(self, missing: Mapping[str, Sequence[str]]) -> None:
        key = self._flight.key
        edges = {each: [one for one in needed if one in missing] for each, needed in missing.items()}
        seconds = {**self._seconds, key: 0.0}  # the last one adds the same to every path
        try:
            for _ in (stages := Stages(edges, seconds)).prepare():
                await asyncio.sleep(0)
        except CircleError as error:
            raise LoadError(f"cannot load {key}: what it requires goes in a circle: {arrows(error.circle)}") from None
        while True:
            while len(self._own) < self._width() and (each := stages.take()) is not None:
                if each == key:  # the last one: all the others are there
                    return
                await self._begin(each, stages)
            await asyncio.wait([flight.landed for flight in self._boarded], return_when=asyncio.FIRST_COMPLETED)
            for flight in [one for one in self._boarded if one.landed.done()]:
                await self._take_over(flight, stages)

    async def _begin(self, key: str, stages: Stages) -> None:
        """Hold a requirement that has come meanwhile, join its flight, or start one."""
        if await self._hold(key):
            stages.done(key)
            return
        flight, loader = self._flight, self._loader
        child = loader.in_flight(key)
        if child is None:
            child = loader.start(key, flight.preload, foreground=flight.foreground, host=flight.host, lent=self.held)
            self._own.add(child)
        elif circle := way(child, flight):
            raise LoadError(
                f"cannot load {flight.key}: it waits for what waits for it: {arrows([flight.key, *circle])}"
            )
        elif flight.foreground:
            loader.slots.promote(child, flight.host)
        child.passengers += 1
        flight.waits_for[child] = None
        self._boarded.append(child)

    async def _take_over(self, child: Flight[Entry], stages: Stages) -> None:
        """Hold what a flight has brought; for a need, try again what was cancelled for another one.

        Raises:
            PreloaderError: It has failed.
        """
        del self._flight.waits_for[child]
        self._boarded.remove(child)
        self._own.discard(child)
        if self._flight.foreground and isinstance(child.landed.exception(), CancelledLoad):
            await self._begin(child.key, stages)  # it was speculation's, and lost its slot before a need came to join
            return
        entry = self.held[child.key] = child.landed.result()  # which pinned it for this passenger
        entry.landing -= 1
        stages.done(child.key)


def way(start: Flight[Entry], end: Flight[Entry]) -> list[str]:
    """Return over which flights ``start`` waits for ``end``, both included; nothing where it does not."""
    came_from: dict[Flight[Entry], Flight[Entry]] = {start: start}
    for flight in (queue := [start]):
        if flight is end:
            back = [end]
            while back[-1] is not start:
                back.append(came_from[back[-1]])
            return [each.key for each in reversed(back)]
        for next_ in flight.waits_for:
            if next_ not in came_from:
                came_from[next_] = flight
                queue.append(next_)
    return []
