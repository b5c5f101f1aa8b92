"""What the package says about itself: one logger, and the ledger that accounts for every need and every preload."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from preloader.events import Decision, Need, NeedOutcome, Preload, PreloadOutcome, Tier
from preloader.ports import Cost

logger = logging.getLogger("preloader")
"""Silent until the application configures it. What speculation does is logged at debug level."""
logger.addHandler(logging.NullHandler())

Listener = Callable[[Need | Preload], None]
Slot = tuple[str, str]
"""User and session."""

_FREE = Cost(0.0, 0)


class OpenPreload:
    """A preload that has not ended: queued, loading, or resident and not used yet. Only the ledger ends it."""

    __slots__ = (
        "bytes",
        "deadline_s",
        "ended",
        "expected",
        "expiry",
        "key",
        "needed",
        "probability",
        "queued_s",
        "ready_s",
        "slot",
        "started_s",
        "steps",
        "tier",
    )

    def __init__(self, decision: Decision, tier: Tier, slot: Slot | None, now_s: float, expected: Cost = _FREE) -> None:
        self.key = decision.key
        self.tier = tier
        self.probability = decision.probability
        self.steps = decision.steps
        self.slot = slot  # None where it was hinted, and belongs to no session
        self.expected = expected  # what loading it was expected to cost when it was decided on
        self.queued_s = now_s
        self.started_s: float | None = None
        self.ready_s: float | None = None
        self.bytes = 0
        self.needed = False  # a need has joined it in flight
        self.deadline_s: float | None = None  # when it is written off, on the loop's clock
        self.expiry: asyncio.TimerHandle | None = None
        self.ended = False

    @property
    def urgency(self) -> tuple[int, float]:
        """Sorts the more urgent first: nearest need, then likeliest."""
        return (self.steps, -self.probability)


class LedgerTotals(msgspec.Struct, frozen=True):
    """A snapshot of the ledger.

    Attributes:
        needs: How many needs ended in each of `NeedOutcome`.
        preloads: How many preloads ended in each of `PreloadOutcome`.
        preload_bytes: Bytes of the preloads that ended in each.
        open_preloads: Preloads that have not ended.
        waited_s: Seconds that needs waited, in all.
        load_s: Seconds that the loads took of the preloads that ended in each of `PreloadOutcome`.
        late_s: Seconds that late hits waited.
    """

    needs: dict[str, int]
    preloads: dict[str, int]
    preload_bytes: dict[str, int]
    open_preloads: int
    waited_s: float
    load_s: dict[str, float] = {}
    late_s: float = 0.0

    @property
    def background_s(self) -> float:
        """Seconds that preloads took, whatever became of them."""
        return sum(self.load_s.values())

    @property
    def saved_s(self) -> float:
        """Seconds that needs would have waited in addition: what used preloads took, less what late hits waited."""
        return max(0.0, self.load_s.get(PreloadOutcome.USED, 0.0) - self.late_s)

    @property
    def timely_hit_rate(self) -> float:
        """Hits ÷ needs; 0 where there were none."""
        return self.needs[NeedOutcome.HIT] / max(1, sum(self.needs.values()))

    @property
    def waste(self) -> float:
        """Wasted ÷ (used + wasted), by count; 0 where there were none."""
        used, wasted = self.preloads[PreloadOutcome.USED], self.preloads[PreloadOutcome.WASTED]
        return wasted / max(1, used + wasted)


class Ledger:
    """Double-entry book of speculation: each need and each preload ends in exactly one outcome.

    Args:
        listeners: Called with every `Need` and `Preload` as it ends, on the loop's thread. One that raises is logged
            and stays; it cannot harm the manager.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = tuple(listeners)
        self._needs: Counter[NeedOutcome] = Counter()
        self._preloads: Counter[PreloadOutcome] = Counter()
        self._bytes: Counter[PreloadOutcome] = Counter()
        self._open: set[OpenPreload] = set()
        self._load_s = dict.fromkeys(PreloadOutcome, 0.0)
        self._waited_s = self._late_s = 0.0

    def open(self, preload: OpenPreload) -> None:
        """Enter a preload that was queued."""
        self._open.add(preload)

    def open_preloads(self) -> list[OpenPreload]:
        """Return the preloads that have not ended, in no particular order."""
        return list(self._open)

    def close(self, preload: OpenPreload, outcome: PreloadOutcome, reason: str, now_s: float) -> Preload:
        """End a preload, once; the caller tells the listeners with `publish` when its own books are in order.

        Raises:
            KeyError: It has ended before, or was never opened.
        """
        self._open.remove(preload)
        preload.ended = True
        self._preloads[outcome] += 1
        self._bytes[outcome] += preload.bytes
        if preload.started_s is not None:
            self._load_s[outcome] += (now_s if preload.ready_s is None else preload.ready_s) - preload.started_s
        user, session = preload.slot or ("", "")
        logger.debug("preload of %s, %s, %s: %s", preload.key, preload.tier.name.lower(), outcome, reason)
        return Preload(
            key=preload.key,
            user=user,
            session=session,
            tier=preload.tier,
            probability=preload.probability,
            steps=preload.steps,
            bytes=preload.bytes,
            queued_s=preload.queued_s,
            started_s=preload.started_s,
            ready_s=preload.ready_s,
            ended_s=now_s,
            outcome=outcome,
            reason=reason,
        )

    def hit(self, key: str, user: str, session: str) -> None:
        """Enter a need that ended at once; nobody looks at the clock where nobody listens."""
        if self._listeners:
            self.need(key, user, session, NeedOutcome.HIT, 0.0, asyncio.get_running_loop().time())
        else:
            self._needs[NeedOutcome.HIT] += 1

    def need(self, key: str, user: str, session: str, outcome: NeedOutcome, waited_s: float, now_s: float) -> None:
        """Enter a need that has ended."""
        self._needs[outcome] += 1
        self._waited_s += waited_s
        self._late_s += waited_s * (outcome is NeedOutcome.LATE_HIT)
        if self._listeners:
            self.publish(Need(key=key, user=user, session=session, time_s=now_s, outcome=outcome, waited_s=waited_s))

    def totals(self) -> LedgerTotals:
        """Return the totals so far."""
        return LedgerTotals(
            needs={outcome.value: self._needs[outcome] for outcome in NeedOutcome},
            preloads={outcome.value: self._preloads[outcome] for outcome in PreloadOutcome},
            preload_bytes={outcome.value: self._bytes[outcome] for outcome in PreloadOutcome},
            open_preloads=len(self._open),
            waited_s=self._waited_s,
            load_s={outcome.value: self._load_s[outcome] for outcome in PreloadOutcome},
            late_s=self._late_s,
        )

    def publish(self, ended: Need | Preload) -> None:
        """Tell the listeners how a need or a preload has ended."""
        for listener in self._listeners:
            try:
                listener(ended)
            except Exception:
                logger.exception("a listener failed on %s", ended)
