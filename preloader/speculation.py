"""Which predictions become preloads, when each is loaded, and how each of them ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence

from preloader.cache import Store
from preloader.errors import UnknownResourceError
from preloader.events import Decision, Prediction, PreloadOutcome, Tier
from preloader.loading import Loader
from preloader.ports import Budget, Cost, DecisionPolicy
from preloader.scheduling.drops import Drops
from preloader.scheduling.pressure import Pressure
from preloader.scheduling.tiers import Tiers, TierStatistics
from preloader.scheduling.workers import STEP_S, CpuLoad, Workers
from preloader.settings import Settings
from preloader.telemetry import Ledger, OpenPreload, Slot, logger

_CANCEL_BELOW = 0.1
"""A queued or loading preload whose probability has fallen below this has turned out wrong."""


class Speculation:
    """Owns the preloads that have not ended: decides, queues, starts, moves, cancels and closes them.

    Args:
        policy: Decides which predictions become preloads.
        store: Where they end up.
        ledger: Where each of them is entered, and closed exactly once.
        settings: Capacity, patience and workers of the tiers.
        cpu: How busy the processors are, for the number of workers.
    """

    def __init__(self, policy: DecisionPolicy, store: Store, ledger: Ledger, settings: Settings, cpu: CpuLoad) -> None:
        self.counts: Counter[str] = Counter()
        self.drops = Drops()
        self._policy = policy
        self._store = store
        self._ledger = ledger
        self._workers = Workers(settings.tier_workers, settings.most_tier_workers, cpu)
        self._tiers = Tiers(settings.tier_capacity, settings.tier_patience_s, self._workers)
        self._open: dict[str, OpenPreload] = {}
        self._pressure = Pressure.LOW
        self._later: asyncio.TimerHandle | None = None  # when a tier that waits may be given another worker
        self._running = False

    def start(self, loader: Loader) -> None:
        """Load through ``loader`` from now on."""
        self._loader = loader
        loader.slots.timed = self._note_load_time
        self._running = True

    def stop(self) -> None:
        """End every preload and start none any more."""
        self._running = False
        if self._later is not None:
            self._later.cancel()
        for preload in list(self._open.values()):
            self.withdraw(preload, "unused at shutdown")

    def statistics(self) -> dict[str, TierStatistics]:
        """Return a snapshot of the tiers, by name."""
        return self._tiers.statistics(self._loads())

    def of(self, key: str) -> OpenPreload | None:
        """Return the preload of ``key`` that has not ended."""
        return self._open.get(key)

    def end_session(self, slot: Slot) -> None:
        """Withdraw what a session has not used by its end."""
        for preload in list(self._open.values()):
            if preload.slot == slot:
                self.withdraw(preload, "unused at session end")

    def withdraw_of(self, user: str, session: str | None, reason: str) -> None:
        """Withdraw the preloads of a user, or of one session of theirs."""
        for preload in list(self._open.values()):
            if preload.slot is not None and preload.slot[0] == user and session in (None, preload.slot[1]):
                self.withdraw(preload, reason)

    def consider(
        self, predictions: Sequence[Prediction], slot: Slot | None, deadline_s: float | None = None
    ) -> list[Decision]:
        """Let the policy decide on predictions, and queue what it accepts.

        Args:
            predictions: Of kinds that have a provider.
            slot: For whom and in which session; ``None`` for hints, which no session supports or ends.
            deadline_s: When preloads that this starts are written off, on the loop's clock.

        Returns:
            The decisions; none from CRITICAL memory pressure on, when nothing is preloaded.
        """
        if self._pressure >= Pressure.CRITICAL:
            self.counts["paused_by_pressure"] += 1
            return []
        budget = Budget(
            self._store.capacity_bytes, self._store.free_bytes, self._loader.catalogue.cost, self._loader.loss_s
        )
        ready: Collection[str] = self._store.keys()
        if coming := {flight.key for flight in self._loader.flights.values() if flight.foreground}:
            ready = coming.union(ready)
        try:
            decisions = self._policy.decide(self._loader.guard.allowed(predictions), ready, budget)
        except Exception:
            self.counts["policy_errors"] += 1
            logger.exception("the policy %s failed", self._policy.name)
            return []
        for at, decision in enumerate(decisions):
            if deadline_s is not None:
                self._prolong(decision.key, deadline_s)
            if decision.tier is not None:
                decisions[at] = self._loader.conflicts.told(decision)
                self._enqueue(decision, decision.tier, slot, deadline_s)
        return decisions

    def restrain(self, pressure: Pressure) -> None:
        """Fit to a level of memory pressure; see `preloader.relief`."""
        self._pressure = pressure
        reason = f"memory pressure {pressure.name}"
        for preload in self._tiers.restrain(pressure):
            if not preload.ended:  # by a listener to one before it
                self.end(preload, PreloadOutcome.DROPPED, reason)
        for preload in self._loading():
            if not self._tiers.workers(preload.tier):
                self.withdraw(preload, reason)
        self.pump()

    def _enqueue(self, decision: Decision, tier: Tier, slot: Slot | None, deadline_s: float | None) -> None:
        """Queue a preload, or move the one that is queued already; one in flight is joined as it is."""
        preload = self._open.get(decision.key)
        if preload is None:
            now_s = self._now_s()
            preload = OpenPreload(decision, tier, slot, now_s, self._expected(decision.key))
            self._open[preload.key] = preload
            self._ledger.open(preload)
            if deadline_s is not None:
                self._expire_at(preload, deadline_s)
        elif preload not in self._tiers:
            return
        else:
            self._tiers.remove(preload)
            preload.tier, preload.probability, preload.steps = tier, decision.probability, decision.steps
        if (displaced := self._tiers.push(preload)) is not None:
            self.end(displaced, PreloadOutcome.DROPPED, f"the {tier.name.lower()} tier is full")

    def _prolong(self, key: str, deadline_s: float) -> None:
        """Let a preload live until the later deadline, whether it waits, loads or is ready."""
        preload = self._open.get(key)
        if preload is not None and deadline_s > (preload.deadline_s or deadline_s):
            self._expire_at(preload, deadline_s)

    def _expire_at(self, preload: OpenPreload, deadline_s: float) -> None:
        if preload.expiry is not None:
            preload.expiry.cancel()
        preload.deadline_s = deadline_s
        loop = asyncio.get_running_loop()
        preload.expiry = loop.call_at(deadline_s, self.withdraw, preload, "expired unused")

    def _expected(self, key: str) -> Cost:
        """Return what loading ``key`` should cost; nothing where that is not known, which `_refusal` deals with."""
        try:
            return self._loader.catalogue.cost(key)
        except Exception:
            return Cost(0.0, 0)

    def cancel_wrong(self, slot: Slot, predictions: Sequence[Prediction]) -> None:
        """Cancel what the session's new predictions no longer support, as long as it is not ready."""
        if not self._loader.flights and not self._tiers:  # nearly always
            return
        pending = self._pending()
        if not any(preload.slot == slot for preload in pending):
            return
        expected = {one.key for one in predictions if one.p_use_if_loaded >= _CANCEL_BELOW}
        for preload in pending:
            if preload.slot == slot and not preload.needed and preload.key not in expected:
                self.withdraw(preload, "no longer expected")

    def _pending(self) -> list[OpenPreload]:
        return [*self._tiers, *self._loading()]

    def _loading(self) -> list[OpenPreload]:
        return [own for flight in self._loader.flights.values() if (own := flight.own_preload) is not None]

    def _loads(self) -> list[int]:
        """Return how many preloads of each tier load."""
        loads = [0] * len(Tier)
        for preload in self._loading():
            loads[preload.tier] += 1
        return loads

    def withdraw(self, preload: OpenPreload, reason: str) -> None:
        """End a preload that will not be used: dropped from its queue, cancelled in flight, or written off.

        A load that others wait for by now goes on without it.
        """
        if preload.ended or preload.needed:
            return
        flight = self._loader.flights.get(preload.key)
        if preload in self._tiers:
            self._tiers.remove(preload)
            self.end(preload, PreloadOutcome.DROPPED, reason)
        elif flight is not None and flight.own_preload is preload and not flight.passengers:
            flight.cancel(f"cancelled in flight: {reason}")
        elif preload.started_s is None:
            self.end(preload, PreloadOutcome.DROPPED, reason)
        else:
            self.end(preload, PreloadOutcome.WASTED, reason)

    def end(self, preload: OpenPreload, outcome: PreloadOutcome, reason: str, kind: str = "") -> None:
        """Close a preload in the ledger, and tell first the policy, then the listeners, which may observe anew.

        Args:
            preload: What ends.
            outcome: How.
            reason: Why.
            kind: The reason without what is particular to this preload, if it has such a part.
        """
        del self._open[preload.key]
        if preload.expiry is not None:
            preload.expiry.cancel()
        ended = self._ledger.close(preload, outcome, reason, self._now_s())
        if ended.ready_s is None and outcome in (PreloadOutcome.DROPPED, PreloadOutcome.WASTED):
            self.drops.note(ended, kind or reason)
        try:
            self._policy.outcome(ended)
        except Exception:
            self.counts["policy_errors"] += 1
            logger.exception("the policy %s failed on an outcome", self._policy.name)
        self._ledger.publish(ended)

    def pump(self) -> None:
        """Start the preloads that may start now."""
        self._tiers.adapt(self._now_s())
        while self._running and (preload := self._next()) is not None:
            if refusal := self._refusal(preload):
                reason, kind = refusal
                self.end(preload, PreloadOutcome.DROPPED, reason, kind)
            else:
                self._loader.start(preload.key, preload, foreground=False)

    def _refusal(self, preload: OpenPreload) -> tuple[str, str] | None:
        """Return why the load of a preload must not start by now, and the `kind` of that; ``None`` where it may."""
        if preload.key in self._store:
            return "ready already, as a dependency", ""
        if self._loader.in_flight(preload.key) is not None:
            return "loading already, as a dependency", ""
        try:
            if self._is_too_late(preload):
                return "cannot be ready before its deadline", ""
            if words := self._loader.conflicts.refusal(preload.key, preload):
                return words, "yields to what it conflicts with"
            return None if self._loader.worth_loading(preload) else ("no room that is worth making", "")
        except UnknownResourceError as error:
            return str(error), "no such resource"
        except Exception as error:
            self.counts["provider_errors"] += 1
            logger.exception("the provider of %s failed outside its loader", preload.key)
            return f"its provider failed: {error!r}", "its provider failed"

    def _is_too_late(self, preload: OpenPreload) -> bool:
        deadline_s = preload.deadline_s
        return deadline_s is not None and self._now_s() + self._loader.catalogue.cost(preload.key).seconds > deadline_s

    def _next(self) -> OpenPreload | None:
        """Take the preload that may start now, if there is one and a slot for it."""
        flights = self._loader.flights.values()
        if not self._tiers or not self._loader.slots.spare(flights):
            return None
        preload = self._tiers.next(self._loads(), foreground=any(flight.foreground for flight in flights))
        if preload is None and self._later is None and self._tiers.may_grow():
            self._later = asyncio.get_running_loop().call_later(STEP_S, self._look_again)
        return preload

    def _look_again(self) -> None:
        self._later = None
        self.pump()

    def _note_load_time(self, preload: OpenPreload, seconds: float) -> None:
        self._workers.took(preload.tier, seconds)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
