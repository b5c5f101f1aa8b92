"""The waste budget: a token bucket that keeps what any policy wastes within a share, under any drift."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from preloader.decision.record import TrackRecord
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import Decision, Prediction, Preload, PreloadOutcome
from preloader.ports import Budget, DecisionPolicy


class Account:
    """One token bucket, in units of preloads or of bytes.

    Invariant, whatever happens: wasted + outstanding ≤ allowance + earned, where each unit used earns α / (1 − α).

    Attributes:
        used: Units that preloads brought which were used.
        wasted: Units that they brought in vain.
        outstanding: Units whose end is not known.
        expected_waste: How many of the outstanding ones their probabilities let expect to be wasted.

    Args:
        share: α, the share of what is preloaded that may be wasted.
    """

    def __init__(self, share: float) -> None:
        self._earn = share / (1.0 - share)
        self.used = 0.0
        self.wasted = 0.0
        self.outstanding = 0.0
        self.expected_waste = 0.0

    def left(self, allowance: float) -> float:
        """Return how much more may be outstanding."""
        return allowance + self._earn * self.used - self.wasted - self.outstanding

    def expected(self, allowance: float) -> float:
        """Return how much is likely to be left once all outstanding ones have ended."""
        used = self.used + self.outstanding - self.expected_waste
        return allowance + self._earn * used - self.wasted - self.expected_waste

    def charge(self, units: float, probability: float) -> None:
        """Enter a preload whose end is not known."""
        self.outstanding += units
        self.expected_waste += (1.0 - probability) * units

    def settle(self, charged: float, probability: float, actual: float, outcome: PreloadOutcome) -> None:
        """Take back what was charged and enter what came of it."""
        self.outstanding -= charged
        self.expected_waste -= (1.0 - probability) * charged
        if outcome is PreloadOutcome.USED:
            self.used += actual
        elif outcome is PreloadOutcome.WASTED:
            self.wasted += actual


class _Charge(msgspec.Struct, frozen=True):
    bytes: int
    probability: float


class WasteBudget:
    """Holds the waste of another policy to a share α, by count and by bytes.

    Each used preload earns α / (1 − α), each wasted one costs 1, and outstanding ones count as wasted until they end,
    so that wasted ≤ b + ε·N + α / (1 − α) · used holds by construction, with N the number of times that something could
    have been preloaded. The trickle ε keeps exploration alive when everything has been spent. By bytes the same holds
    with b + ε·N scaled by the largest preload so far; there a preload is charged what it is expected to occupy, so a
    resource that turns out larger than its provider said can exceed the bound by the difference.

    So that the budget goes to the best candidates and not to the first, there is a price: a candidate must be likelier
    than (1 − α) · (1 − (balance − b/2) ÷ `depth`). At 1 − α a preload pays for itself; the price falls as a surplus
    builds up, and rises when more than half of the burst has been eaten into. The balance is the lesser one of count
    and bytes (in units of the largest preload): else bytes would run out unawares where large resources are wasted
    more than small ones, and with them everything would stop. It reckons outstanding preloads at their probabilities,
    and probabilities are corrected by how earlier preloads alike have ended (`TrackRecord`), so that it settles where
    waste meets α even if the predictor overstates.

    Args:
        policy: The policy underneath.
        share: α, from 0 up to but below 1.
        burst: b, how many preloads may be wasted before any was useful.
        trickle: ε, what each opportunity adds.
        depth: Over how many preloads of surplus the price falls to nothing.

    Raises:
        ConfigurationError: ``share`` is out of its range.
    """

    def __init__(
        self, policy: DecisionPolicy, share: float, *, burst: float = 4.0, trickle: float = 0.0003, depth: float = 20.0
    ) -> None:
        if not 0.0 <= share < 1.0:
            raise ConfigurationError(f"the waste budget is a share from 0 up to but below 1, not {share!r}")
        self.name = policy.name
        self.share = share
        self.count = Account(share)
        self.bytes = Account(share)
        self.opportunities = 0
        self.largest_bytes = 0
        self._policy = policy
        self._burst = burst
        self._trickle = trickle
        self._depth = depth
        self._charges: dict[str, _Charge] = {}
        self._record = TrackRecord()

    @property
    def allowance(self) -> float:
        """The allowance b + ε·N: what may be wasted beyond the share."""
        return self._burst + self._trickle * self.opportunities

    @property
    def price(self) -> float:
        """The probability that a candidate must exceed at present."""
        balance = self.count.expected(self.allowance)
        if self.largest_bytes:
            balance = min(balance, self.bytes.expected(self.allowance * self.largest_bytes) / self.largest_bytes)
        return min(1.0, max(0.0, (1.0 - self.share) * (1.0 - (balance - self._burst / 2.0) / self._depth)))

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`. What the policy underneath accepts is charged, likeliest first, or refused."""
        decisions = self._policy.decide(predictions, residents, budget)
        accepted = [at for at, decision in enumerate(decisions) if decision.tier is not None]
        self.opportunities += bool(accepted)
        for at in sorted(accepted, key=lambda at: -decisions[at].probability):
            if (refusal := self._charge(decisions[at], budget)) is not None:
                self._policy.outcome(_never_queued(decisions[at]))
                decisions[at] = refusal
        return decisions

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`."""
        charge = self._charges.pop(preload.key, None)
        if charge is not None:
            self.count.settle(1.0, charge.probability, 1.0, preload.outcome)
            self.bytes.settle(charge.bytes, charge.probability, preload.bytes, preload.outcome)
            self._record.enter(preload)
        self._policy.outcome(preload)

    def _charge(self, decision: Decision, budget: Budget) -> Decision | None:
        """Charge an accepted decision, unless it is outstanding already; return the refusal where it is too dear."""
        if decision.key in self._charges:
            return None
        assert decision.tier is not None
        probability = self._record.corrected(decision.key, decision.tier, decision.probability)
        if probability <= (price := self.price):
            rule = "P {p:.2f}, by its record {corrected:.2f} ≤ {price:.2f}, the waste budget's price: refused"
            return _refused(decision, rule, {"p": decision.probability, "corrected": probability, "price": price})
        try:
            bytes_ = budget.cost(decision.key).bytes
        except UnknownResourceError:
            return _refused(decision, "no such resource: refused", {})
        except Exception as error:  # whatever was charged so far must not be lost to one faulty provider
            return _refused(decision, "its cost is not known ({error}): refused", {"error": repr(error)})
        largest = max(self.largest_bytes, bytes_)
        if self.count.left(self.allowance) < 1.0:
            return _refused(decision, "the waste budget of {share:.0%} is spent: refused", {"share": self.share})
        if self.bytes.left(self.allowance * largest) < bytes_:
            return _refused(decision, "the waste budget's bytes are spent: refused", {})
        self.largest_bytes = largest
        self.count.charge(1.0, probability)
        self.bytes.charge(bytes_, probability)
        self._charges[decision.key] = _Charge(bytes_, probability)
        return None


def _never_queued(decision: Decision) -> Preload:
    """Return how a decision ended that the policy underneath took for accepted."""
    assert decision.tier is not None
    return Preload(
        key=decision.key,
        user="",
        session="",
        tier=decision.tier,
        probability=decision.probability,
        steps=decision.steps,
        bytes=0,
        queued_s=0.0,
        started_s=None,
        ready_s=None,
        ended_s=0.0,
        outcome=PreloadOutcome.DROPPED,
        reason="the waste budget refused it",
    )


def _refused(decision: Decision, rule: str, values: dict[str, float | str]) -> Decision:
    return Decision(decision.key, None, decision.probability, decision.steps, rule, values)
