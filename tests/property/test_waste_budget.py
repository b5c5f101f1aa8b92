"""The waste budget's bounds hold by construction: under any policy underneath, and whatever the outcomes are."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from preloader.decision import ThresholdPolicy, WasteBudget
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import Decision, PreloadOutcome, Tier
from preloader.ports import Budget, Cost
from preloader.testing import fake_prediction
from tests.property.preload_sample import ended

KEYS = [f"component:{name}" for name in "abcdefgh"]
OUTCOMES = list(PreloadOutcome)


class Reckless:
    """Accepts everything, the same key twice if asked to, and audits what it is told."""

    name = "reckless"

    def __init__(self):
        self.outstanding = set()

    def decide(self, predictions, residents, budget):
        self.outstanding |= {prediction.key for prediction in predictions}
        return [
            Decision(prediction.key, Tier.IMMEDIATE, prediction.per_step[0], 1, "why not") for prediction in predictions
        ]

    def outcome(self, preload):
        self.outstanding.remove(preload.key)


def budget_of(sizes):
    def cost(key):
        size = sizes[key]
        if size is None:
            raise UnknownResourceError(key)
        if size < 0:
            raise ZeroDivisionError(key)
        return Cost(1.0, size)

    return Budget(1_000, 1_000, cost)


class AdversarialOutcomes(RuleBasedStateMachine):
    """An adversary picks predictions, sizes and outcomes; the wrapper's books are kept a second time here."""

    @initialize(
        share=st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.9]),
        burst=st.sampled_from([0.0, 1.0, 4.0]),
        trickle=st.sampled_from([0.0, 0.001, 0.1]),
    )
    def start(self, share, burst, trickle):
        self.inner = Reckless()
        self.policy = WasteBudget(self.inner, share, burst=burst, trickle=trickle)
        self.share, self.burst, self.trickle = share, burst, trickle
        self.open = {}
        self.decided = 0
        self.ends = dict.fromkeys(OUTCOMES, 0)
        self.end_bytes = dict.fromkeys(OUTCOMES, 0)
        self.largest = 0

    @rule(
        expected=st.dictionaries(st.sampled_from(KEYS), st.sampled_from([0.1, 0.6, 0.95, 0.999, 1.0]), max_size=6),
        sizes=st.fixed_dictionaries({key: st.sampled_from([0, 1, 10, 100, None, -1]) for key in KEYS}),
    )
    def decide(self, expected, sizes):
        predictions = [fake_prediction(key, p) for key, p in expected.items()]
        decisions = self.policy.decide(predictions, set(), budget_of(sizes))
        self.decided += 1
        assert [decision.key for decision in decisions] == list(expected)
        for decision in decisions:
            if decision.tier is None:
                assert decision.key not in self.open  # accepting it again costs nothing
                assert decision.reason
            elif decision.key not in self.open:
                self.open[decision.key] = sizes[decision.key]
                self.largest = max(self.largest, sizes[decision.key])

    @precondition(lambda self: self.open)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES), share=st.floats(0.0, 1.0))
    def end(self, data, outcome, share):
        key = data.draw(st.sampled_from(sorted(self.open)))
        actual = math.floor(share * self.open.pop(key))  # never more than it was said to occupy
        self.policy.outcome(ended(key, outcome, actual))
        self.ends[outcome] += 1
        self.end_bytes[outcome] += actual

    @precondition(lambda self: self.open)
    @rule(outcome=st.sampled_from(OUTCOMES))
    def end_all(self, outcome):
        for key, size in self.open.items():
            self.policy.outcome(ended(key, outcome, size))
            self.ends[outcome] += 1
            self.end_bytes[outcome] += size
        self.open.clear()

    @invariant()
    def bounds_hold(self):
        allowance = self.burst + self.trickle * self.decided
        earn = self.share / (1.0 - self.share)
        wasted, used = self.ends[PreloadOutcome.WASTED], self.ends[PreloadOutcome.USED]
        assert wasted + len(self.open) <= allowance + earn * used + 1e-9
        wasted, used = self.end_bytes[PreloadOutcome.WASTED], self.end_bytes[PreloadOutcome.USED]
        assert wasted + sum(self.open.values()) <= allowance * self.largest + earn * used + 1e-6

    @invariant()
    def books_agree(self):
        assert self.inner.outstanding == set(self.open) == set(self.policy._charges)
        assert self.policy.count.outstanding == len(self.open)
        assert self.policy.bytes.outstanding == sum(self.open.values())
        assert self.policy.count.wasted == self.ends[PreloadOutcome.WASTED]
        assert self.policy.count.used == self.ends[PreloadOutcome.USED]
        assert 0.0 <= self.policy.price <= 1.0
        if not self.open:
            assert self.policy.count.expected_waste == pytest.approx(0.0, abs=1e-9)
            assert self.policy.bytes.expected_waste == pytest.approx(0.0, abs=1e-3)


