"""``preloader evaluate`` over a partitioned history whose users are read one at a time: what a bundle says, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from preloader.cli.evaluate_bundle import ScoredBundle
from preloader.cli.histories import progress, target_of, warn_of
from preloader.errors import HistoryError
from preloader.evaluation import Row, Task
from preloader.evaluation.by_user import Survey, evaluate_users, survey
from preloader.evaluation.scoring import follows
from preloader.evaluation.task import TaskSummary
from preloader.evaluation.user_tasks import PartitionTasks
from preloader.events import kind_of
from preloader.history import ReadReport, Session, SplitRule
from preloader.history.parquet import ParquetReader
from preloader.history.partitions import PartitionedHistory
from preloader.learning.parallel import Backend


class Asked(msgspec.Struct, frozen=True):
    """What is to be measured.

    Attributes:
        names: The predictors.
        bare: The task without its sessions; its kind is not looked at.
        target: The kind of the items; the history's first if not given.
        fit_percent: How much of each stream may be fitted, if not what the format says.
        seed: Of the shuffle and the intervals.
        bootstraps: How many resamples the intervals are made of.
        place: Where work that users divide is done; in this process if not given.
    """

    names: Sequence[str]
    bare: Task
    target: str | None
    fit_percent: int | None
    seed: int
    bootstraps: int
    place: Backend | None


class Figures(msgspec.Struct, frozen=True):
    """What was measured, and on what.

    Attributes:
        format: The history's format.
        kind: The kind of the items.
        rule: How the history was cut.
        summary: How much there was.
        rows: The figures.
    """

    format: str
    kind: str
    rule: SplitRule
    summary: TaskSummary
    rows: list[Row]


def needs_nobody_else(saved: ScoredBundle | None, names: Sequence[str]) -> bool:
    """Return whether each of these predictors, frozen, says of one user what it says whoever else there is."""
    if saved is None or saved.learns_first or not set(names) <= set(saved.names):
        return False
    kinds = saved.bundle.manifest.kinds or ("",)
    return not any(follows(saved.candidate(name, kinds[0]).make()) for name in names)


def evaluate_partitions(root: Path, saved: ScoredBundle, asked: Asked) -> Figures:
    """Score a bundle's predictors, frozen, with one user's sessions in memory at a time in each process.

    Args:
        root: The partitioned directory.
        saved: The bundle.
        asked: What is measured, of predictors of the bundle that need nobody else.

    Raises:
        ConfigurationError: The history has no such kind, or the bundle cannot be scored on it.
        HistoryError: The history cannot be read, or is too small.
    """
    with progress("reading") as advance:
        kind = target_of(asked.target, _kinds(root), ParquetReader.name)
        bare = msgspec.structs.replace(asked.bare, kind=kind)
        tasks = PartitionTasks.under(root, (kind,), asked.fit_percent)
        report = ReadReport()
        found = survey(tasks, bare, report, advance)
    warn_of(report)
    _check(found, kind)
    named = [Session(user, session, ()) for _, user, session in found.test]  # whose they are is all that is looked at
    saved.check([str(root)], msgspec.structs.replace(bare, test=named))
    with progress("evaluating") as advance:
        rows = evaluate_users(
            tasks,
            bare,
            found,
            [saved.candidate(name, kind) for name in asked.names],
            seed=asked.seed,
            bootstraps=asked.bootstraps,
            divide=partial((asked.place or Backend("serial")).map, on_done=advance),
        )
    return Figures(ParquetReader.name, kind, tasks.rule, found.summary, rows)


def _kinds(root: Path) -> Iterator[str]:
    """Yield each kind that the events use when it is met first; nothing is read beyond what is asked for."""
    met: set[str] = set()
    for partition in PartitionedHistory(root).partitions():
        for session in partition.sessions():
            for kind in (kind_of(key) for event in session.events for key in event.resources):
                if kind not in met:
                    met.add(kind)
                    yield kind


def _check(found: Survey, kind: str) -> None:
    if not (found.summary.fit_sessions and found.summary.test_sessions):
        raise HistoryError(
            f"no user of the history has enough sessions with items of the kind {kind!r} to be split: two are needed"
        )
