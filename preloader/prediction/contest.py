"""Two predictors on the same live items: what each gave the item that came, before it learned from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import msgspec

from preloader.events import Context, ContextTracker, Event, kind_of
from preloader.ports import Predictor
from preloader.prediction.distribution import Distribution, distribution_of
from preloader.prediction.items import items_in_context, known_before

_SUM_SLACK = 1e-6


class Item(msgspec.Struct, frozen=True):
    """An item that has come, and all that was known before it."""

    context: Context
    kind: str
    key: str


class Items:
    """Takes events apart into the items to score, every n-th of them; the choice depends on no outcome.

    Args:
        kinds: The kinds to score; every kind if not given.
        every: Score every so manieth item.
    """

    def __init__(self, kinds: Collection[str] | None = None, every: int = 1) -> None:
        self._kinds = None if kinds is None else frozenset(kinds)
        self._every = every
        self._seen = 0
        self._contexts = ContextTracker()

    def of(self, event: Event) -> list[Item]:
        """Return the items of ``event`` whose turn it is, each with what was known when the event began."""
        before = known_before(self._contexts, event)
        items = []
        for kind in dict.fromkeys(map(kind_of, event.resources)):
            if self._kinds is None or kind in self._kinds:
                for context, key in items_in_context(before, event, kind):
                    self._seen += 1
                    if self._seen % self._every == 0:
                        items.append(Item(context, kind, key))
        return items

    def observe(self, event: Event) -> None:
        """Add ``event`` to its session."""
        self._contexts.observe(event)


def losses(predictor: Predictor, items: Collection[Item], floor: float) -> Iterator[float | None]:
    """Yield the log loss of each item at the first step, in nats; ``None`` where nothing was said of its context.

    Who is inferred off the loop, and remembers what it said (``said``, see `Expert`), is asked nothing here.

    Args:
        predictor: Whom to score, before it learns.
        items: What came.
        floor: What a smaller probability counts as; it bounds the loss.

    Raises:
        ValueError: The probabilities are no distribution, such as those of a predictor that is sure of everything.
    """
    for item in items:
        distribution = _heard(predictor, item)
        if distribution is None:
            yield None
            continue
        total = float(distribution.probabilities[0].sum())
        column = distribution.index.get(item.key)
        probability = 0.0 if column is None else float(distribution.probabilities[0, column])
        if not (total <= 1.0 + _SUM_SLACK and probability >= 0.0):  # also where either is NaN
            raise ValueError(
                f"{predictor.name} gives {item.kind!r} a total of {total:g}, and {item.key} {probability:g}"
            )
        yield -math.log(min(max(probability, floor), 1.0))


def _heard(predictor: Predictor, item: Item) -> Distribution | None:
    said = getattr(predictor, "said", None)
    if said is None or item.kind not in getattr(
        predictor, "kinds", (item.kind,)
    ):  # of other kinds it is silent at once
        return distribution_of(predictor, item.context, item.kind, 1)
    heard: Distribution | None = said(item.context, item.kind, 1)
    return heard
