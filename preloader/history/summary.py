"""What is in a history, in figures: who, when, what, how much of it repeats, and how fast it goes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from preloader.events import Event, kind_of

TOP = 10
"""How many of the most frequent actions and keys a summary names."""


class Quantiles(msgspec.Struct, frozen=True):
    """The 10th, 50th and 90th percentile of ``n`` figures, in seconds (nearest rank)."""

    n: int
    p10: float
    p50: float
    p90: float


class KindSummary(msgspec.Struct, frozen=True):
    """The items of one resource kind.

    Attributes:
        items: How many there are.
        vocabulary: How many different ones.
        repeats_share: Of the items that follow another of their kind in the session, the share that repeat it.
        top: The most frequent keys and their counts.
    """

    items: int
    vocabulary: int
    repeats_share: float
    top: dict[str, int]


class Summary(msgspec.Struct, frozen=True):
    """A history in figures; as JSON, what ``preloader history inspect --json`` prints under ``summary``.

    Attributes:
        events: How many events there are.
        users: How many users.
        sessions: How many sessions.
        first_s: When the first event began; ``None`` without events. `last_s` likewise.
        last_s: When the last event began.
        with_text: How many events have words.
        failed: How many are known to have failed.
        actions: How many different actions there are.
        top_actions: The most frequent actions and their counts.
        kinds: The resource kinds, in order of first appearance.
        gaps_s: From one event to the next in its session.
        durations_s: Of the events whose duration is known.
    """

    events: int
    users: int
    sessions: int
    first_s: float | None
    last_s: float | None
    with_text: int
    failed: int
    actions: int
    top_actions: dict[str, int]
    kinds: dict[str, KindSummary]
    gaps_s: Quantiles | None
    durations_s: Quantiles | None


class _Kind:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latest: dict[tuple[str, str], str] = {}
        self.followed = 0
        self.repeated = 0

    def add(self, key: str, session: tuple[str, str]) -> None:
        before = self.latest.get(session)
        self.followed += before is not None
        self.repeated += before == key
        self.latest[session] = key
        self.counts[key] += 1

    def summary(self) -> KindSummary:
        share = self.repeated / self.followed if self.followed else 0.0
        return KindSummary(self.counts.total(), len(self.counts), round(share, 4), _top(self.counts))


def summarize(events: Iterable[Event]) -> Summary:
    """Read the events once and sum them up; memory grows with vocabulary and sessions, and 16 bytes an event."""
    actions: Counter[str] = Counter()
    kinds: dict[str, _Kind] = {}
    latest_s: dict[tuple[str, str], float] = {}
    gaps, durations = array("d"), array("d")
    with_text = failed = 0
    first_s, last_s = float("inf"), float("-inf")
    for event in events:
        session = (event.user, event.session)
        actions[event.action] += 1
        with_text += event.text is not None
        failed += event.ok is False
        first_s, last_s = min(first_s, event.time_s), max(last_s, event.time_s)
        if session in latest_s:
            gaps.append(max(0.0, event.time_s - latest_s[session]))
        latest_s[session] = event.time_s
        if event.duration_s is not None:
            durations.append(event.duration_s)
        for key in event.resources:
            kinds.setdefault(kind_of(key), _Kind()).add(key, session)
    return Summary(
        events=actions.total(),
        users=len({user for user, _ in latest_s}),
        sessions=len(latest_s),
        first_s=first_s if latest_s else None,
        last_s=last_s if latest_s else None,
        with_text=with_text,
        failed=failed,
        actions=len(actions),
        top_actions=_top(actions),
        kinds={name: kind.summary() for name, kind in kinds.items()},
        gaps_s=_quantiles(gaps),
        durations_s=_quantiles(durations),
    )


def _top(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:TOP])


def _quantiles(figures: Sequence[float]) -> Quantiles | None:
    if not figures:
        return None
    ordered = sorted(figures)
    p10, p50, p90 = (round(ordered[(len(ordered) - 1) * percent // 100], 3) for percent in (10, 50, 90))
    return Quantiles(len(ordered), p10, p50, p90)
