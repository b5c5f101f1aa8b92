"""What every decision policy promises, and what the shipped ones do in particular."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.decision import NoPreload, ThresholdPolicy, Thresholds, WasteBudget, make_policy
from preloader.decision.policies import POLICIES
from preloader.errors import ConfigurationError
from preloader.events import Prediction, Preload, PreloadOutcome, Tier
from preloader.ports import Budget, Cost
from preloader.testing import fake_prediction

KEYS = [f"component:{name}" for name in "abcdef"]
BUDGET = Budget(1_000, 1_000, lambda key: Cost(1.0, 10))
MADE = [(name, waste) for name in POLICIES for waste in (None, 0.1)]

every_policy = pytest.mark.parametrize(("name", "waste"), MADE)
chances = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3)
expectations = st.dictionaries(st.sampled_from(KEYS), chances)


@every_policy
@given(expectations, st.frozensets(st.sampled_from(KEYS)))
@settings(deadline=None, derandomize=True)
def test_decisions_speak_of_what_was_asked_refuse_what_is_ready_and_give_a_reason(name, waste, expected, residents):
    policy = make_policy(name, waste)
    assert policy.name == name
    predictions = [fake_prediction(key, *per_step) for key, per_step in expected.items()]
    decisions = policy.decide(predictions, residents, BUDGET)
    assert len({decision.key for decision in decisions}) == len(decisions)
    assert {decision.key for decision in decisions} <= set(expected)
    for decision in decisions:
        assert decision.reason
        assert 0.0 <= decision.probability <= 1.0
        assert 1 <= decision.steps <= 3
        if decision.key in residents:
            assert decision.tier is None
    steps = [decision.steps for decision in decisions]
    assert steps == sorted(steps)  # most urgent first


@every_policy
@given(expectations)
@settings(deadline=None, derandomize=True)
def test_accepting_again_is_free_and_every_outcome_is_taken(name, waste, expected):
    policy = make_policy(name, waste)
    predictions = [fake_prediction(key, *per_step) for key, per_step in expected.items()]
    first = {decision.key for decision in policy.decide(predictions, (), BUDGET) if decision.tier is not None}
    again = {decision.key for decision in policy.decide(predictions, (), BUDGET) if decision.tier is not None}
    assert first <= again
    for key, outcome in zip(sorted(again), list(PreloadOutcome) * 2, strict=False):
        policy.outcome(
            Preload(
                key=key,
                user="u",
                session="s",
                tier=Tier.DELAYED,
                probability=0.5,
                steps=2,
                bytes=10,
                queued_s=0.0,
                started_s=None,
                ready_s=None,
                ended_s=1.0,
                outcome=outcome,
                reason="test",
            )
        )


def test_no_preload_refuses_everything():
    assert NoPreload().decide([fake_prediction("component:a", 1.0)], (), BUDGET) == []


@pytest.mark.parametrize(
    ("per_step", "tier", "reason"),
    [
        ((0.91, 0.0, 0.0), Tier.IMMEDIATE, "P(next) 0.91 > 0.9: immediate"),
        ((0.9, 0.0, 0.0), Tier.DELAYED, "P(within 2) 0.90 > 0.7: delayed"),
        ((0.5, 0.5, 0.0), Tier.DELAYED, "P(within 2) 0.75 > 0.7: delayed"),
        ((0.7, 0.0, 0.0), Tier.BACKGROUND, "P(used if loaded) 0.70 ≥ 0.3: background"),
        ((0.0, 0.0, 0.75), Tier.BACKGROUND, "P(used if loaded) 0.75 ≥ 0.3: background"),
        ((0.3, 0.0, 0.0), Tier.BACKGROUND, "P(used if loaded) 0.30 ≥ 0.3: background"),
        ((0.29, 0.0, 0.0), None, "P(used if loaded) 0.29 < 0.3: refused"),
    ],
)
def test_thresholds_route_as_documented(per_step, tier, reason):
    (decision,) = ThresholdPolicy().decide([fake_prediction("component:a", *per_step)], (), BUDGET)
    assert (decision.tier, decision.reason) == (tier, reason)


def test_thresholds_have_no_word_for_what_is_hopeless():
    assert ThresholdPolicy().decide([fake_prediction("component:a", 0.02)], (), BUDGET) == []


def test_what_is_surely_next_is_no_likelier_than_that_anything_comes():
    ending = Prediction(key="component:x", per_step=(0.98, 0.01), p_use_if_loaded=0.4, p_use_soon=0.3)
    (decision,) = ThresholdPolicy().decide([ending], (), BUDGET)
    assert decision.tier is Tier.BACKGROUND
    assert decision.probability == 0.4


def test_thresholds_can_be_chosen():
    policy = ThresholdPolicy(Thresholds(immediate=0.5, delayed=0.4, background=0.2))
    (decision,) = policy.decide([fake_prediction("component:a", 0.6)], (), BUDGET)
    assert decision.tier is Tier.IMMEDIATE


def test_one_step_is_enough_for_a_decision():
    (decision,) = ThresholdPolicy().decide([Prediction("component:a", (0.8,), 0.8, 0.8)], (), BUDGET)
    assert (decision.tier, decision.steps) == (Tier.DELAYED, 2)


def test_the_likelier_comes_first_within_a_tier():
    expected = [fake_prediction("component:a", 0.92), fake_prediction("component:b", 0.99)]
    assert [d.key[-1] for d in ThresholdPolicy().decide(expected, (), BUDGET)] == ["b", "a"]


def test_a_budget_is_put_around_any_policy_by_name():
    policy = make_policy("thresholds", 0.2)
    assert isinstance(policy, WasteBudget)
    assert (policy.name, policy.share) == ("thresholds", 0.2)
    assert isinstance(make_policy("none"), NoPreload)
    with pytest.raises(ConfigurationError, match="unknown decision policy 'best': choose one of none, thresholds"):
        make_policy("best")


def test_a_refusal_by_the_budget_says_so():
    policy = WasteBudget(ThresholdPolicy(), 0.0, burst=0.0, trickle=0.0)
    (decision,) = policy.decide([fake_prediction("component:a", 0.95)], (), BUDGET)
    assert decision.tier is None
    assert "the waste budget" in decision.reason
    assert msgspec.structs.replace(decision, tier=Tier.IMMEDIATE).reason == decision.reason
