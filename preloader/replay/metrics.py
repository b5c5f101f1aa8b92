"""What a replay is measured by: the definitions of ``docs/replay.md``, once and for all.

The needs of every run over one script come in the same order, so runs are compared need by need.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec

from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome

Number = int | float


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """One run in figures. Rates are shares from 0 to 1; ``None`` where their denominator is zero.

    Attributes:
        run: Which run it is.
        needs: How often a resource was asked for.
        hits: Needs that found it ready.
        late_hits: Needs that joined a load in flight.
        misses: Needs that had to load it.
        timely_hit_rate: Hits ÷ needs.
        coverage: Needs that `lru` missed and that found their resource ready here ÷ needs that `lru` missed.
        pollution: Needs that `lru` hit and that missed here ÷ needs.
        preloads: Preloads that were begun: used, wasted and failed ones.
        used: Preloads that a need hit, or joined in flight.
        wasted: Preloads that were evicted, expired, cancelled in flight or unused at session end.
        failed: Preloads whose loader failed.
        dropped: Preloads that left the queue unstarted.
        waste: Wasted ÷ (used + wasted).
        waste_bytes: The same, by bytes loaded.
        waste_mb_s: The same, by megabytes × seconds occupied, from the start of the load until the outcome.
        waited_s: Seconds that needs waited in all.
        wait_mean_s: Mean wait of a need.
        wait_p50_s: Median wait of a need.
        wait_p95_s: 95th percentile of it.
        mean_resident_bytes: What the store held, on average over the time of the sessions, where that was watched.
        time_saved: 1 − seconds waited ÷ seconds that `lru` waited.
        time_saved_of_clairvoyant: Seconds saved ÷ seconds that `clairvoyant` saved.
    """

    run: str
    needs: Number
    hits: Number
    late_hits: Number
    misses: Number
    timely_hit_rate: float | None
    coverage: float | None
    waste: float | None
    waste_bytes: float | None
    waste_mb_s: float | None
    pollution: float | None
    time_saved: float | None
    time_saved_of_clairvoyant: float | None
    preloads: Number
    used: Number
    wasted: Number
    failed: Number
    dropped: Number
    waited_s: float
    wait_mean_s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    mean_resident_bytes: float | None = None


class Saving(msgspec.Struct, frozen=True):
    """What preloading did for one resource: how often it was needed, and the seconds waited, without and with."""

    key: str
    needs: int
    lru_s: float
    waited_s: float

    @property
    def saved_s(self) -> float:
        """Seconds saved; negative where preloading made it slower."""
        return self.lru_s - self.waited_s


def measure(
    run: str,
    needs: Sequence[Need],
    preloads: Sequence[Preload],
    lru: Sequence[Need],
    clairvoyant: Sequence[Need] | None = None,
    mean_resident_bytes: float | None = None,
) -> Metrics:
    """Return the figures of one run.

    Args:
        run: Its name.
        needs: Its needs, in order.
        preloads: Its preloads, all ended.
        lru: The needs of `lru` over the same script.
        clairvoyant: The needs of `clairvoyant` over the same script, where it was run.
        mean_resident_bytes: What its store held on average.

    Raises:
        ValueError: The runs are not over the same script.
    """
    for other in (lru, clairvoyant):
        if other is not None and [need.key for need in other] != [need.key for need in needs]:
            raise ValueError(f"{run} is not comparable: its needs are not those of the run that it is compared with")
    outcomes = [need.outcome for need in needs]
    baseline = [need.outcome for need in lru]
    lru_missed = [ours for ours, theirs in zip(outcomes, baseline, strict=True) if theirs is not NeedOutcome.HIT]
    lru_hit = [ours for ours, theirs in zip(outcomes, baseline, strict=True) if theirs is NeedOutcome.HIT]
    waits = [need.waited_s for need in needs]
    ended = {outcome: [p for p in preloads if p.outcome is outcome] for outcome in PreloadOutcome}
    used, wasted = ended[PreloadOutcome.USED], ended[PreloadOutcome.WASTED]
    waited_s, lru_s = math.fsum(waits), _waited(lru)
    possible_s = None if clairvoyant is None else lru_s - _waited(clairvoyant)
    return Metrics(
        run=run,
        needs=len(needs),
        hits=outcomes.count(NeedOutcome.HIT),
        late_hits=outcomes.count(NeedOutcome.LATE_HIT),
        misses=outcomes.count(NeedOutcome.MISS),
        timely_hit_rate=_ratio(outcomes.count(NeedOutcome.HIT), len(needs)),
        coverage=_ratio(lru_missed.count(NeedOutcome.HIT), len(lru_missed)),
        waste=_share(used, wasted, lambda _: 1),
        waste_bytes=_share(used, wasted, lambda preload: preload.bytes),
        waste_mb_s=_share(used, wasted, megabyte_seconds),
        pollution=_ratio(lru_hit.count(NeedOutcome.MISS), len(needs)),
        time_saved=_ratio(lru_s - waited_s, lru_s),
        time_saved_of_clairvoyant=None if possible_s is None else _ratio(lru_s - waited_s, possible_s),
        preloads=len(used) + len(wasted) + len(ended[PreloadOutcome.FAILED]),
        used=len(used),
        wasted=len(wasted),
        failed=len(ended[PreloadOutcome.FAILED]),
        dropped=len(ended[PreloadOutcome.DROPPED]),
        waited_s=waited_s,
        wait_mean_s=_ratio(waited_s, len(waits)),
        wait_p50_s=_quantile(waits, 0.50),
        wait_p95_s=_quantile(waits, 0.95),
        mean_resident_bytes=mean_resident_bytes,
    )


def savings(needs: Sequence[Need], lru: Sequence[Need]) -> list[Saving]:
    """Return what was saved by resource, the largest saving first.

    Raises:
        ValueError: The runs are not over the same script.
    """
    sums: dict[str, list[float]] = {}
    for ours, theirs in zip(needs, lru, strict=True):
        if ours.key != theirs.key:
            raise ValueError(
                f"the runs are not over the same script: one needed {ours.key!r}, the other {theirs.key!r}"
            )
        entry = sums.setdefault(ours.key, [0, 0.0, 0.0])
        entry[0] += 1
        entry[1] += theirs.waited_s
        entry[2] += ours.waited_s
    found = [Saving(key, int(count), lru_s, waited_s) for key, (count, lru_s, waited_s) in sums.items()]
    return sorted(found, key=lambda saving: (-saving.saved_s, saving.key))


def average(rows: Sequence[Metrics]) -> Metrics:
    """Return the mean of one run's figures over several size seeds; figures that are undefined for one are left out."""
    return _combine(rows, statistics.fmean, at_least=1)


