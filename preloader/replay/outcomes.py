"""Counterfactual outcomes: would a resource have been used, had it been loaded now?

What a preload is worth is P(used before it would be evicted or the session ends | loaded now). A history says it in
hindsight for every resource at every event, whether or not it was preloaded: the *reuse distance* in bytes decides.
Under LRU, a resource loaded now is evicted once the distinct resources used after it, together with itself, exceed the
budget (Mattson et al., IBM Systems Journal 9(2), 1970). ``docs/outcomes.md`` documents the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice

import msgspec

from preloader.events import Prediction
from preloader.ports import Provider
from preloader.replay.script import SessionScript
from preloader.replay.watch import Moment

MAX_CANDIDATES = 64


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One resource that was not resident after one event: what was known, and whether loading it would have paid.

    Attributes:
        user: As in the event.
        session: As in the event.
        event: Index of the event in its session, from 0.
        time_s: When it began, in seconds since 1970.
        key: The candidate resource.
        rank: Its place among the predictions, from 0; ``None`` where it was not predicted.
        per_step: P(the k-th next item is this), k = 1…H; empty where it was not predicted.
        p_use_if_loaded: As predicted; 0 where it was not.
        p_use_soon: As predicted; 0 where it was not.
        needs_since_use: Needs of the session since the last one of this key, 1 = the latest; ``None`` before the first.
        seconds_since_use: Recorded seconds since then.
        uses_in_session: Needs of this key so far in the session.
        uses_before: Uses of this key in what was learned from before the replay began.
        bytes: Its size, without dependencies.
        load_s: Seconds to load it, with the dependencies that were not resident.
        session_needs: Needs so far in the session.
        session_age_s: Recorded seconds since the session began.
        hour: Hour of the day, UTC, 0 to 24.
        weekday: Monday = 0 … Sunday = 6, UTC.
        free_bytes: Room that nothing occupied or was reserved for.
        capacity_bytes: The budget.
        residents: How many resources were resident.
        tier: In which tier the policy queued it; ``None`` where it refused.
        used: The label: whether it would have been used before it was evicted or the session ended.
        needs_until_use: Needs until the session used it, 1 = the next; ``None`` where it did not, or only after more
            than the whole budget had passed through the store.
        seconds_until_use: Recorded seconds until then: whether there was time to load it.
    """

    user: str
    session: str
    event: int
    time_s: float
    key: str
    rank: int | None
    per_step: tuple[float, ...]
    p_use_if_loaded: float
    p_use_soon: float
    needs_since_use: int | None
    seconds_since_use: float | None
    uses_in_session: int
    uses_before: int
    bytes: int
    load_s: float
    session_needs: int
    session_age_s: float
    hour: float
    weekday: int
    free_bytes: int
    capacity_bytes: int
    residents: int
    tier: int | None
    used: bool
    needs_until_use: int | None
    seconds_until_use: float | None


class Reuse(msgspec.Struct, frozen=True):
    """How far ahead the next use of a resource is.

    Attributes:
        needs: 1 where it is the very next need.
        seconds: Recorded time until then.
        bytes_between: Bytes of the distinct resources used before it.
    """

    needs: int
    seconds: float
    bytes_between: int

    def fits(self, bytes_: int, capacity_bytes: int) -> bool:
        """Return whether a resource of this size, loaded now, would still be there under LRU."""
        return self.bytes_between + bytes_ <= capacity_bytes


def reuses(session: SessionScript, step: int, provider: Provider, capacity_bytes: int) -> dict[str, Reuse]:
    """Return the next use of all that the session needs after ``step``, until the budget has been used up once.

    A need occupies its key and the dependencies of it.
    """
    found: dict[str, Reuse] = {}
    counted: set[str] = set()
    needs, seconds, between = 0, 0.0, 0
    for later in session.steps[step + 1 :]:
        seconds += later.pause_s
        for key in later.needs:
            needs += 1
            if key not in found:
                found[key] = Reuse(needs, seconds, between)
            for occupied in (*provider.dependencies(key), key):
                if occupied not in counted:
                    counted.add(occupied)
                    between += provider.cost(occupied).bytes
            if between > capacity_bytes:  # whatever is loaded now is gone by here
                return found
    return found


