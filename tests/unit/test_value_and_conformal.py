"""What a preload is worth against what it displaces, and a threshold that follows what is wasted."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.decision import ConformalPolicy, ExpectedValuePolicy
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import Prediction, PreloadOutcome, Tier
from preloader.ports import Budget, Cost
from preloader.testing import fake_prediction
from tests.property.preload_sample import ended

SECONDS = {"component:cheap": 1.0, "component:dear": 4.0}


def room(losses=None):
    def cost(key):
        if key not in SECONDS:
            raise UnknownResourceError(key)
        return Cost(SECONDS[key], 10)

    return Budget(100, 100, cost, lambda key: (losses or {}).get(key, 0.0))


def expected(key, p, *per_step):
    return Prediction(key, per_step or (p, 0.0, 0.0), p, p)


def test_a_preload_is_accepted_where_it_saves_more_than_it_should_cost():
    policy = ExpectedValuePolicy(price=1.0)
    (worth,) = policy.decide([expected("component:dear", 0.6)], (), room())
    (vain,) = policy.decide([expected("component:dear", 0.4)], (), room())
    assert (worth.tier, vain.tier) == (Tier.IMMEDIATE, None)
    assert worth.reason == "0.60·4.00 s saved - (1 - 0.60)·1·4.00 s wasted - 0.00 s displaced = 0.80 s: immediate"


def test_what_it_would_displace_counts_against_it():
    policy = ExpectedValuePolicy(price=1.0)
    losses = {"component:cheap": 0.9, "component:dear": math.inf}
    for key, p in (("component:cheap", 0.9), ("component:dear", 1.0)):
        (decision,) = policy.decide([expected(key, p)], (), room(losses))
        assert decision.tier is None
    (accepted,) = policy.decide([expected("component:cheap", 1.0)], (), room(losses))
    assert accepted.tier is Tier.IMMEDIATE


def test_of_two_that_are_worth_the_same_the_cheaper_comes_first():
    decisions = ExpectedValuePolicy(price=0.0).decide(
        [expected("component:dear", 0.2), expected("component:cheap", 0.8)], (), room()
    )
    assert [decision.key for decision in decisions] == ["component:cheap", "component:dear"]


@pytest.mark.parametrize(
    ("per_step", "tier", "steps"),
    [
        ((0.8, 0.1, 0.0), Tier.IMMEDIATE, 1),
        ((0.3, 0.3, 0.1), Tier.DELAYED, 2),
        ((0.0, 0.2, 0.4), Tier.BACKGROUND, 3),
        ((0.0, 0.0, 0.1), Tier.BACKGROUND, 3),
    ],
)
def test_the_tier_is_that_of_the_item_that_likely_needs_it(per_step, tier, steps):
    for policy in (ExpectedValuePolicy(), ConformalPolicy(start=0.5)):
        (decision,) = policy.decide([expected("component:dear", 0.9, *per_step)], (), room())
        assert (decision.tier, decision.steps) == (tier, steps)


def test_what_no_provider_has_is_refused():
    (decision,) = ExpectedValuePolicy().decide([fake_prediction("component:none", 0.9)], (), room())
    assert (decision.tier, decision.reason) == (None, "no such resource: refused")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExpectedValuePolicy(-1.0),
        lambda: ExpectedValuePolicy(math.nan),
        lambda: ConformalPolicy(0.0),
        lambda: ConformalPolicy(1.0),
        lambda: ConformalPolicy(start=1.0),
        lambda: ConformalPolicy(rate=0.0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigurationError, match="not "):
        make()


@pytest.mark.parametrize("overstated", [0.0, 1.5, -1.0])
def test_the_share_that_is_wasted_settles_at_what_was_asked_for(overstated):
    policy, rng = ConformalPolicy(0.1), random.Random(3)
    ends = []
    for at in range(12_000):
        truth = rng.random()
        odds = math.log(truth / (1.0 - truth)) + overstated
        for decision in policy.decide([expected(f"component:{at}", 1.0 / (1.0 + math.exp(-odds)))], (), room()):
            if decision.tier is not None:
                is_used = rng.random() < truth
                policy.outcome(ended(decision.key, PreloadOutcome.USED if is_used else PreloadOutcome.WASTED, 10))
                ends.append(is_used)
    late = ends[len(ends) // 2 :]
    assert len(late) > 1_000
    assert 1.0 - sum(late) / len(late) == pytest.approx(0.1, abs=0.02)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from(PreloadOutcome)), max_size=300))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_its_bound_holds_whatever_is_stated_and_comes(rounds):
    policy = ConformalPolicy(0.1, rate=1.0, start=0.5, trickle=0.01)
    used = wasted = 0
    for decided, (p, outcome) in enumerate(rounds, 1):
        for decision in policy.decide([expected("component:dear", p)], (), room()):
            if decision.tier is not None:
                policy.outcome(ended(decision.key, outcome, 10))
                used += outcome is PreloadOutcome.USED
                wasted += outcome is PreloadOutcome.WASTED
        assert wasted <= 0.1 * (used + wasted) + 7.0 / 1.0 + 1 + 0.01 * decided


def test_large_waste_raises_the_threshold_more():
    small, large = ConformalPolicy(), ConformalPolicy()
    for policy, wasted_bytes in ((small, 1), (large, 1_000)):
        for bytes_, outcome in ((100, PreloadOutcome.USED), (wasted_bytes, PreloadOutcome.WASTED)):
            policy.outcome(ended("component:a", outcome, bytes_))
    assert large.threshold > small.threshold
