"""Which predictions become preloads, when each is loaded, and how each of them ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from preloader.cache import Store
from preloader.errors import UnknownResourceError
from preloader.events import Decision, Prediction, PreloadOutcome, Tier
from preloader.loading import Loader
from preloader.ports import Budget, DecisionPolicy
from preloader.scheduling.tiers import TierQueue
from preloader.settings import Settings
from preloader.telemetry import Ledger, OpenPreload, Slot, logger

_CANCEL_BELOW = 0.1
"""A queued or loading preload whose probability has fallen below this has turned out wrong."""


class TierStatistics(msgspec.Struct, frozen=True):
    """One tier: how many preloads wait, how many may, and how many load."""

    queued: int
    capacity: int
    loading: int


class Speculation:
    """Owns the preloads that have not ended: decides, queues, starts, moves, cancels and closes them.

    Args:
        policy: Decides which predictions become preloads.
        store: Where they end up.
        ledger: Where each of them is entered, and closed exactly once.
        settings: Capacity and workers of the tiers.
    """

    def __init__(self, policy: DecisionPolicy, store: Store, ledger: Ledger, settings: Settings) -> None:
        self.counts: Counter[str] = Counter()
        self._policy = policy
        self._store = store
        self._ledger = ledger
        self._workers = settings.tier_workers
        self._tiers = {tier: TierQueue(settings.tier_capacity[tier]) for tier in Tier}
        self._open: dict[str, OpenPreload] = {}
        self._running = False

    def start(self, loader: Loader) -> None:
        """Load through ``loader`` from now on."""
        self._loader = loader
        self._running = True

    def stop(self) -> None:
        """End every preload and start none any more."""
        self._running = False
        for preload in list(self._open.values()):
            self.withdraw(preload, "unused at shutdown")

    def statistics(self) -> dict[str, TierStatistics]:
        """Return a snapshot of the tiers, by name."""
        loading = Counter(preload.tier for preload in self._loading())
        return {
            tier.name.lower(): TierStatistics(len(queue), queue.capacity, loading[tier])
            for tier, queue in self._tiers.items()
        }

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
            The decisions.
        """
        budget = Budget(self._store.capacity_bytes, self._store.free_bytes, self._loader.cost)
        ready = self._store.keys() | {flight.key for flight in self._loader.flights.values() if flight.foreground}
        candidates = [prediction for prediction in predictions if not self._loader.guard.quarantined(prediction.key)]
        try:
            decisions = self._policy.decide(candidates, ready, budget)
        except Exception:
            self.counts["policy_errors"] += 1
            logger.exception("the policy %s failed", self._policy.name)
            return []
        for decision in decisions:
            if decision.tier is not None:
                self._enqueue(decision, decision.tier, slot, deadline_s)
        return decisions

    def _enqueue(self, decision: Decision, tier: Tier, slot: Slot | None, deadline_s: float | None) -> None:
        """Queue a preload, or move the one that is queued already; one in flight is joined as it is."""
        preload = self._open.get(decision.key)
        if preload is None:
            preload = self._enter(OpenPreload(decision, tier, slot, asyncio.get_running_loop().time()), deadline_s)
        elif preload in self._tiers[preload.tier]:
            self._tiers[preload.tier].remove(preload)
            preload.tier, preload.probability, preload.steps = tier, decision.probability, decision.steps
        else:
            return
        if (displaced := self._tiers[tier].push(preload)) is not None:
            self.end(displaced, PreloadOutcome.DROPPED, f"the {tier.name.lower()} tier is full")

    def _enter(self, preload: OpenPreload, deadline_s: float | None) -> OpenPreload:
        self._open[preload.key] = preload
        self._ledger.open(preload)
        if deadline_s is not None:
            loop = asyncio.get_running_loop()
            preload.expiry = loop.call_at(deadline_s, self.withdraw, preload, "expired unused")
        return preload

    def cancel_wrong(self, slot: Slot, expected: Mapping[str, Prediction]) -> None:
        """Cancel what the session's new predictions no longer support, as long as it is not ready."""
        for preload in self._pending():
            if preload.slot == slot and not preload.needed:
                prediction = expected.get(preload.key)
                if prediction is None or prediction.p_use_if_loaded < _CANCEL_BELOW:
                    self.withdraw(preload, "no longer expected")

    def _pending(self) -> list[OpenPreload]:
        return [preload for queue in self._tiers.values() for preload in queue] + self._loading()

    def _loading(self) -> list[OpenPreload]:
        return [own for flight in self._loader.flights.values() if (own := flight.own_preload) is not None]

    def withdraw(self, preload: OpenPreload, reason: str) -> None:
        """End a preload that will not be used: dropped from its queue, cancelled in flight, or written off.

        A load that others wait for by now goes on without it.
        """
        if preload.ended or preload.needed:
            return
        queue, flight = self._tiers[preload.tier], self._loader.flights.get(preload.key)
        if preload in queue:
            queue.remove(preload)
            self.end(preload, PreloadOutcome.DROPPED, reason)
        elif flight is not None and flight.own_preload is preload and not flight.passengers:
            flight.cancel(f"cancelled in flight: {reason}")
        elif preload.started_s is None:
            self.end(preload, PreloadOutcome.DROPPED, reason)
        else:
            self.end(preload, PreloadOutcome.WASTED, reason)

    def end(self, preload: OpenPreload, outcome: PreloadOutcome, reason: str) -> None:
        """Close a preload in the ledger, and tell first the policy, then the listeners, which may observe anew."""
        del self._open[preload.key]
        if preload.expiry is not None:
            preload.expiry.cancel()
        ended = self._ledger.close(preload, outcome, reason, asyncio.get_running_loop().time())
        try:
            self._policy.outcome(ended)
        except Exception:
            self.counts["policy_errors"] += 1
            logger.exception("the policy %s failed on an outcome", self._policy.name)
        self._ledger.publish(ended)

    def pump(self) -> None:
        """Start the preloads that may start now."""
        while self._running and (preload := self._next()) is not None:
            if refusal := self._refusal(preload):
                self.end(preload, PreloadOutcome.DROPPED, refusal)
            else:
                self._loader.start(preload.key, preload, foreground=False)

    def _refusal(self, preload: OpenPreload) -> str:
        """Return why the load of a preload must not start by now; nothing where it may."""
        if preload.key in self._store:
            return "ready already, as a dependency"
        if self._loader.in_flight(preload.key) is not None:
            return "loading already, as a dependency"
        try:
            return "" if self._loader.worth_loading(preload) else "no room that is worth making"
        except UnknownResourceError as error:
            return str(error)
        except Exception as error:
            self.counts["provider_errors"] += 1
            logger.exception("the provider of %s failed outside its loader", preload.key)
            return f"its provider failed: {error!r}"

    def _next(self) -> OpenPreload | None:
        """Take the most urgent preload, if its tier may start one: a tier waits until those above it are empty."""
        if not self._loader.slots.spare(self._loader.flights.values()):
            return None
        for tier, queue in self._tiers.items():
            if queue:
                loading = sum(preload.tier is tier for preload in self._loading())
                busy = loading >= self._workers[tier]
                yields = tier is Tier.BACKGROUND and any(flight.foreground for flight in self._loader.flights.values())
                return None if busy or yields else queue.pop()
        return None
