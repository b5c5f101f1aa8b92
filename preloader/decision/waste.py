"""The waste budget: a token bucket that keeps what any policy wastes within a share, under any drift."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import msgspec

from preloader.decision.account import Account
from preloader.decision.record import TrackRecord
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import Decision, Prediction, Preload, PreloadOutcome
from preloader.ports import Budget, DecisionPolicy

_KEYS = 4_096  # keys whose real size is remembered; the longest unloaded are forgotten


BURST = 4.0
"""How many preloads may be wasted before any was useful, unless said otherwise."""


class _Charge(msgspec.Struct, frozen=True):
    bytes: int
    probability: float


class WasteBudget:
    """Holds the waste of another policy to a share α, by count and by bytes.

    Each used preload earns α / (1 − α), each wasted one costs 1, and outstanding ones count as wasted until they end,
    so that wasted ≤ b + ε·N + α / (1 − α) · used holds by construction, with N the number of times that something could
    have been preloaded, whatever the policy states, and in whatever order things end. The trickle ε keeps exploration
    alive when everything has been spent. By bytes the same holds with b + ε·N scaled by the largest preload so far;
    there a preload is charged what it is expected to occupy, and no less than it did occupy the last time. What turns
    out larger still is a debt: nothing more is preloaded until it is earned back.

    Within the bound the question is what to spend on. Most is used for a given waste if a candidate is accepted where
    its chance p outweighs what it is expected to cost, at one price for all: p > (μ + μ′ · bytes ÷ mean bytes) · c,
    where c = (1 − p) − p · α / (1 − α). That is the Lagrangian of the two constraints; at p ≥ 1 − α a preload pays for
    itself. The prices are found by dual ascent in their logarithm: each is exp((`reserve` − balance) ÷ `depth`), so
    that it falls as a surplus builds up and rises as that is spent, long before the bound forbids everything. Below
    the burst more than 1 − α is asked for, up to certainty where nothing is left: what is spent at the beginning
    on a predictor that overstates could hardly be earned back, for nothing is preloaded then. A balance reckons
    outstanding preloads at their probabilities, which are corrected by how earlier preloads have ended
    (`TrackRecord`), so that it settles where waste meets α even if the predictor overstates.

    Args:
        policy: The policy underneath.
        share: α, from 0 up to but below 1.
        burst: b, how many preloads may be wasted before any was useful; none where the share is 0.
        trickle: ε, what each opportunity adds.
        depth: How many preloads more or less of a balance make its price e times cheaper or dearer.
        reserve: At which balance a price is 1; above it a preload is worth more than it costs.

    Raises:
        ConfigurationError: ``share`` is out of its range.
    """

    def __init__(
        self,
        policy: DecisionPolicy,
        share: float,
        *,
        burst: float = BURST,
        trickle: float = 0.0003,
        depth: float = 5.0,
        reserve: float = 12.0,
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
        self._burst = burst if share else 0.0
        self._trickle = trickle
        self._depth = depth
        self._reserve = reserve
        self._charges: dict[str, _Charge] = {}
        self._record = TrackRecord()
        self._prices: tuple[float, float, float] | None = None  # until something changes them
        self._charged = 0
        self._charged_bytes = 0
        self._known_bytes: OrderedDict[str, int] = OrderedDict()

    @property
    def allowance(self) -> float:
        """The allowance b + ε·N: what may be wasted beyond the share."""
        return self._burst + self._trickle * self.opportunities

    @property
    def price(self) -> float:
        """The probability that a candidate of mean size must exceed at present."""
        return self.price_of(self._mean_bytes)

    def price_of(self, bytes_: float) -> float:
        """Return the probability that a candidate of so many bytes must exceed at present."""
        if self._prices is None:
            self._prices = self._priced()
        each, per_byte, doubt = self._prices
        price = each + per_byte * bytes_
        return 1.0 - (1.0 - price / (1.0 + price / (1.0 - self.share))) * doubt

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`. What the policy underneath accepts is charged, likeliest first, or refused."""
        decisions = self._policy.decide(predictions, residents, budget)
        accepted = [at for at, decision in enumerate(decisions) if decision.tier is not None]
        if not accepted:  # mostly
            return decisions
        self.opportunities += 1
        self._prices = None
        for at in sorted(accepted, key=lambda at: -decisions[at].probability):
            if (refusal := self._charge(decisions[at], budget)) is not None:
                self._policy.outcome(_never_queued(decisions[at]))
                decisions[at] = refusal
        return decisions

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`."""
        charge = self._charges.pop(preload.key, None)
        if charge is not None:
            self._prices = None
            self.count.settle(1.0, charge.probability, 1.0, preload.outcome)
            self.bytes.settle(charge.bytes, charge.probability, preload.bytes, preload.outcome)
            self._record.enter(preload)
            if preload.bytes > charge.bytes:
                self._remember(preload.key, preload.bytes)
        self._policy.outcome(preload)

    @property
    def _mean_bytes(self) -> float:
        return self._charged_bytes / max(1, self._charged)

    def _priced(self) -> tuple[float, float, float]:
        """Return the prices of a preload and of a byte, and by how much doubt is discounted: 1 where it is safe."""
        balance = self.count.expected(self.allowance)
        each, per_byte = self._dual(balance), 0.0
        if mean := self._mean_bytes:
            balance_bytes = self.bytes.expected(self.allowance * self.largest_bytes) / mean
            per_byte = self._dual(balance_bytes) / mean
            balance = min(balance, balance_bytes)
        safe = min(self._burst, self._reserve)
        return each, per_byte, (max(balance, 0.0) / safe) ** 2 if balance < safe and safe > 0.0 else 1.0

    def _dual(self, balance: float) -> float:
        """Return the price at a balance, within what can be reckoned with."""
        return math.exp(min(30.0, max(-30.0, (self._reserve - balance) / self._depth)))

    def _charge(self, decision: Decision, budget: Budget) -> Decision | None:
        """Charge an accepted decision, unless it is outstanding already; return the refusal where it is too dear."""
        if decision.key in self._charges:
            return None
        assert decision.tier is not None
        try:
            bytes_ = max(budget.cost(decision.key).bytes, self._known_bytes.get(decision.key, 0))
        except UnknownResourceError:
            return _refused(decision, "no such resource: refused", {})
        except Exception as error:  # whatever was charged so far must not be lost to one faulty provider
            return _refused(decision, "its cost is not known ({error}): refused", {"error": repr(error)})
        if not 0.0 <= decision.probability <= 1.0:
            return _refused(decision, "{p} is no probability: refused", {"p": decision.probability})
        probability = self._record.corrected(decision.key, decision.tier, decision.probability)
        if probability <= (price := self.price_of(bytes_)):
            rule = "P {p:.2f}, by its record {corrected:.2f} ≤ {price:.2f}, the waste budget's price: refused"
            return _refused(decision, rule, {"p": decision.probability, "corrected": probability, "price": price})
        largest = max(self.largest_bytes, bytes_)
        if self.count.left(self.allowance) < 1.0:
            return _refused(decision, "the waste budget of {share:.0%} is spent: refused", {"share": self.share})
        if self.bytes.left(self.allowance * largest) < bytes_:
            return _refused(decision, "the waste budget's bytes are spent: refused", {})
        self._prices = None
        self.largest_bytes = largest
        self._charged += 1
        self._charged_bytes += bytes_
        self.count.charge(1.0, probability)
        self.bytes.charge(bytes_, probability)
        self._charges[decision.key] = _Charge(bytes_, probability)
        return None

    def _remember(self, key: str, bytes_: int) -> None:
        self._known_bytes.pop(key, None)
        self._known_bytes[key] = bytes_
        if len(self._known_bytes) > _KEYS:
            self._known_bytes.popitem(last=False)


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
