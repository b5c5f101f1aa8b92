"""Counterfactual labels: would a key have been used before its eviction or the session's end, had it been loaded now?

What the head P(used | loaded now) is trained on. `OutcomeWorld.labels` works them out for every key of a vocabulary
after every event of a session; `read_outcomes` takes them from what ``preloader replay --emit-outcomes`` wrote.
The label is that of `preloader.replay.outcomes`: under LRU, a key loaded now is still there when it is next needed if
it fits into the budget beside the distinct resources used until then (Mattson et al., IBM Systems Journal 9(2), 1970).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import msgspec
import numpy as np

from preloader.errors import ConfigurationError, HistoryError, require
from preloader.history.lines import records
from preloader.history.reader import ReadReport
from preloader.history.splits import Session
from preloader.ndarray import NDArray
from preloader.ports import Provider
from preloader.replay.script import Repeats, write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes

Bools = NDArray[np.bool_]

_BATCH = 8_192


class Labels(msgspec.Struct, frozen=True, eq=False):
    """What would have been used, in one session.

    Attributes:
        used: Whether each key would have been used, loaded after each event; shape (events, keys).
        known: Where ``used`` says so: a row that was emitted in a replay says nothing of what was resident.
    """

    used: Bools
    known: Bools


class OutcomeWorld(msgspec.Struct, frozen=True, dict=True):
    """Sizes and a budget as replay has them (``docs/replay.md``): sizes are drawn, the budget counts their mean.

    Attributes:
        kind: The resource kind.
        keys: Its vocabulary: the columns of labels, and what the budget's unit is the mean of.
        budget: Capacity, in mean sizes of ``keys``.
        seed: The size seed.
        repeats: Whether a key that equals the session's previous one is a need of its own.

    Raises:
        ConfigurationError: There are no keys, or the budget is not positive.
    """

    kind: str
    keys: tuple[str, ...]
    budget: float = 5.0
    seed: int = 0
    repeats: Repeats = "dropped"

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError(f"there are no keys of the kind {self.kind!r} to label")
        if not self.budget > 0:
            raise ConfigurationError(f"the budget is {self.budget}; it must be positive, in mean sizes of a resource")

    @cached_property
    def provider(self) -> Provider:
        """What everything costs."""
        return SimulatedProvider(partial(drawn_cost, seed=self.seed))

    @cached_property
    def capacity_bytes(self) -> int:
        """The budget in bytes."""
        return round(self.budget * mean_bytes(self.keys, self.provider))

    def labels(self, session: Session) -> Labels:
        """Return the labels of a session, all of them known."""
        used = outcome_labels(session, self.kind, self.provider, self.capacity_bytes, self.keys, self.repeats)
        return Labels(used, np.ones_like(used))


def outcome_labels(
    session: Session,
    kind: str,
    provider: Provider,
    capacity_bytes: int,
    keys: Sequence[str],
    repeats: Repeats = "dropped",
) -> Bools:
    """Return whether each key, loaded after each event, would have been used before its eviction or the session's end.

    The session is walked backwards with a list of what it will need, the soonest first: the bytes of those before a
    key are its reuse distance. That takes time in events x distinct keys, where `replay.outcomes.reuses`, of which
    this is the twin, looks ahead anew from every event.

    Args:
        session: Whose events are the rows.
        kind: The kind that is needed.
        provider: Says sizes and dependencies.
        capacity_bytes: The budget.
        keys: The columns.
        repeats: Whether a key that equals the session's previous one is a need of its own.

    Returns:
        Labels of shape (events, keys).
    """
    (script,) = write_script([session], kind, repeats)
    columns = {key: column for column, key in enumerate(keys)}
    used = np.zeros((len(script.steps), len(keys)), np.bool_)
    ahead: dict[str, None] = {}  # the soonest last
    for row in range(len(script.steps) - 1, -1, -1):
        for key in _reached(ahead, provider, capacity_bytes):
            if key in columns:
                used[row, columns[key]] = True
        for key in reversed(script.steps[row].needs):
            ahead.pop(key, None)
            ahead[key] = None
    return used


def _reached(ahead: dict[str, None], provider: Provider, capacity_bytes: int) -> Iterator[str]:
    """Yield the keys whose next need comes while they would still be there."""
    counted: set[str] = set()
    between = 0
    for key in reversed(ahead):
        if between + provider.cost(key).bytes <= capacity_bytes:
            yield key
        for occupied in (*provider.dependencies(key), key):
            if occupied not in counted:
                counted.add(occupied)
                between += provider.cost(occupied).bytes
        if between > capacity_bytes:  # whatever is loaded now is gone by here
            return


class EmittedOutcome(msgspec.Struct, frozen=True):
    """What is read of an emitted row; see `OutcomeRow`."""

    user: str
    session: str
    event: int
    key: str
    used: bool


def read_outcomes(path: Path) -> Iterator[EmittedOutcome]:
    """Yield the rows of a file that ``preloader replay --emit-outcomes`` wrote: JSONL, compressed or not, or Parquet.

    Raises:
        HistoryError: The file cannot be read, or a row is malformed.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    return _of_parquet(path) if path.suffix == ".parquet" else _of_jsonl(path)


def emitted_labels(
    rows: Iterable[EmittedOutcome], sessions: Iterable[Session], keys: Sequence[str]
) -> dict[tuple[str, str], Labels]:
    """Arrange emitted rows as labels, by user and session name.

    Rows of other sessions and of keys that are not asked for are left out; sessions without rows have no known label.

    Raises:
        HistoryError: A row is of an event that its session does not have: the file is of another history.
    """
    columns = {key: column for column, key in enumerate(keys)}
    found: dict[tuple[str, str], Labels] = {}
    for session in sessions:
        shape = (len(session.events), len(keys))
        found[session.user, session.session] = Labels(np.zeros(shape, np.bool_), np.zeros(shape, np.bool_))
    for row in rows:
        labels, column = found.get((row.user, row.session)), columns.get(row.key)
        if labels is None or column is None:
            continue
        if not 0 <= row.event < len(labels.used):
            raise HistoryError(
                f"an outcome is of event {row.event} of session {row.session!r} of {row.user!r}, which has "
                f"{len(labels.used)}; give the outcomes of the same history"
            )
        labels.used[row.event, column], labels.known[row.event, column] = row.used, True
    return found


def _of_jsonl(path: Path) -> Iterator[EmittedOutcome]:
    return records(path, msgspec.json.Decoder(EmittedOutcome).decode, ReadReport(max_bad_share=0.0))


def _of_parquet(path: Path) -> Iterator[EmittedOutcome]:
    arrow = require("pyarrow", "parquet")
    tables = require("pyarrow.parquet", "parquet")
    try:
        with tables.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=_BATCH, columns=list(EmittedOutcome.__struct_fields__)):
                yield from msgspec.convert(batch.to_pylist(), list[EmittedOutcome])
    except (arrow.ArrowException, OSError, KeyError, msgspec.ValidationError) as error:
        why = str(error).partition("\n")[0]
        raise HistoryError(f"{path}: not rows of --emit-outcomes in Parquet ({why})") from error
