"""Examples on disk: made on all cores or a cluster, kept when a run is killed, and read batch by batch.

A shard holds the examples of some consecutive sessions, so that their order, which training's shuffle starts from, is
that of the sessions, whoever makes them and however many at once. One record an example, in one file a shard: a batch
of random rows touches one place for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from preloader.events import Context
from preloader.history import Session
from preloader.learning.examples import Examples, ExampleSet, Outcomes, each_example, examples
from preloader.learning.parallel import Backend
from preloader.learning.recipe import Recipe
from preloader.learning.shards import Shards, file_digest, write_shards
from preloader.ndarray import NDArray
from preloader.prediction.features import Features

_VERSION = 1  # of what a record says of a context: raised when features change
_EVENTS = 2_048  # a shard's, but for a session with more: megabytes, not gigabytes, in each process that makes one
_RECORDS = "records"


class Place(msgspec.Struct, frozen=True):
    """Where examples are kept, and made.

    Attributes:
        root: The directory; on a cluster, all workers must see it.
        backend: Where the work is done.
        of: All that examples depend on besides sessions, features, steps and users: anything that JSON can say.
    """

    root: Path
    backend: Backend
    of: Any


def place_of(workplace: Path | None, part: str, recipe: Recipe, backend: Backend | None) -> Place | None:
    """Return where a part of a run keeps its examples: in its workplace; nowhere if it has none.

    Rows that a replay emitted are in this process's memory, so that with them the work is done here.
    """
    if workplace is None:
        return None
    rows = recipe.outcomes.rows
    of = [recipe.outcomes, recipe.data.repeats, file_digest(Path(rows)) if rows else None]
    return Place(workplace / f"examples-{part}", Backend("serial") if backend is None or rows else backend, of)


class StoredExamples:
    """Examples in shards; in memory are only their labels, weights and users: 44 bytes each with three steps.

    Args:
        shards: The records.

    Raises:
        HistoryError: A shard is damaged or gone.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        parts = [_small(one) for one in shards.each(_RECORDS)]
        self.labels, self.weights, self.users = (np.concatenate(part) for part in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> Examples:
        """See `ExampleSet.take`.

        Raises:
            HistoryError: A shard is damaged or gone.
        """
        records: NDArray[Any] = self._shards.take(chosen)[_RECORDS]
        seen = records["seen"]
        arrays = {name: seen[name].copy() for name in seen.dtype.names or ()}
        uses = records["uses"].copy()
        return Examples(arrays, self.labels[chosen], self.weights[chosen], self.users[chosen], uses)


def prepare(
    sessions: Sequence[Session],
    features: Features,
    steps: int,
    users: Mapping[str, int],
    outcomes: Outcomes | None = None,
    *,
    waits: bool = True,
    place: Place | None = None,
    on_done: Callable[[str], None] = lambda description: None,
) -> ExampleSet:
    """Return everything that sessions teach: in memory, or, where a place is given, on disk; see `examples`.

    What is on disk already is kept, unless it was made of something else. ``on_done`` is called with a description
    after each shard.

    Raises:
        ConfigurationError: The place cannot be written.
        WorkError: A worker died; the message names its sessions.
    """
    if place is None:
        return examples(sessions, features, steps, users, outcomes, waits=waits)
    make = partial(_records, features=features, steps=steps, users=users, outcomes=outcomes, waits=waits)
    encoder = features.encoder and features.encoder.sha256
    seen = [features.kind, features.vocabulary, features.settings, encoder, steps, users, outcomes is not None, waits]
    root = place.root.absolute()
    made_of = [_VERSION, seen, place.of]
    shards = write_shards(root, _runs(sessions), make, made_of, place.backend, on_done, _describe)
    return StoredExamples(shards)


class _Run(msgspec.Struct, frozen=True):
    """Consecutive sessions: to `write_shards`, a history like a user's."""

    user: str
    held: tuple[Session, ...]

    def sessions(self) -> list[Session]:
        return list(self.held)


def _runs(sessions: Sequence[Session]) -> Iterator[_Run]:
    """Cut sessions into runs of about as many events."""
    first, events = 0, 0
    for end, session in enumerate(sessions, start=1):
        events += len(session.events)
        if events >= _EVENTS or end == len(sessions):
            yield _Run(f"{first}-{end}", tuple(sessions[first:end]))
            first, events = end, 0


def _describe(run: Any) -> str:
    first, _, end = run.user.partition("-")
    return f"sessions {int(first) + 1:,} to {int(end):,}"


def _records(
    sessions: Sequence[Session],
    *,
    features: Features,
    steps: int,
    users: Mapping[str, int],
    outcomes: Outcomes | None,
    waits: bool,
) -> dict[str, NDArray[np.generic]]:
    found = [one for session in sessions for one in each_example(session, features, steps, users, outcomes, waits)]
    records = np.zeros(len(found), _record(features, steps))
    for record, one in zip(records, found, strict=True):
        for name, array in one.arrays.items():
            record["seen"][name] = array
        record["labels"], record["weight"], record["user"], record["uses"] = one.labels, one.weight, one.user, one.uses
    return {_RECORDS: records}


def _record(features: Features, steps: int) -> np.dtype[np.void]:
    seen = [(name, array.dtype, array.shape) for name, array in features.of(Context()).items()]
    uses = (2, len(features.vocabulary) + 1)
    return np.dtype(
        [
            ("seen", seen),
            ("labels", np.int64, (steps,)),
            ("weight", np.float32),
            ("user", np.int64),
            ("uses", np.uint8, uses),
        ]
    )


def _small(records: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return copies of the labels, weights and users, so that the records need not stay mapped."""
    return np.array(records["labels"]), np.array(records["weight"]), np.array(records["user"])
