"""What may not be resident together is kept apart: who yields, and why, in words.

A *claim* is the right to make a value of a key that conflicts with others. It is given while none of these is claimed
or alive, and *alive* a value is until it has been unloaded: leaving the store is not enough, nor is it that a load was
cancelled, until that has ended (`Loader` waits for one that is deaf no longer than ``load_timeout_s``). Who yields:

- A need beats speculation: a rival that is being preloaded is cancelled, one that nobody uses is evicted, together with
  what stands on it.
- Two needs take turns: the later one waits for the load that the earlier one waits for.
- What is in use (`PreloadManager.use`) never yields, and is not waited for, since the same task may be the user: a need
  then fails at once with a `ConflictError` that names it.
- Among speculation the worthier stays: probability × seconds to load × priority. Among equals the present one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from preloader.cache import Entry, Store
from preloader.errors import ConflictError
from preloader.events import Decision, Prediction, kind_of
from preloader.gathering import way
from preloader.ports import HasConflicts, Provider, priority_of
from preloader.scheduling.flights import Flight
from preloader.telemetry import OpenPreload

if TYPE_CHECKING:
    from preloader.loading import Loader

_Waitable = asyncio.Future[Any]


class Conflicts:
    """Gives and keeps the claims of one loader.

    Args:
        loader: Whose loads claim.
        store: Where entries live.
        providers: By kind; those that are `HasConflicts` have something to say here.
        outlook: Returns what is expected to be used soon: what an idle resident is worth.
    """

    def __init__(
        self,
        loader: Loader,
        store: Store,
        providers: Mapping[str, Provider],
        outlook: Callable[[], Mapping[str, Prediction]],
    ) -> None:
        self._loader = loader
        self._store = store
        self._outlook = outlook
        self._of = {kind: one.conflicts for kind, one in providers.items() if isinstance(one, HasConflicts)}
        self._claims: dict[str, Flight[Entry]] = {}
        self._alive: dict[str, set[Entry]] = {}

    def rivals(self, key: str) -> list[str]:
        """Return what may not be resident together with ``key``, in a fixed order."""
        conflicts = self._of.get(kind_of(key))
        return sorted(conflicts(key)) if conflicts is not None else []

    async def claim(self, flight: Flight[Entry]) -> None:
        """Wait until nothing is there that a flight's key conflicts with, after having asked it to go; then claim.

        Raises:
            ConflictError: A rival does not yield.
        """
        rivals = self.rivals(flight.key)
        is_waiting = bool(rivals)
        while is_waiting:
            try:
                leaving = [one for rival in rivals for one in self._ask_to_go(rival, flight)]
                if is_waiting := bool(leaving):
                    await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
            finally:
                boarded = list(flight.waits_for)
                flight.waits_for.clear()
                for one in boarded:
                    self._loader.alight(one)
        if rivals:
            self._claims[flight.key] = flight

    def release(self, flight: Flight[Entry], *made: Entry | None) -> None:
        """Give a claim back; what was made with it is alive until it is `gone`."""
        if self._claims.get(flight.key) is flight:
            del self._claims[flight.key]
            if alive := {entry for entry in made if entry is not None}:
                self._alive.setdefault(flight.key, set()).update(alive)

    def gone(self, entry: Entry) -> None:
        """Say that an entry's value is unloaded, or its user's alone."""
        alive = self._alive.get(entry.key)
        if alive is not None:
            alive.discard(entry)
            if not alive:
                del self._alive[entry.key]

    def refusal(self, key: str, preload: OpenPreload) -> str:
        """Return why a preload must not start by now; nothing where no rival is in its way, or it would be asked to go.

        Looks at all that would have to be loaded for it, since a dependency may be what conflicts.
        """
        if not self._of:
            return ""
        parts = (part for part in (*self._loader.catalogue.dependencies(key), key) if part not in self._store)
        for part in parts:
            for rival in self.rivals(part):
                if reason := self._reason_to_yield(part, rival, preload.probability):
                    return reason
        return ""

    def told(self, decision: Decision) -> Decision:
        """Return an accepted decision that says which side yields, where its key has a rival that is there."""
        for rival in self.rivals(decision.key):
            if rival in self._claims or rival in self._alive:
                words = self._reason_to_yield(decision.key, rival, decision.probability)
                words = f"{words}, unless that changes" if words else f"{rival}, which it conflicts with, yields"
                values = {**decision.values, "conflict": words}
                return msgspec.structs.replace(decision, rule=f"{decision.rule}; {{conflict}}", values=values)
        return decision

    def _ask_to_go(self, rival: str, flight: Flight[Entry]) -> Iterable[_Waitable]:
        """Make a rival yield to a flight, and return what to wait for until it has; nothing where it is not there.

        Raises:
            ConflictError: It does not yield.
        """
        speculative = None if flight.foreground else flight.preload
        if speculative and (reason := self._reason_to_yield(flight.key, rival, speculative.probability)):
            raise ConflictError(reason)
        leaving: list[_Waitable] = []
        if (claimant := self._claims.get(rival)) is not None:
            leaving.append(self._flight_to_go(claimant, flight, rival))
        for entry in list(self._alive.get(rival, ())):
            leaving += self._entry_to_go(entry, flight)
        return leaving

    def _flight_to_go(self, rival: Flight[Entry], flight: Flight[Entry], over: str) -> _Waitable:
        """Cancel a speculative flight that has, or makes, what is in the way of another; a need's is waited for."""
        if rival in _hosts(flight) or way(rival, flight):
            raise ConflictError(f"{flight.key} conflicts with {over}, and {rival.key} waits for both")
        if rival.foreground:
            if rival not in flight.waits_for:
                rival.passengers += 1
                flight.waits_for[rival] = None
        elif not rival.cancel_reason:
            self._loader.counts["conflicts"] += 1
            rival.cancel(f"cancelled in flight: {over} yields to {flight.key}, which it conflicts with")
        return rival.landed

    def _entry_to_go(self, entry: Entry, flight: Flight[Entry]) -> list[_Waitable]:
        """Evict an entry that is in the way, with all that stands on it, what stands on others first."""
        stack = self._stack(entry)
        for part in stack:
            if self._pins_of_users(part) > 0:
                on = f", on which {part.key} stands that is in use" if part is not entry else ", which is in use"
                raise ConflictError(f"{flight.key} conflicts with {entry.key}{on}: let go of it first")
        flights = {one: None for part in stack for one in self._flights_on(part)}
        if flights:
            return [self._flight_to_go(one, flight, entry.key) for one in flights]
        if any(part.landing for part in stack):  # those who waited for it take it over within a few turns
            return [_next_turn()]
        for part in stack:
            if part.stored:
                self._loader.counts["conflicts"] += 1
                self._loader.evict(part, f"evicted unused: {entry.key} yields to {flight.key}, which it conflicts with")
        return [*self._loader.unloadings()]

    def _reason_to_yield(self, key: str, rival: str, probability: float) -> str:
        """Return why speculation on ``key`` yields to a rival that is there; nothing where it does not."""
        stays = f"{key} yields to {rival}, which it conflicts with and which"
        claimant = self._claims.get(rival)
        if claimant is not None:
            if claimant.foreground or claimant.preload is None:
                return f"{stays} is needed"
            if self._worth(key, probability) <= self._worth(rival, claimant.preload.probability):
                return f"{stays} is worth more"
        for entry in self._alive.get(rival, ()):
            stack = self._stack(entry)
            if any(self._in_use(part) for part in stack):
                return f"{stays} is in use"
            if entry.stored and self._worth(key, probability) <= sum(map(self._at_stake, stack)):
                return f"{stays} is worth more"
        return ""

    def _in_use(self, entry: Entry) -> bool:
        return self._pins_of_users(entry) > 0 or any(one.foreground for one in self._flights_on(entry))

    def _at_stake(self, entry: Entry) -> float:
        """Return what losing a resident would cost: P(used soon) × seconds × priority."""
        expected = self._outlook().get(entry.key)
        return 0.0 if expected is None or not entry.stored else expected.p_use_soon * entry.load_s * entry.priority

    def _worth(self, key: str, probability: float) -> float:
        provider = self._loader.catalogue.provider(key)
        return probability * provider.cost(key).seconds * priority_of(provider, key)

    def _stack(self, entry: Entry) -> list[Entry]:
        """Return an entry and all that stands on it, what stands on others first."""
        stack = {entry: None}
        for part in (queue := [entry]):
            new = [one for one in self._holders(part) if one not in stack]
            stack.update(dict.fromkeys(new))
            queue += new
        return queue[::-1]

    def _holders(self, entry: Entry) -> list[Entry]:
        return [one for one in (*self._store.entries(), *self._loader.retiring()) if entry in one.holds]

    def _flights_on(self, entry: Entry) -> list[Flight[Entry]]:
        """Return the loads under way that hold an entry."""
        return [one for one in self._loader.flights.values() if one.holds.get(entry.key) is entry]

    def _pins_of_users(self, entry: Entry) -> int:
        return entry.pins - entry.landing - len(self._holders(entry)) - len(self._flights_on(entry))


def _hosts(flight: Flight[Entry]) -> list[Flight[Entry]]:
    """Return the flights whose loaders, one inside the other, wait for this one."""
    hosts: list[Flight[Entry]] = []
    while flight.host is not None and flight.host not in hosts:
        flight = flight.host
        hosts.append(flight)
    return hosts


def _next_turn() -> _Waitable:
    """Return a future that is done in the next turn of the loop."""
    loop = asyncio.get_running_loop()
    turn: _Waitable = loop.create_future()
    loop.call_soon(turn.set_result, None)
    return turn
