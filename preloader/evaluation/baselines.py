"""The baselines that every predictor is measured against, as predictors.

`popular`, `user_frequency`, `order1`, `order2` and `order2_user` count what came k items after a context, and mix the
contexts by Witten-Bell from the shortest to the longest; they differ in their contexts only:

==================  ==========================================================================
``popular``         everything
``user_frequency``  … and the user
``order1``          everything, the last item
``order2``          everything, the last item, the last two
``order2_user``     everything, the user, the last item, the user's, the last two, the user's
==================  ==========================================================================

`most_recent` ranks by how recently the user used an item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from preloader.errors import BundleError
from preloader.evaluation.counts import EVERYTHING, ContextCounts, CountedContext
from preloader.events import Context, Event, Prediction, kind_of
from preloader.ports import Snapshot
from preloader.prediction.distribution import Distribution, to_predictions

HORIZON = 3
_VERSION = 1
_ORDER = 2
_START = ""  # stands for the items before a session's first
_MAX_SESSIONS = 1_024
_MAX_RECENT = 4_096

Contexts = Callable[[str, str, str], list[CountedContext]]
"""Returns the contexts that a user and the last two items (older first) make, from the shortest to the longest."""


def _popular(user: str, older: str, last: str) -> list[CountedContext]:
    return [EVERYTHING]


def _user_frequency(user: str, older: str, last: str) -> list[CountedContext]:
    return [EVERYTHING, (user,)]


def _order1(user: str, older: str, last: str) -> list[CountedContext]:
    return [EVERYTHING, (None, last)]


def _order2(user: str, older: str, last: str) -> list[CountedContext]:
    return [EVERYTHING, (None, last), (None, older, last)]


def _order2_user(user: str, older: str, last: str) -> list[CountedContext]:
    return [EVERYTHING, (user,), (None, last), (user, last), (None, older, last), (user, older, last)]


class _Baseline(ABC):
    """What the baselines share: which kinds they cover, how far they look, and predictions out of distributions."""

    def __init__(self, name: str, kinds: Sequence[str] | None, horizon: int) -> None:
        self.name = name
        self.horizon = horizon
        self._kinds = None if kinds is None else frozenset(kinds)

    def predict(self, context: Context, steps: int = HORIZON) -> list[Prediction]:
        """See `Predictor.predict`."""
        found: list[Prediction] = []
        for kind in self._known_kinds():
            found.extend(to_predictions(self.distribution(context, kind, steps)))
        return sorted(found, key=lambda prediction: -prediction.per_step[0])

    @abstractmethod
    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """See `Distributes.distribution`."""

    @abstractmethod
    def _known_kinds(self) -> list[str]:
        """Return the kinds met so far."""

    def _items(self, event: Event) -> Iterator[tuple[str, str]]:
        """Yield the kind and key of every item to learn from."""
        for key in event.resources:
            kind = kind_of(key)
            if self._kinds is None or kind in self._kinds:
                yield kind, key

    def _check_steps(self, steps: int) -> None:
        if not 1 <= steps <= self.horizon:
            raise ValueError(f"steps is {steps}; {self.name} looks from 1 to {self.horizon} items ahead")

    def _header(self) -> dict[str, Any]:
        return {"predictor": self.name, "version": _VERSION, "horizon": self.horizon}

    def _check_header(self, meta: dict[str, Any]) -> None:
        for field, expected in self._header().items():
            if meta.get(field) != expected:
                raise BundleError(f"the snapshot's {field} is {meta.get(field)!r}; {self.name} needs {expected!r}")


class ContextBaseline(_Baseline):
    """Counts what came k items after each context (Witten & Bell 1991, method C, as in PPM).

    Memory is bounded by ``max_counts`` for each kind (see `ContextCounts`) and by 1,024 live sessions.

    Args:
        name: The baseline's name.
        contexts: Which contexts it counts.
        kinds: The kinds that it covers; all by default.
        horizon: How many items it looks ahead.
        max_counts: Bound on the counts kept for each kind.
    """

    def __init__(
        self,
        name: str,
        contexts: Contexts,
        kinds: Sequence[str] | None = None,
        horizon: int = HORIZON,
        max_counts: int = 1_000_000,
    ) -> None:
        super().__init__(name, kinds, horizon)
        self._contexts = contexts
        self._max_counts = max_counts
        self._counts: dict[str, ContextCounts] = {}
        self._tails: OrderedDict[tuple[str, str, str], list[str]] = OrderedDict()

    def learn_one(self, event: Event) -> None:
        """See `Predictor.learn_one`."""
        for kind, key in self._items(event):
            counts = self._counts.get(kind)
            if counts is None:
                counts = self._counts[kind] = ContextCounts(self.horizon, self._max_counts)
            tail = self._tail(kind, event.user, event.session)
            for step in range(1, min(self.horizon, len(tail) - _ORDER + 1) + 1):
                older, last = tail[-step - 1], tail[-step]
                counts.add(self._contexts(event.user, older, last), step, key)
            tail.append(key)
            del tail[: -self.horizon - _ORDER]

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """See `Distributes.distribution`."""
        self._check_steps(steps)
        counts = self._counts.get(kind)
        if counts is None:
            return Distribution({}, np.zeros((steps, 0)))
        last, older = (*islice(context.items(kind), _ORDER), _START, _START)[:_ORDER]
        return Distribution(counts.index, counts.mix(self._contexts(context.user, older, last), steps))

    def snapshot(self) -> Snapshot:
        """See `Predictor.snapshot`."""
        names, arrays = {}, {}
        for kind, counts in self._counts.items():
            names[kind], arrays[kind] = counts.dump()
        tails = [[*slot, list(tail)] for slot, tail in self._tails.items()]
        return Snapshot({**self._header(), "counts": names, "tails": tails}, dict(arrays))

    def restore(self, snapshot: Snapshot) -> None:
        """See `Predictor.restore`."""
        self._check_header(snapshot.meta)
        held: dict[str, ContextCounts] = {}
        try:
            for kind, names in snapshot.meta["counts"].items():
                held[kind] = ContextCounts(self.horizon, self._max_counts)
                held[kind].load(names, snapshot.arrays[kind])
            tails = OrderedDict(((kind, user, session), list(t)) for kind, user, session, t in snapshot.meta["tails"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"the snapshot of {self.name} is damaged: {error}") from error
        self._counts, self._tails = held, tails

    def _known_kinds(self) -> list[str]:
        return list(self._counts)

    def _tail(self, kind: str, user: str, session: str) -> list[str]:
        """Return a session's latest items, as long as counting needs them, oldest first."""
        slot = (kind, user, session)
        tail = self._tails.setdefault(slot, [_START] * _ORDER)
        self._tails.move_to_end(slot)
        if len(self._tails) > _MAX_SESSIONS:
            self._tails.popitem(last=False)
        return tail