def spread(rows: Sequence[Metrics]) -> Metrics:
    """Return the standard deviation of one run's figures over several size seeds; ``None`` for fewer than two."""
    return _combine(rows, statistics.stdev, at_least=2)


def megabyte_seconds(preload: Preload) -> float:
    """Return how much memory a preload occupied and how long: MB × s from the start of its load to its outcome."""
    if preload.started_s is None:
        return 0.0
    return preload.bytes / 1e6 * (preload.ended_s - preload.started_s)


def _combine(rows: Sequence[Metrics], combine: Callable[[list[float]], float], at_least: int) -> Metrics:
    figures: dict[str, float | None] = {}
    for field in Metrics.__struct_fields__:
        if field != "run":
            values = [value for row in rows if (value := getattr(row, field)) is not None]
            figures[field] = combine(values) if len(values) >= at_least else None
    return msgspec.structs.replace(rows[0], **figures)


def _waited(needs: Iterable[Need]) -> float:
    return math.fsum(need.waited_s for need in needs)


def _share(used: Sequence[Preload], wasted: Sequence[Preload], weight: Callable[[Preload], float]) -> float | None:
    lost = math.fsum(map(weight, wasted))
    return _ratio(lost, lost + math.fsum(map(weight, used)))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of them do not exceed (the nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None
