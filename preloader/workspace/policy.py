"""What a workspace's own manager decides by."""

from __future__ import annotations

from preloader.decision import ThresholdPolicy, Thresholds, WasteBudget, make_policy
from preloader.ports import DecisionPolicy
from preloader.settings import Settings

SETTINGS = Settings(budget_bytes=256_000_000, waste_budget=0.6, waste_burst=20.0, load_attempts=1)
"""Of the manager that a workspace makes for itself.

At five new files between two calls, a smaller burst would be spent before the first of them can be read.
"""

_WORTH = 0.2
"""P(used if loaded) from which a file is considered: which of those are loaded is for the budget to say.

In trials on half of the sessions to choose by, .25 had half of the cold reads ready, and .2 three in five.
"""


def policy_of(settings: Settings) -> DecisionPolicy:
    """Return the policy that settings name; the usual one takes files of low probability into account, too."""
    if settings.policy != ThresholdPolicy.name:
        return make_policy(settings.policy, settings.waste_budget, settings.waste_burst)
    policy = ThresholdPolicy(Thresholds(background=_WORTH))
    if settings.waste_budget is None:
        return policy
    return WasteBudget(policy, settings.waste_budget, burst=settings.waste_burst)
