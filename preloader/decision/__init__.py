"""Decisions: what is worth preloading, how urgently, and the waste budget."""

from preloader.decision.conformal import ConformalPolicy
from preloader.decision.policies import NoPreload, ThresholdPolicy, Thresholds, base_policy
from preloader.decision.value import ExpectedValuePolicy
from preloader.decision.waste import BURST, WasteBudget
from preloader.ports import DecisionPolicy

__all__ = [
    "ConformalPolicy",
    "ExpectedValuePolicy",
    "NoPreload",
    "ThresholdPolicy",
    "Thresholds",
    "WasteBudget",
    "base_policy",
    "make_policy",
]


def make_policy(name: str, waste: float | None = None, burst: float = BURST) -> DecisionPolicy:
    """Return a decision policy by name.

    Args:
        name: One of `preloader.decision.policies.POLICIES`.
        waste: The share of preloads that may be wasted; ``None`` sets no budget.
        burst: How many more may be wasted before any was useful.

    Raises:
        ConfigurationError: There is no such policy, or the share is out of its range.
    """
    policy = base_policy(name, waste)
    return policy if waste is None else WasteBudget(policy, waste, burst=burst)