class MostRecent(_Baseline):
    """Ranks by recency: first what the user used, latest first, then what anybody used.

    The r-th gets 1 / (r (r + 1)) at every step, which sums to less than 1 however many there are. What a user used
    last is context rather than something learned, so it runs on (`follow`) while nothing is learned, from session to
    session. Memory is bounded by 4,096 items for each user of 1,024 and for everybody.

    Args:
        kinds: The kinds that it covers; all by default.
        horizon: How many items it looks ahead.
    """

    def __init__(self, kinds: Sequence[str] | None = None, horizon: int = HORIZON) -> None:
        super().__init__("most_recent", kinds, horizon)
        self._everybody: dict[str, OrderedDict[str, None]] = {}
        self._users: OrderedDict[tuple[str, str], OrderedDict[str, None]] = OrderedDict()

    def learn_one(self, event: Event) -> None:
        """See `Predictor.learn_one`."""
        for kind, key in self._items(event):
            _touch(self._everybody.setdefault(kind, OrderedDict()), key)
            _touch(self._of_user(kind, event.user), key)

    def follow(self, event: Event) -> None:
        """See `Follows.follow`."""
        for kind, key in self._items(event):
            _touch(self._of_user(kind, event.user), key)

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """See `Distributes.distribution`."""
        self._check_steps(steps)
        everybody = self._everybody.get(kind)
        if everybody is None:
            return Distribution({}, np.zeros((steps, 0)))
        own = self._users.get((kind, context.user), OrderedDict())
        ranked = dict.fromkeys((*context.items(kind), *reversed(own), *reversed(everybody)))
        rank = np.arange(1, len(ranked) + 1)
        index = {key: column for column, key in enumerate(ranked)}
        return Distribution(index, np.tile(1.0 / (rank * (rank + 1)), (steps, 1)))

    def snapshot(self) -> Snapshot:
        """See `Predictor.snapshot`."""
        everybody = {kind: list(keys) for kind, keys in self._everybody.items()}
        users = [[kind, user, list(keys)] for (kind, user), keys in self._users.items()]
        return Snapshot({**self._header(), "everybody": everybody, "users": users}, {})

    def restore(self, snapshot: Snapshot) -> None:
        """See `Predictor.restore`."""
        self._check_header(snapshot.meta)
        try:
            everybody = {kind: OrderedDict.fromkeys(keys) for kind, keys in snapshot.meta["everybody"].items()}
            users = OrderedDict(
                ((kind, user), OrderedDict.fromkeys(keys)) for kind, user, keys in snapshot.meta["users"]
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"the snapshot of {self.name} is damaged: {error}") from error
        self._everybody, self._users = everybody, users

    def _known_kinds(self) -> list[str]:
        return list(self._everybody)

    def _of_user(self, kind: str, user: str) -> OrderedDict[str, None]:
        held = self._users.setdefault((kind, user), OrderedDict())
        self._users.move_to_end((kind, user))
        if len(self._users) > _MAX_SESSIONS:
            self._users.popitem(last=False)
        return held


def _touch(recent: OrderedDict[str, None], key: str) -> None:
    recent[key] = None
    recent.move_to_end(key)
    if len(recent) > _MAX_RECENT:
        recent.popitem(last=False)


def _counting(name: str, contexts: Contexts) -> Callable[..., ContextBaseline]:
    def make(kinds: Sequence[str] | None = None, horizon: int = HORIZON) -> ContextBaseline:
        return ContextBaseline(name, contexts, kinds, horizon)

    return make


BASELINES: dict[str, Callable[..., ContextBaseline | MostRecent]] = {
    "popular": _counting("popular", _popular),
    "user_frequency": _counting("user_frequency", _user_frequency),
    "most_recent": MostRecent,
    "order1": _counting("order1", _order1),
    "order2": _counting("order2", _order2),
    "order2_user": _counting("order2_user", _order2_user),
}
"""Every baseline by its name: call with nothing, or with ``kinds=`` and ``horizon=``."""
