"""The ports: what each replaceable part promises, and every error that it may raise.

Implementations live in their own packages and meet only here. Each port has a contract suite in ``tests/contract`` that
runs over all its implementations, the shipped fakes of `preloader.testing` included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np

from preloader.events import Context, Decision, Event, Prediction, Preload
from preloader.ndarray import NDArray

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)


class Executor(Protocol):
    """Runs blocking functions off the event loop (or inline, in replay, where threads would break the clock)."""

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``, or raise what it raises.

        When the caller is cancelled the call returns at once; the function may run on, unobserved.

        Raises:
            ClosedError: The executor is closed.
            LoadError: Too many calls run already, or the function raised what would stop the loop (`SystemExit`, …).
        """

    async def aclose(self) -> None:
        """Stop taking work. Nothing started later; functions that hang are abandoned, not waited for."""


class Snapshot(msgspec.Struct, frozen=True):
    """A predictor's state as plain data: what JSON holds, and arrays without objects (no pickle anywhere).

    Attributes:
        meta: JSON-serialisable settings and tables.
        arrays: Named NumPy arrays of plain dtypes.
    """

    meta: dict[str, Any]
    arrays: dict[str, NDArray[np.generic]]


@runtime_checkable
class Predictor(Protocol):
    """Learns from events one at a time and says what will be needed next.

    Two predictors that were shown the same events, in the same order, predict the same: nothing depends on a clock, on
    hash randomisation or on an unseeded generator.
    """

    name: str

    def learn_one(self, event: Event) -> None:
        """Learn from one event. Events of one session come in order; sessions may interleave.

        Takes microseconds and bounded memory: past its stated bound a predictor forgets its oldest contexts.
        """

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return predictions for the next ``steps`` items of every kind it covers, likeliest next item first.

        Pure: it changes nothing that a later call could see. Unknown users and actions, and an empty context, get the
        population's prediction; before the first event the list is empty.

        Raises:
            ValueError: ``steps`` is smaller than 1 or larger than the predictor looks ahead.
        """

    def snapshot(self) -> Snapshot:
        """Return the whole state; `restore` of it into a new instance predicts exactly the same."""

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state.

        Raises:
            BundleError: The snapshot is of another kind or schema version, or damaged; the state is then unchanged.
        """


class Ready(msgspec.Struct, frozen=True):
    """What `StagedPredictor.begin` returns where nothing is left to infer: the predictions themselves."""

    predictions: list[Prediction]


@runtime_checkable
class StagedPredictor(Predictor, Protocol):
    """A predictor whose costly part runs off the event loop, for many requests at a time.

    ``predict`` is the three stages in a row: ``finish(request, infer([request])[0])``. A request holds copies of all
    that `infer` needs, so that events which are learned meanwhile cannot reach into it.
    """

    def begin(self, context: Context, steps: int, /) -> Any:
        """Prepare a prediction, on the loop and quickly; pure, as ``predict`` is.

        Returns:
            The request, or `Ready` with the predictions where they cost nothing more.

        Raises:
            ValueError: ``steps`` is smaller than 1 or larger than the predictor looks ahead.
        """

    def infer(self, requests: Sequence[Any], /) -> list[Any]:
        """Return one result for each of ``requests``, at least one, in their order.

        Runs in any thread, several at once: it reads the requests and what never changes, and writes nothing.
        """

    def finish(self, request: Any, result: Any, /) -> list[Prediction]:
        """Make predictions of a request and its result, on the loop and quickly; pure, as ``predict`` is."""


class LanguageModel(Protocol):
    """Answers a question with a value of a given type."""

    async def complete(self, prompt: str, answer: type[A], timeout_s: float) -> A:
        """Return the model's answer.

        Nothing is tried again: whoever asks decides whether it is worth another call.

        Args:
            prompt: The question, in words.
            answer: A `msgspec.Struct` type, whose JSON schema the model is held to. What it says is checked against
                the type, bounds included, and otherwise believed in nothing.
            timeout_s: After how long to give up.

        Raises:
            LanguageModelTimeoutError: There was no answer in time.
            LanguageModelAnswerError: The model answered something else.
            LanguageModelError: The model could not be reached, or refused.
        """


class Cost(msgspec.Struct, frozen=True):
    """What making a resource ready is expected to cost."""

    seconds: float
    bytes: int


class Loaded(msgspec.Struct, frozen=True):
    """What a provider made ready.

    Attributes:
        value: What ``get`` serves.
        bytes: What it occupies.
        ttl_s: For how many seconds it may be served; it is loaded anew after that, even where ``is_fresh`` would say
            yes. ``None`` sets no such limit.
    """

    value: Any
    bytes: int
    ttl_s: float | None = None


class Provider(Protocol):
    """Makes resources of one kind ready.

    Attributes:
        immutable: True where a loaded value can never go stale; `is_fresh` is then not asked, which keeps a hit cheap.
    """

    immutable: bool

    async def load(self, key: str) -> Loaded:
        """Make ``key`` ready. May be cancelled at any await, and then leaves nothing behind.

        Raises:
            UnknownResourceError: There is no such resource.
            Exception: Whatever the user's loader raises; the manager retries, times out and quarantines.
        """

    async def unload(self, key: str, value: Any) -> None:
        """Release what `load` made. Called exactly once for each value that was stored, after its last use."""

    async def is_fresh(self, key: str, value: Any) -> bool:
        """Return whether ``value`` still is what `load` would make now."""

    def cost(self, key: str) -> Cost:
        """Return the expected cost, without blocking.

        Raises:
            UnknownResourceError: There is no such resource.
        """

    def dependencies(self, key: str) -> Sequence[str]:
        """Return every resource that must be ready before ``key``, transitively, in a loadable order."""


