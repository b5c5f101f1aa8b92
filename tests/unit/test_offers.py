"""What the waste budget knows of what is offered."""

import random

import pytest

from preloader.decision import WasteBudget
from preloader.decision.offers import Offers
from preloader.events import PreloadOutcome
from preloader.ports import Budget, Cost
from preloader.testing import fake_prediction
from tests.property.preload_sample import ended
from tests.property.test_waste_budget import Reckless


def test_one_offer_in_ten_exceeds_what_is_followed():
    rng, offers = random.Random(1), Offers()
    for _ in range(500):
        offers.enter(rng.random())
    assert offers.best == pytest.approx(0.9, abs=0.06)


def test_offers_of_another_time_are_forgotten():
    offers = Offers()
    for probability in [0.999] * 500 + [0.3] * 500:
        offers.enter(probability)
    assert offers.best == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_certainty_stays_within_what_can_be_reckoned_with(sure):
    offers = Offers()
    for _ in range(1_000):
        offers.enter(sure)
    assert offers.best == pytest.approx(sure, abs=1e-4)


@pytest.mark.parametrize(("others", "accepted"), [(0.999, False), (0.5, True)])
def test_at_the_beginning_what_is_doubtful_waits_where_sure_things_are_offered_too(others, accepted):
    """The same .9 is taken where little better is offered, and only there."""
    room = Budget(1_000, 1_000, lambda key: Cost(1.0, 10))
    policy = WasteBudget(Reckless(), 0.1, trickle=0.0)
    for at in range(100):
        for decision in policy.decide([fake_prediction(f"component:{at}", others)], set(), room):
            if decision.tier is not None:
                policy.outcome(ended(decision.key, PreloadOutcome.DROPPED))  # refunded: the balance stays the first
    (decision,) = policy.decide([fake_prediction("component:doubtful", 0.9)], set(), room)
    assert (decision.tier is not None) is accepted
