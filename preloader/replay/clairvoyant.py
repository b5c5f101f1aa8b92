"""The upper bound: a prefetcher that knows every need, under the same manager, budget and loader.

It prefetches what is needed next, in order of use, as far as the budget reaches, and evicts what is needed furthest
ahead (Belady, IBM Systems Journal 5(2), 1966). With equal sizes that is optimal; with sizes that differ the optimum is
NP-hard, and this a very good bound in practice rather than a proof.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from preloader.errors import BundleError
from preloader.events import Context, Decision, Event, Need, Prediction, Preload, Tier
from preloader.ports import Budget, Provider, Resident, Snapshot
from preloader.replay.script import SessionScript
from preloader.replay.sizes import footprint_bytes

_AHEAD = 10
"""How many preloads are asked for at once: the capacity of the first tier."""


class Foresight:
    """All needs that one store will serve, and which of them is next.

    Args:
        sessions: What will be replayed on the store, in order.
        dependencies: For a key, what must be resident before it: a need of the one is a need of the others.
    """

    def __init__(self, sessions: Sequence[SessionScript], dependencies: Callable[[str], Sequence[str]]) -> None:
        self._needs: list[str] = []
        self._ends: dict[tuple[str, str], int] = {}
        self._uses: dict[str, list[int]] = {}
        for session in sessions:
            for key in session.needs():
                for used in (*dependencies(key), key):
                    self._uses.setdefault(used, []).append(len(self._needs))
                self._needs.append(key)
            self._ends[session.user, session.session] = len(self._needs)
        self._position = 0

    def served(self, record: Need | Preload) -> None:
        """Move on by one need: a listener of the manager."""
        if isinstance(record, Need):
            self._position += 1

    def upcoming(self, user: str, session: str) -> Iterator[str]:
        """Yield the session's further needs, each key once, in order of use."""
        seen: set[str] = set()
        for index in range(self._position, self._ends[user, session]):
            key = self._needs[index]
            if key not in seen:
                seen.add(key)
                yield key

    def next_use(self, key: str) -> float:
        """Return the index of the next need of ``key`` from the present one on; infinite where there is none."""
        uses = self._uses.get(key, ())
        found = bisect.bisect_left(uses, self._position)
        return uses[found] if found < len(uses) else math.inf

    @property
    def in_use(self) -> str | None:
        """The key needed last, which its session still holds."""
        return self._needs[self._position - 1] if self._position else None


class ClairvoyantPredictor:
    """Predicts, with certainty, what will be needed, in order of use."""

    name = "clairvoyant"

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight

    def learn_one(self, event: Event) -> None:
        """There is nothing left to learn."""

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return the next distinct needs; those past ``steps`` are certain, but at none of these steps."""
        found = []
        for index, key in enumerate(self._foresight.upcoming(context.user, context.session)):
            if index == max(_AHEAD, steps):
                break
            found.append(Prediction(key, tuple(float(step == index) for step in range(steps)), 1.0, 1.0))
        return found

    def snapshot(self) -> Snapshot:
        """Return an empty snapshot: the state is the future."""
        return Snapshot({}, {})

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse any state."""
        raise BundleError("clairvoyant cannot be restored: what it knows is the replay's script")


class ClairvoyantPolicy:
    """Preloads the next needs, in order, as far as they fit together beside what is in use."""

    name = "clairvoyant"

    def __init__(self, foresight: Foresight, provider: Provider) -> None:
        self._foresight = foresight
        self._provider = provider

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`."""
        decisions: list[Decision] = []
        planned: set[str] = set()
        in_use = self._foresight.in_use
        room = budget.capacity_bytes - (self._claim(in_use, planned) if in_use else 0)
        for steps, prediction in enumerate(predictions, 1):
            if footprint_bytes(prediction.key, self._provider) > budget.capacity_bytes:
                continue  # it never fits, so it is no reason to stop
            room -= self._claim(prediction.key, planned)
            if room < 0 or len(decisions) == _AHEAD:
                break
            if prediction.key not in residents:
                decisions.append(Decision(prediction.key, Tier.IMMEDIATE, 1.0, steps, "known to be needed"))
        return decisions

    def outcome(self, preload: Preload) -> None:
        """There is nothing left to learn."""

    def _claim(self, key: str, planned: set[str]) -> int:
        """Add ``key`` and its dependencies to what is planned, and return the bytes that they add."""
        added = {key, *self._provider.dependencies(key)} - planned
        planned |= added
        return sum(self._provider.cost(name).bytes for name in added)


class ClairvoyantEviction:
    """Evicts what is needed furthest ahead, and for a preload only what is needed later than it."""

    name = "clairvoyant"

    def __init__(self, foresight: Foresight) -> None:
        self._foresight = foresight
        self._residents: dict[str, Resident] = {}

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        self._residents[resident.key] = resident

    def used(self, key: str) -> None:
        """Past uses do not count."""

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        del self._residents[key]

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        next_use = {key: self._foresight.next_use(key) for key in self._residents if key not in pinned}
        soonest_allowed = self._foresight.next_use(candidate.key) if candidate else -math.inf
        chosen: list[Resident] = []
        missing = bytes_needed
        for key in sorted(next_use, key=lambda key: -next_use[key]):
            if missing <= 0 or next_use[key] <= soonest_allowed:
                break
            chosen.append(self._residents[key])
            missing -= self._residents[key].bytes
        if missing > 0:
            return None
        return [resident.key for resident in _without_spare(chosen, -missing)]


def _without_spare(chosen: Sequence[Resident], spare_bytes: int) -> list[Resident]:
    """Leave out what need not go, sparing first what is needed soonest."""
    kept = []
    for resident in reversed(chosen):
        if resident.bytes <= spare_bytes:
            spare_bytes -= resident.bytes
        else:
            kept.append(resident)
    return kept
