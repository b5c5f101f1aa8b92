"""What a sequence model learns from: contexts as arrays, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from preloader.evaluation.cases import context_before, items_of, walk
from preloader.events import CONTEXT_EVENTS, Context, Event
from preloader.history import Session
from preloader.ndarray import NDArray
from preloader.prediction.features import OUTSIDE, Arrays, Features, stack

NOTHING = -1
"""The label of a step at which nothing came: the session had ended."""

_WAITING = 0.25
"""What an example weighs whose next event uses no item: a decision is made then, too, but it is not what is scored."""

UNKNOWN = 2
"""The label of a key whose use is not known; 1 for one that was used, 0 for one that was not."""

Outcomes = Callable[[Session], NDArray[np.uint8]]
"""Returns, for a session, whether each key of the vocabulary would pay after each event: (events, 1 + vocabulary)."""

MakeOutcomes = Callable[[Sequence[Session], Sequence[str]], Outcomes]
"""Returns the outcomes of sessions, for a vocabulary."""


class ExampleSet(Protocol):
    """Examples, wherever they are; see `Examples`."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The numbers of the next items."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """How much each example counts."""

    @property
    def users(self) -> NDArray[np.int64]:
        """Each example's user."""

    def __len__(self) -> int: ...

    def take(self, chosen: NDArray[np.int64]) -> Examples:
        """Return the numbered examples, in that order: a batch."""


class Examples(msgspec.Struct, frozen=True, eq=False):
    """Contexts and what came of them, one entry a context.

    Attributes:
        arrays: The features, each with a batch dimension.
        labels: The numbers of the next items: (examples, steps) int64, `NOTHING` past the session's end.
        weights: How much each example counts.
        users: Each example's user, as a number in ``names``; the last number for a user who is not told apart.
        uses: Whether each key was used, if loaded and soon: (examples, 2, 1 + vocabulary) uint8.
    """

    arrays: Arrays
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    users: NDArray[np.int64]
    uses: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> Examples:
        """See `ExampleSet.take`."""
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return Examples(arrays, self.labels[chosen], self.weights[chosen], self.users[chosen], self.uses[chosen])


def vocabulary_of(sessions: Iterable[Session], kind: str, at_least: int = 2, at_most: int = 500) -> list[str]:
    """Return the keys that get a number: those used ``at_least`` so often, the most frequent first.

    Rarer ones are left out on purpose: they teach the model how often something comes that it has no number for.
    """
    counts = Counter(key for session in sessions for key in items_of(session, kind))
    kept = [(key, count) for key, count in counts.items() if count >= at_least]
    return [key for key, _ in sorted(kept, key=lambda entry: (-entry[1], entry[0]))[:at_most]]


def users_of(sessions: Iterable[Session], at_least: int = 3) -> list[str]:
    """Return the users who are told apart: those with enough sessions to learn something of."""
    counts = Counter(session.user for session in sessions)
    return sorted(user for user, count in counts.items() if count >= at_least)


def profiles(sessions: Iterable[Session], features: Features, names: Sequence[str]) -> NDArray[np.float32]:
    """Return how often each user used each key: (users, 1 + vocabulary)."""
    numbers = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(features.vocabulary) + 1), np.float32)
    for session in sessions:
        if session.user in numbers:
            for key in items_of(session, features.kind):
                counts[numbers[session.user], features.number(key)] += 1
    return counts


def examples(
    sessions: Iterable[Session],
    features: Features,
    steps: int,
    users: Mapping[str, int],
    outcomes: Outcomes | None = None,
    *,
    waits: bool = True,
) -> Examples:
    """Return everything that sessions teach.

    Args:
        sessions: What is learned from.
        features: What the model sees.
        steps: How many items ahead.
        users: The users who are told apart.
        outcomes: Counterfactual outcomes, where they are to be learned.
        waits: Whether contexts count, too, that nothing comes next in.
    """
    found = [one for session in sessions for one in each_example(session, features, steps, users, outcomes, waits)]
    return Examples(
        stack(one.arrays for one in found),
        np.array([one.labels for one in found], np.int64).reshape(len(found), steps),
        np.array([one.weight for one in found], np.float32),
        np.array([one.user for one in found], np.int64),
        np.stack([one.uses for one in found]),
    )


class _Example(msgspec.Struct, frozen=True, eq=False):
    arrays: Arrays
    labels: list[int]
    weight: float
    user: int
    uses: NDArray[np.uint8]


class _Moment(msgspec.Struct, frozen=True):
    """A context that is decided in: how many events and items were before it, and what it weighs."""

    context: Context
    events: int
    items: int
    weight: float


def each_example(
    session: Session,
    features: Features,
    steps: int,
    users: Mapping[str, int],
    outcomes: Outcomes | None,
    waits: bool,
) -> Iterator[_Example]:
    """Yield what one session teaches, an example a context; see `examples`."""
    numbers = [features.number(key) for key in items_of(session, features.kind)]
    user = users.get(session.user, len(users))
    paying = None if outcomes is None else outcomes(session)
    for moment in moments(session, features.kind):
        if not waits and moment.weight < 1.0:
            continue
        following = numbers[moment.items : moment.items + steps]
        uses = uses_label(
            features, following, paying[moment.events - 1] if paying is not None and moment.events else None
        )
        labels = following + [NOTHING] * (steps - len(following))
        yield _Example(features.of(moment.context), labels, moment.weight, user, uses)


def uses_label(features: Features, following: Sequence[int], paying: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return whether each key is used, if loaded and soon: (2, 1 + vocabulary).

    Args:
        features: Whose vocabulary it is.
        following: The numbers of the next items: what is used soon.
        paying: The counterfactual outcomes, where they are known.
    """
    uses = np.full((2, len(features.vocabulary) + 1), UNKNOWN, np.uint8)
    uses[1] = 0
    uses[1, list(following)] = 1
    if paying is not None:
        uses[0] = paying
    uses[:, OUTSIDE] = UNKNOWN
    return uses


def moments(session: Session, kind: str) -> Iterator[_Moment]:
    """Yield every context of a session in which something is predicted: before each item, and between events."""
    recent: list[Event] = []
    items = 0
    for number, ((cases, _), event) in enumerate(zip(walk(session, kind), session.events, strict=True)):
        for case in cases:
            yield _Moment(case.context, number, case.position, 1.0)
        if not cases:
            yield _Moment(context_before(event, session, recent), number, items, _WAITING)
        items += len(cases)
        recent = [*recent[1 - CONTEXT_EVENTS :], event]
    yield _Moment(Context(session.user, session.session, tuple(recent)), len(session.events), items, _WAITING)