class Liar:
    """States what an adversary tells it to, in any tier, also of what is ready."""

    name = "liar"

    def __init__(self):
        self.says = []

    def decide(self, predictions, residents, budget):
        return [Decision(key, Tier(tier), p, 1, "trust me") for key, tier, p in self.says]

    def outcome(self, preload):
        pass


STATED = st.sampled_from([-1.0, 0.0, 0.5, 0.95, 1.0, 2.0, math.inf, math.nan])


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(range(3)), STATED), max_size=6),
            st.dictionaries(st.sampled_from(KEYS), st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 300))),
        ),
        max_size=40,
    ),
    st.sampled_from([0.05, 0.1, 0.5]),
    st.fixed_dictionaries({key: st.sampled_from([0, 1, 10, 100]) for key in KEYS}),
)
@settings(deadline=None, derandomize=True, max_examples=80)
def test_neither_lies_nor_sizes_that_differ_break_the_bounds(rounds, share, sizes):
    inner = Liar()
    policy = WasteBudget(inner, share, burst=2.0, trickle=0.01)
    earn = share / (1.0 - share)
    charged, used, wasted, overshoot = {}, [0, 0], [0, 0], 0
    for decided, (says, ends) in enumerate(rounds, 1):
        inner.says = says
        before = dict(charged)
        for decision in policy.decide([], set(), budget_of(sizes)):
            assert decision.reason
            if decision.tier is not None and decision.key not in charged:
                charged[decision.key] = policy._charges[decision.key].bytes
                assert charged[decision.key] >= sizes[decision.key]
        allowance = 2.0 + 0.01 * decided
        assert wasted[0] + len(charged) <= allowance + earn * used[0] + 1e-9
        if charged.keys() - before.keys():  # what occupied more than it was charged has been earned back by now
            assert wasted[1] + sum(charged.values()) <= allowance * policy.largest_bytes + earn * used[1] + 1e-6
        for key, (outcome, actual) in ends.items():
            policy.outcome(ended(key, outcome, actual))
            if (was_charged := charged.pop(key, None)) is not None:
                ends_in = {PreloadOutcome.USED: used, PreloadOutcome.WASTED: wasted}.get(outcome)
                if ends_in is not None:
                    ends_in[0] += 1
                    ends_in[1] += actual
                if outcome is PreloadOutcome.WASTED:
                    overshoot += max(0, actual - was_charged)
        bound = allowance * policy.largest_bytes + earn * used[1] + overshoot
        assert wasted[1] + sum(charged.values()) <= bound + 1e-6


TestAdversarialOutcomes = AdversarialOutcomes.TestCase
TestAdversarialOutcomes.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)


def one_size(key):
    return Cost(1.0, 10)


ROOM = Budget(1_000, 1_000, one_size)


@given(st.lists(st.sampled_from(OUTCOMES), max_size=60), st.sampled_from([0.05, 0.1, 0.5]))
@settings(deadline=None, derandomize=True)
def test_waste_raises_the_price_and_use_lowers_it(outcomes, share):
    policy = WasteBudget(Reckless(), share, trickle=0.0)
    for outcome in outcomes:
        (decision,) = policy.decide([fake_prediction("component:a", 1.0)], set(), ROOM)
        if decision.tier is None:
            return
        before = policy.price
        policy.outcome(ended("component:a", outcome, 10))
        if outcome is PreloadOutcome.WASTED:
            assert policy.price >= before
        elif outcome is PreloadOutcome.USED:
            assert policy.price <= before + 1e-12


def test_a_drift_that_turns_everything_to_waste_costs_the_burst_and_no_more():
    policy = WasteBudget(ThresholdPolicy(), 0.1, burst=4.0, trickle=0.0)
    wasted = 0
    for at in range(1_000):
        key = f"component:{at}"
        for decision in policy.decide([fake_prediction(key, 0.99)], set(), ROOM):
            if decision.tier is not None:
                policy.outcome(ended(key, PreloadOutcome.WASTED, 10))
                wasted += 1
    assert 1 <= wasted <= 4


def test_many_small_uses_do_not_pay_for_a_large_waste():
    sizes = {f"component:small{at}": 1 for at in range(50)} | {f"component:large{at}": 100 for at in range(50)}
    policy = WasteBudget(Reckless(), 0.5, burst=1.0, trickle=0.0)
    wasted = 0
    for key, size in sizes.items():
        (decision,) = policy.decide([fake_prediction(key, 1.0)], set(), budget_of(sizes))
        if decision.tier is not None:
            policy.outcome(ended(key, PreloadOutcome.USED if size == 1 else PreloadOutcome.WASTED, size))
            wasted += size * (size > 1)
    assert policy.count.used == 50
    assert wasted == 100  # 1 × 100 + 1 × 50 bytes were allowed


