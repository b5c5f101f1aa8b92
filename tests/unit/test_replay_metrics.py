"""The metrics of ``docs/replay.md`` on runs small enough to work them out by hand."""

import pytest

from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome, Tier
from preloader.replay.metrics import average, measure, megabyte_seconds, savings, spread

HIT, LATE, MISS = NeedOutcome.HIT, NeedOutcome.LATE_HIT, NeedOutcome.MISS
USED, WASTED, FAILED, DROPPED = (
    PreloadOutcome.USED,
    PreloadOutcome.WASTED,
    PreloadOutcome.FAILED,
    PreloadOutcome.DROPPED,
)
KEYS = "abcab"


def needs(*ended, keys=KEYS):
    return [
        Need(key=f"component:{key}", user="u", session="s", time_s=float(at), outcome=outcome, waited_s=waited_s)
        for at, (key, (outcome, waited_s)) in enumerate(zip(keys, ended, strict=True))
    ]


def preload(outcome, megabytes=0, started_s=None, ended_s=0.0, key="component:a"):
    return Preload(
        key=key,
        user="u",
        session="s",
        tier=Tier.DELAYED,
        probability=0.5,
        steps=1,
        bytes=megabytes * 1_000_000,
        queued_s=0.0,
        started_s=started_s,
        ready_s=started_s,
        ended_s=ended_s,
        outcome=outcome,
        reason="",
    )


LRU = needs((MISS, 2.0), (MISS, 4.0), (MISS, 1.0), (HIT, 0.0), (MISS, 4.0))
OURS = needs((MISS, 2.0), (HIT, 0.0), (LATE, 0.5), (MISS, 2.0), (HIT, 0.0))
BEST = needs((MISS, 2.0), (HIT, 0.0), (HIT, 0.0), (HIT, 0.0), (HIT, 0.0))
PRELOADS = [
    preload(USED, 100, started_s=1.0, ended_s=3.0),  # 200 MB·s
    preload(USED, 300, started_s=0.0, ended_s=1.0),  # 300 MB·s
    preload(WASTED, 200, started_s=4.0, ended_s=12.0),  # 1,600 MB·s
    preload(WASTED, 0, started_s=5.0, ended_s=6.0),  # cancelled in flight
    preload(FAILED, 0, started_s=1.0),
    preload(DROPPED),
    preload(DROPPED),
]


def test_needs_by_outcome_and_the_timely_hit_rate():
    row = measure("preloader", OURS, PRELOADS, LRU, BEST)
    assert (row.needs, row.hits, row.late_hits, row.misses) == (5, 2, 1, 2)
    assert row.timely_hit_rate == 2 / 5


def test_coverage_counts_only_what_lru_missed_and_was_ready_here():
    assert measure("preloader", OURS, [], LRU).coverage == 2 / 4  # b twice; c joined in flight does not count


def test_pollution_is_what_lru_had_and_we_missed_of_all_needs():
    assert measure("preloader", OURS, [], LRU).pollution == 1 / 5


def test_waste_by_count_bytes_and_megabyte_seconds():
    row = measure("preloader", OURS, PRELOADS, LRU)
    assert row.waste == 2 / 4
    assert row.waste_bytes == 200 / 600
    assert row.waste_mb_s == 1_600 / 2_100
    assert (row.preloads, row.used, row.wasted, row.failed, row.dropped) == (5, 2, 2, 1, 2)


def test_time_saved_against_lru_and_as_a_share_of_what_clairvoyant_saved():
    row = measure("preloader", OURS, [], LRU, BEST)
    assert row.waited_s == 4.5
    assert row.time_saved == pytest.approx(1 - 4.5 / 11)
    assert row.time_saved_of_clairvoyant == pytest.approx((11 - 4.5) / (11 - 2))
    assert measure("preloader", OURS, [], LRU).time_saved_of_clairvoyant is None


def test_waits_are_quantiles_by_nearest_rank():
    row = measure("preloader", OURS, [], LRU)
    assert (row.wait_mean_s, row.wait_p50_s, row.wait_p95_s) == (0.9, 0.5, 2.0)


def test_lru_measured_against_itself_gains_and_costs_nothing():
    row = measure("lru", LRU, [], LRU, BEST)
    assert (row.coverage, row.pollution, row.time_saved, row.time_saved_of_clairvoyant) == (0, 0, 0, 0)
    assert row.waste is None


def test_without_needs_every_rate_is_undefined():
    row = measure("preloader", [], [], [], [])
    rates = ("timely_hit_rate", "coverage", "pollution", "waste", "time_saved", "wait_mean_s", "wait_p50_s")
    assert [getattr(row, name) for name in rates] == [None] * len(rates)


def test_where_clairvoyant_saves_nothing_the_share_is_undefined():
    assert measure("preloader", LRU, [], LRU, LRU).time_saved_of_clairvoyant is None


def test_runs_over_other_scripts_are_refused():
    other = needs((HIT, 0.0), (HIT, 0.0), keys="ab")
    with pytest.raises(ValueError, match="not comparable"):
        measure("preloader", OURS, [], other)
    with pytest.raises(ValueError, match="not comparable"):
        measure("preloader", OURS, [], LRU, other)


def test_savings_by_resource_sum_to_all_the_time_saved_and_name_the_losers_last():
    found = savings(OURS, LRU)
    assert [(saving.key[-1], saving.needs, saving.saved_s) for saving in found] == [
        ("b", 2, 8.0),
        ("c", 1, 0.5),
        ("a", 2, -2.0),
    ]
    assert sum(saving.saved_s for saving in found) == 11 - 4.5


def test_a_preload_that_never_started_occupied_nothing():
    assert megabyte_seconds(preload(DROPPED)) == 0.0


def test_seeds_are_averaged_figure_by_figure():
    first = measure("preloader", OURS, PRELOADS, LRU, BEST)
    second = measure("preloader", BEST, [], LRU, BEST)
    mean, deviation = average([first, second]), spread([first, second])
    assert mean.timely_hit_rate == pytest.approx((0.4 + 0.8) / 2)
    assert deviation.timely_hit_rate == pytest.approx(0.4 / 2**0.5)
    assert mean.waste == first.waste  # undefined for the second seed
    assert deviation.waste is None