@runtime_checkable
class HasRequirements(Protocol):
    """A provider that tells direct requirements from transitive ones, which keeps deep graphs cheap. Optional."""

    def requires(self, key: str) -> Sequence[str]:
        """Return what must be ready before ``key``, without what only that requires; `Provider.dependencies` has all.

        Raises:
            UnknownResourceError: There is no such resource.
        """


@runtime_checkable
class HasConflicts(Protocol):
    """A provider of which some resources may not be resident together. Optional; see `preloader.conflicts`."""

    def conflicts(self, key: str) -> Collection[str]:
        """Return the keys that may not be resident together with ``key``; of each pair, both name the other.

        Raises:
            UnknownResourceError: There is no such resource.
        """


@runtime_checkable
class UsesExecutor(Protocol):
    """A provider with blocking work. The manager hands it its own executor before anything is loaded."""

    def use_executor(self, executor: Executor) -> None:
        """Run blocking calls on ``executor`` from now on, unless one was chosen when the provider was made."""


class Kept(Protocol):
    """Something small that is learned beside the predictor, and kept in a file of its own between runs.

    Attributes:
        name: The file's.
    """

    name: str

    def pieces(self) -> Iterable[bytes]:
        """Return what was learned, in pieces that take little time each."""

    def load(self, data: bytes) -> None:
        """Replace what was learned.

        Raises:
            BundleError: ``data`` is damaged or of another version; nothing is replaced.
        """


@runtime_checkable
class Remembering(Protocol):
    """A provider that learns what is worth keeping between runs. Optional.

    Attributes:
        kept: What the manager restores before anything is loaded, and saves, where it has a state directory.
    """

    kept: Kept


@runtime_checkable
class Prioritised(Protocol):
    """A provider some of whose resources matter more than others; where it is not one, all matter the same."""

    def priority(self, key: str) -> float:
        """Return the weight of having ``key`` ready, relative to others at 1.0; above 0.

        Raises:
            UnknownResourceError: There is no such resource.
        """


def priority_of(provider: Provider, key: str) -> float:
    """Return the weight of having a provider's ``key`` ready, relative to others at 1.0."""
    return provider.priority(key) if isinstance(provider, Prioritised) else 1.0


class Resident(msgspec.Struct, frozen=True):
    """One resource in the store, or a candidate for it, as policies see it.

    Attributes:
        key: Its resource key.
        bytes: What it occupies.
        load_s: Seconds that it took to load, or is expected to take: what losing it would cost.
        priority: Its weight, as `Prioritised` says.
        speculative: Whether it was loaded ahead of a need, so that admitting it is no use of it.
    """

    key: str
    bytes: int
    load_s: float
    priority: float = 1.0
    speculative: bool = False


class Budget(msgspec.Struct, frozen=True):
    """What a policy may spend, and what things cost.

    Attributes:
        capacity_bytes: The store's whole budget.
        free_bytes: What is neither occupied nor reserved.
        cost: Expected cost of a key, together with its dependencies that are not resident.
        loss_s: Seconds that what would have to be given up for a key is expected to cost: P(used soon) × seconds to
            reload, summed over the residents that the eviction policy names. 0 where it fits, infinite where it cannot.
    """

    capacity_bytes: int
    free_bytes: int
    cost: Callable[[str], Cost]
    loss_s: Callable[[str], float] = lambda key: 0.0


class DecisionPolicy(Protocol):
    """Says which predictions become preloads."""

    name: str

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """Return one decision for each prediction worth a word, most urgent first; keys left out are refused.

        ``residents`` are the keys that are ready. A key accepted here is *outstanding* until `outcome` is called with
        it, however it ends; accepting it again meanwhile (to change its tier) costs nothing.
        """

    def outcome(self, preload: Preload) -> None:
        """Learn how a preload that this policy accepted has ended."""


class EvictionPolicy(Protocol):
    """Says what to give up when room is needed."""

    name: str

    def admitted(self, resident: Resident) -> None:
        """A resource became resident. Unless it is speculative, that is its first use."""

    def used(self, key: str) -> None:
        """A resident resource was used, by another need than the one that it was admitted for."""

    def removed(self, key: str) -> None:
        """A resource left the store, for whatever reason."""

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """Return residents whose removal frees at least ``bytes_needed``, cheapest loss first.

        Args:
            bytes_needed: How much must be freed, at least 1.
            pinned: Keys that must stay.
            predictions: What is expected to be used soon, by key; keys that are absent are not expected.
            candidate: The speculative resource that room is made for; ``None`` for a need, which always wins.

        Returns:
            The victims, or ``None`` where pins leave too little, or where ``candidate`` is worth less than they are.
        """


@runtime_checkable
class AdaptiveEviction(EvictionPolicy, Protocol):
    """An eviction policy that learns from what it gave up, too."""

    def resized(self, capacity_bytes: int) -> None:
        """The store's budget is so many bytes from now on. Called before anything else."""

    def missed(self, key: str) -> None:
        """A resource was needed that is not resident."""

    def evicted(self, key: str) -> None:
        """A victim goes, to make room; ``removed`` follows at once."""