def test_what_was_dropped_or_failed_is_refunded():
    policy = WasteBudget(Reckless(), 0.1, burst=1.0, trickle=0.0)
    for outcome in [PreloadOutcome.DROPPED, PreloadOutcome.FAILED] * 20:
        (decision,) = policy.decide([fake_prediction("component:a", 1.0)], set(), ROOM)
        assert decision.tier is not None
        (refused,) = policy.decide([fake_prediction("component:b", 1.0)], set(), ROOM)
        assert refused.tier is None
        policy.outcome(ended("component:a", outcome))


def test_of_several_the_likeliest_is_charged_first_and_the_order_stays():
    policy = WasteBudget(Reckless(), 0.1, burst=1.0, trickle=0.0, depth=1.0)
    expected = [fake_prediction("component:a", 0.96), fake_prediction("component:b", 0.99)]
    decisions = policy.decide(expected, set(), ROOM)
    assert [(decision.key, decision.tier is not None) for decision in decisions] == [
        ("component:a", False),
        ("component:b", True),
    ]


def test_one_within_another_keeps_its_books():
    inner = WasteBudget(Reckless(), 0.5, trickle=0.0)
    outer = WasteBudget(inner, 0.1, burst=1.0, trickle=0.0)
    outer.decide([fake_prediction(key, 0.99) for key in KEYS[:3]], set(), ROOM)
    assert inner.count.outstanding == outer.count.outstanding == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, math.nan])
def test_a_share_out_of_its_range_is_refused(share):
    with pytest.raises(ConfigurationError, match="share from 0 up to but below 1"):
        WasteBudget(Reckless(), share)


def test_large_waste_makes_preloads_dearer_before_it_spends_the_bytes_of_all():
    sizes = {f"component:large{at}": 100 for at in range(2_000)} | {f"component:small{at}": 10 for at in range(2_000)}
    policy = WasteBudget(Reckless(), 0.1)
    refused = []
    for at in range(2_000):
        for key, p, outcome in (
            (f"component:large{at}", 0.85, PreloadOutcome.USED if at % 5 else PreloadOutcome.WASTED),
            (f"component:small{at}", 0.999, PreloadOutcome.USED),  # they earn more by count than the large ones lose
        ):
            (decision,) = policy.decide([fake_prediction(key, p)], set(), budget_of(sizes))
            if decision.tier is None:
                refused.append((key, decision.reason))
            else:
                policy.outcome(ended(key, outcome, sizes[key], p=p))
    assert [reason for key, reason in refused if "bytes are spent" in reason] == []
    assert [key for key, _ in refused if "small" in key] == []
    assert policy.bytes.wasted <= 0.1 * (policy.bytes.wasted + policy.bytes.used) + policy.allowance * 100


def test_what_turned_out_larger_is_charged_so_from_then_on():
    policy = WasteBudget(Reckless(), 0.5)
    for actual, charged in [(70, 10), (70, 70), (5, 70)]:
        policy.decide([fake_prediction("component:a", 1.0)], set(), ROOM)
        assert policy.bytes.outstanding == charged
        policy.outcome(ended("component:a", PreloadOutcome.USED, actual))


def test_a_predictor_that_overstates_from_the_start_does_not_starve_one_that_is_right():
    policy = WasteBudget(ThresholdPolicy(), 0.1)
    used = 0
    for at in range(2_000):
        right, wrong = f"component:right{at}", f"component:wrong{at}"
        for decision in policy.decide([fake_prediction(wrong, 0.93), fake_prediction(right, 0.98)], set(), ROOM):
            if decision.tier is not None:
                is_used = decision.key == right or at % 5 < 3
                policy.outcome(
                    ended(
                        decision.key,
                        PreloadOutcome.USED if is_used else PreloadOutcome.WASTED,
                        10,
                        p=decision.probability,
                    )
                )
                used += decision.key == right
    assert used > 1_900
    assert policy.count.wasted <= policy.allowance + policy.count.used / 9


def test_of_equal_chances_the_smaller_is_cheaper():
    policy = WasteBudget(Reckless(), 0.1)
    sizes = {"component:a": 10, "component:b": 100}
    for _ in range(30):
        policy.decide([fake_prediction(key, 1.0) for key in sizes], set(), budget_of(sizes))
        for key in sizes:
            policy.outcome(ended(key, PreloadOutcome.USED, sizes[key]))
    assert policy.price_of(10) < policy.price_of(55) == policy.price < policy.price_of(100) <= 0.9