class OutcomeRecorder:
    """Watches a run and emits a row for each candidate that is not resident, after each event.

    Candidates are what was predicted, then the vocabulary in order of frequency, 64 in all.

    Args:
        emit: Takes each row.
        provider: What things cost.
        vocabulary: Keys and how often they were used in what was learned from, the most frequent first.
    """

    def __init__(self, emit: Callable[[OutcomeRow], None], provider: Provider, vocabulary: Mapping[str, int]) -> None:
        self._emit = emit
        self._provider = provider
        self._vocabulary = vocabulary
        self._past: _Past | None = None

    def see(self, moment: Moment) -> None:
        """See `Watcher`."""
        if self._past is None or self._past.session is not moment.session:
            self._past = _Past(moment.session)
        self._past.advance(moment.step)
        future = reuses(moment.session, moment.step, self._provider, moment.budget.capacity_bytes)
        tiers = {decision.key: decision.tier for decision in moment.decisions}
        predicted = {prediction.key: (rank, prediction) for rank, prediction in enumerate(moment.predictions)}
        for key in self._candidates(moment, predicted):
            self._emit(self._row(moment, self._past, key, predicted.get(key), tiers.get(key), future.get(key)))

    def _candidates(self, moment: Moment, predicted: Mapping[str, tuple[int, Prediction]]) -> Iterator[str]:
        unpredicted = (key for key in self._vocabulary if key not in predicted)
        absent = (key for key in chain(predicted, unpredicted) if key not in moment.residents)
        return islice(absent, MAX_CANDIDATES)

    def _row(
        self,
        moment: Moment,
        past: _Past,
        key: str,
        predicted: tuple[int, Prediction] | None,
        tier: int | None,
        reuse: Reuse | None,
    ) -> OutcomeRow:
        event = moment.session.steps[moment.step].event
        rank, prediction = predicted or (None, None)
        bytes_ = self._provider.cost(key).bytes
        when = datetime.fromtimestamp(event.time_s, UTC)
        capacity = moment.budget.capacity_bytes
        needs_since, seconds_since = past.since(key, event.time_s)
        return OutcomeRow(
            user=event.user,
            session=event.session,
            event=moment.step,
            time_s=event.time_s,
            key=key,
            rank=rank,
            per_step=prediction.per_step if prediction else (),
            p_use_if_loaded=prediction.p_use_if_loaded if prediction else 0.0,
            p_use_soon=prediction.p_use_soon if prediction else 0.0,
            needs_since_use=needs_since,
            seconds_since_use=seconds_since,
            uses_in_session=past.uses.get(key, 0),
            uses_before=self._vocabulary.get(key, 0),
            bytes=bytes_,
            load_s=moment.budget.cost(key).seconds,
            session_needs=past.needs,
            session_age_s=event.time_s - moment.session.start_s,
            hour=when.hour + when.minute / 60 + when.second / 3600,
            weekday=when.weekday(),
            free_bytes=moment.budget.free_bytes,
            capacity_bytes=capacity,
            residents=len(moment.residents),
            tier=tier,
            used=reuse is not None and reuse.fits(bytes_, capacity),
            needs_until_use=reuse.needs if reuse else None,
            seconds_until_use=reuse.seconds if reuse else None,
        )


class _Past:
    """What one session has needed so far."""

    def __init__(self, session: SessionScript) -> None:
        self.session = session
        self.needs = 0
        self.uses: dict[str, int] = {}
        self._latest: dict[str, tuple[int, float]] = {}
        self._passed = 0

    def advance(self, step: int) -> None:
        """Take in everything up to and with ``step``."""
        for passed in self.session.steps[self._passed : step + 1]:
            for key in passed.needs:
                self.uses[key] = self.uses.get(key, 0) + 1
                self._latest[key] = (self.needs, passed.event.time_s)
                self.needs += 1
        self._passed = step + 1

    def since(self, key: str, time_s: float) -> tuple[int | None, float | None]:
        """Return the needs and the seconds since the last need of ``key``."""
        if key not in self._latest:
            return None, None
        need, used_s = self._latest[key]
        return self.needs - need, time_s - used_s
