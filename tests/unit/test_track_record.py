"""Stated probabilities are corrected by what came of preloads alike, and of the same key."""

import random

import pytest

from preloader.decision import record as module
from preloader.decision.record import TrackRecord
from preloader.events import PreloadOutcome, Tier
from tests.property.preload_sample import ended


def entered(key, used, p=0.6):
    return ended(key, PreloadOutcome.USED if used else PreloadOutcome.WASTED, tier=Tier.BACKGROUND, p=p)


def taught(rates, rounds=400, p=0.6, seed=0):
    record, rng = TrackRecord(), random.Random(seed)
    for _ in range(rounds):
        for key, rate in rates.items():
            record.enter(entered(key, rng.random() < rate, p))
    return record


def test_without_a_record_what_was_stated_stands():
    assert TrackRecord().corrected("component:a", Tier.IMMEDIATE, 0.37) == 0.37


def test_a_probability_becomes_what_preloads_alike_came_to_for_keys_not_met_too():
    record = taught({f"component:{at}": 0.9 for at in range(40)}, rounds=20)
    assert record.corrected("component:new", Tier.BACKGROUND, 0.6) == pytest.approx(0.9, abs=0.05)
    assert 0.6 < record.corrected("component:new", Tier.DELAYED, 0.6) < 0.95  # of this tier nothing else is known
    assert 0.3 < record.corrected("component:new", Tier.BACKGROUND, 0.3) < 0.8  # nor of so low a probability


def test_who_overstates_one_sort_of_preload_is_not_believed_of_another():
    record = TrackRecord()
    for at in range(4):
        record.enter(ended(f"component:{at}", PreloadOutcome.WASTED, tier=Tier.IMMEDIATE, p=0.95))
    assert record.corrected("component:new", Tier.BACKGROUND, 0.85) < 0.6
    for at in range(200):
        record.enter(ended(f"component:{at}", PreloadOutcome.USED, tier=Tier.IMMEDIATE, p=0.95))
    assert record.corrected("component:new", Tier.BACKGROUND, 0.85) > 0.85  # and it is made up for


def test_who_is_right_is_believed():
    record, rng = TrackRecord(), random.Random(3)
    for at in range(400):
        p = rng.choice([0.6, 0.8, 0.95])
        outcome = PreloadOutcome.USED if rng.random() < p else PreloadOutcome.WASTED
        record.enter(ended(f"component:{at}", outcome, tier=Tier.IMMEDIATE, p=p))
    assert record.corrected("component:new", Tier.DELAYED, 0.8) == pytest.approx(0.8, abs=0.06)


def test_a_key_that_is_overstated_is_told_from_one_that_is_understated():
    record = taught({"component:always": 0.97, "component:seldom": 0.25})
    assert record.corrected("component:always", Tier.BACKGROUND, 0.6) > 0.9
    assert record.corrected("component:seldom", Tier.BACKGROUND, 0.6) < 0.4
    assert record.corrected("component:always", Tier.BACKGROUND, 0.4) > record.corrected(
        "component:seldom", Tier.BACKGROUND, 0.4
    )  # what is learned of a key holds for other stated probabilities, too


def test_what_a_key_did_long_ago_fades():
    record = taught({"component:a": 0.1, "component:b": 0.9})
    for _ in range(300):
        record.enter(entered("component:a", used=True))
        record.enter(entered("component:b", used=False))
    first, second = (record.corrected(f"component:{name}", Tier.BACKGROUND, 0.6) for name in "ab")
    assert first > 0.85
    assert second < 0.15


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certainty_stays_within_bounds(p):
    record = TrackRecord()
    for used in [True, False] * 100:
        record.enter(entered("component:a", used, p))
        assert 0.0 <= record.corrected("component:a", Tier.BACKGROUND, p) <= 1.0


@pytest.mark.parametrize("outcome", [PreloadOutcome.FAILED, PreloadOutcome.DROPPED])
def test_what_never_was_ready_says_nothing(outcome):
    record = TrackRecord()
    for _ in range(50):
        record.enter(ended("component:a", outcome, tier=Tier.BACKGROUND, p=0.6))
    assert record.corrected("component:a", Tier.BACKGROUND, 0.6) == 0.6


def test_keys_are_forgotten_that_were_not_preloaded_for_longest(monkeypatch):
    monkeypatch.setattr(module, "_KEYS", 2)
    record = taught({"component:a": 0.1, "component:b": 0.9}, rounds=50)
    record.enter(entered("component:c", used=True))
    unmet = record.corrected("component:unmet", Tier.BACKGROUND, 0.6)
    assert record.corrected("component:a", Tier.BACKGROUND, 0.6) == unmet  # met before b in every round
    assert record.corrected("component:b", Tier.BACKGROUND, 0.6) > unmet
