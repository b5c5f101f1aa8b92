"""What a workspace's manager decides by, as its settings say."""

import msgspec
import pytest

from preloader.decision import ConformalPolicy, ThresholdPolicy, WasteBudget
from preloader.errors import ConfigurationError
from preloader.events import Prediction
from preloader.ports import Budget, Cost
from preloader.workspace.policy import SETTINGS, policy_of

ROOM = Budget(1_000_000, 1_000_000, lambda key: Cost(0.01, 1_000))


def accepted(policy, probability):
    (decision,) = policy.decide([Prediction("file:a.py", (0.0, probability), probability, probability)], (), ROOM)
    return decision.tier is not None


def settings(**changed):
    return msgspec.structs.replace(SETTINGS, **changed)


def test_a_file_of_low_probability_is_prepared_while_there_is_budget_for_it():
    assert accepted(policy_of(SETTINGS), 0.25)
    assert not accepted(policy_of(settings(waste_burst=4.0)), 0.25)  # the price is higher with less to spend
    assert accepted(policy_of(settings(waste_budget=None)), 0.25)


def test_the_settings_name_budget_and_policy():
    assert isinstance(policy_of(settings(waste_budget=None)), ThresholdPolicy)
    policy = policy_of(settings(policy="conformal", waste_budget=0.5, waste_burst=7.0))
    assert isinstance(policy, WasteBudget)
    assert (policy.name, policy.share, policy.allowance) == (ConformalPolicy.name, 0.5, 7.0)
    with pytest.raises(ConfigurationError, match="no_such"):
        policy_of(settings(policy="no_such"))
