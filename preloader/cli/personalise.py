"""``preloader personalise``: fit adapters to single users, compare them with what they start from, and export them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from preloader.cli.backends import BackendOption, JobsOption, SchedulerOption, backend_of
from preloader.cli.command import command_line
from preloader.cli.histories import partitioned, progress, read_history, warn_of
from preloader.cli.personal_out import bundle_of, check_out, remove_adapter, remove_bundle
from preloader.errors import ConfigurationError, HistoryError
from preloader.evaluation import Row, Task
from preloader.evaluation.cases import items_of
from preloader.evaluation.task import cut
from preloader.evaluation.user_tasks import HeldTasks, PartitionTasks, UserTasks
from preloader.history import READERS, ReadReport, Session
from preloader.history.annotations import without_annotations
from preloader.prediction import load_bundle

_LISTED = 20  # users in a message
_FIGURES = ("top1", "top3", "mrr", "log_loss")


class Result(msgspec.Struct, frozen=True):
    """What came of one user and kind: whether an adapter is kept, where it is, and the figures on held-out sessions.

    Of those sessions the ones are excluded that the base learned.
    """

    user: str
    kind: str
    sessions: int
    kept: bool
    adapter: str | None
    rows: list[Row]
    excluded: int


class Skipped(msgspec.Struct, frozen=True):
    """A user for whose sessions of a kind there is no adapter: they are too few."""

    user: str
    kind: str
    sessions: int


def register(app: typer.Typer) -> None:
    """Add ``preloader personalise`` to the application."""
    app.command(name="personalise", no_args_is_help=True)(run)


def run(
    context: typer.Context,
    base: Annotated[Path, typer.Option(help="The bundle to start from, trained with a recipe of model 'sequence'.")],
    history: Annotated[list[Path], typer.Option(help="A file, directory or repository; repeat for several.")],
    out: Annotated[Path, typer.Option(help="The directory for adapters and personal bundles.")],
    users: Annotated[
        list[str] | None, typer.Option("--user", help="Only this user; repeat for several. All by default.")
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"The history's format, if not to be detected: {', '.join(READERS)}.")
    ] = None,
    backend: BackendOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Fit adapters to each user's fit part, keep those that help, and score them on the sessions held out."""
    from preloader.learning.adapter_files import load_adapter, save_adapter
    from preloader.learning.personal_bundle import bases_of, save_personal
    from preloader.learning.personal_card import PersonalFacts
    from preloader.learning.personal_scores import scores_of
    from preloader.learning.personalise import PersonalSettings, personalise

    bundle = load_bundle(base)
    bases = bases_of(bundle)
    tasks = _tasks(history, format_name, list(bases))
    settings = PersonalSettings()
    chosen, skipped = _chosen(users, tasks, list(bases), settings.min_sessions)
    everybody = dict.fromkeys(user for of_kind in chosen.values() for user in of_kind)
    check_out(out, base, everybody)
    results: list[Result] = []
    kept: dict[str, dict[str, PersonalFacts]] = {}
    work_places = backend_of(backend, jobs, scheduler)
    with progress("personalising", total=sum(map(len, chosen.values()))) as advance:
        for kind, base_of_kind in bases.items():
            learned = _FitParts(tasks, chosen[kind], kind)
            for done in personalise(base_of_kind, learned, settings, work_places, advance):
                path, own = None, base_of_kind
                if done.adapter is not None:
                    path = str(save_adapter(out / "adapters" / kind, done.adapter))
                    own = done.adapter.personal(base_of_kind)
                else:
                    remove_adapter(out / "adapters" / kind, done.user)
                scores = scores_of(bundle, base_of_kind, own, _bare(tasks.of(done.user)[kind]))
                if done.adapter is not None:
                    kept.setdefault(done.user, {})[kind] = PersonalFacts(
                        done.sessions, done.choice, done.base_loss, done.loss, scores.rows, scores.excluded
                    )
                results.append(
                    Result(done.user, kind, done.sessions, path is not None, path, scores.rows, scores.excluded)
                )
    for user, told in kept.items():  # read again, one after the other: networks of all users need not fit in memory
        adapters = {kind: load_adapter(out / "adapters" / kind, user, bases[kind]) for kind in told}
        personal = {kind: adapter.personal(bases[kind]) for kind, adapter in adapters.items()}
        fit = {one.session: one for kind, task in tasks.of(user).items() if kind in told for one in _bare(task).fit}
        save_personal(bundle_of(out, user), bundle, personal, list(fit.values()), command_line(context), told)
    for user in everybody:
        if user not in kept:
            remove_bundle(out, user)
    if as_json:
        document = {"base": str(base), "out": str(out), "users": results, "skipped": skipped}
        print(msgspec.json.encode(document).decode())
    else:
        _show(Console(), results, skipped, settings.min_sessions, out)


class _FitParts(Mapping[str, Sequence[Session]]):
    """What some users' adapters learn, cut out when it is asked for."""

    def __init__(self, tasks: UserTasks, users: Sequence[str], kind: str) -> None:
        self._tasks = tasks
        self._users = users
        self._kind = kind

    def __getitem__(self, user: str) -> Sequence[Session]:
        return _bare(self._tasks.of(user)[self._kind]).fit

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def __len__(self) -> int:
        return len(self._users)


def _tasks(paths: Sequence[Path], format_name: str | None, kinds: Sequence[str]) -> UserTasks:
    """Return the users' tasks; where the history is partitioned by user, nothing is read yet."""
    root = partitioned(paths, format_name)
    if root is not None:
        return PartitionTasks.under(root, kinds)
    history = read_history(paths, format_name)
    tasks = (cut(history.sessions, history.rule, kind) for kind in kinds)
    there = [task.kind for task in tasks if task.fit and task.test]
    return HeldTasks(history.sessions, history.rule, there or kinds)


def _chosen(
    named: Sequence[str] | None, tasks: UserTasks, kinds: Sequence[str], least: int
) -> tuple[dict[str, list[str]], list[Skipped]]:
    """Return by kind whom to personalise for, and who has too few sessions for it."""
    chosen: dict[str, list[str]] = {kind: [] for kind in kinds}
    skipped: list[Skipped] = []
    report = ReadReport()
    there = set(tasks.users)
    with progress("reading") as advance:
        for user in dict.fromkeys(named or sorted(there)):
            own = tasks.of(user, report) if user in there else {}
            counts = {kind: _usable(own[kind]) if kind in own else 0 for kind in kinds}
            if named and not any(counts.values()):
                raise ConfigurationError(
                    f"--user {user!r} has no sessions with items of the kind {_listed(kinds, 'or')} to learn from; the "
                    f"history has {_listed(sorted(there), 'and')}"
                )
            for kind, count in counts.items():
                if count >= least:
                    chosen[kind].append(user)
                else:
                    skipped.append(Skipped(user, kind, count))
            advance("reading")
    warn_of(report)
    if not any(chosen.values()):
        raise HistoryError(
            f"no user has the {least} sessions with items of the kind {_listed(kinds, 'or')} that an adapter takes"
        )
    return chosen, skipped


def _usable(task: Task) -> int:
    return sum(bool(items_of(one, task.kind)) for one in _bare(task).fit)


def _listed(names: Sequence[str], word: str) -> str:
    more = f" {word} {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more or "nobody"


def _bare(task: Task) -> Task:
    """Return a task whose sessions hold no annotations."""
    fit, test = ([without_annotations(one, task.kind) for one in part] for part in (task.fit, task.test))
    return msgspec.structs.replace(task, fit=fit, test=test)


def _show(console: Console, results: Sequence[Result], skipped: Sequence[Skipped], least: int, out: Path) -> None:
    table = Table("user", "kind", "sessions", "predictor", title="On each user's held-out sessions, frozen")
    for name in ("items", "top-1", "top-3", "MRR", "log loss"):
        table.add_column(name, justify="right")
    for result in results:
        for row in result.rows:
            shown = "base kept" if row.predictor == "personalised" and not result.kept else row.predictor
            figures = ("-" if value is None else f"{value:.3f}" for value in (getattr(row, one) for one in _FIGURES))
            table.add_row(result.user, result.kind, str(result.sessions), shown, f"{row.n:,}", *figures)
    console.print(table)
    for result in results:
        if result.excluded:
            whose = f"{result.excluded:,} held-out sessions of {result.user} ({result.kind})"
            console.print(f"{whose} are not in these figures: the base has learned them.", soft_wrap=True)
    kept = sum(result.kept for result in results)
    console.print(f"Kept {kept} of {len(results)} adapters; they are in {out / 'adapters'}.", soft_wrap=True)
    if skipped:
        few = [f"{one.user} ({one.sessions} of {one.kind})" for one in skipped]
        console.print(f"No adapter where there are fewer than {least} sessions: {_listed(few, 'and')}.", soft_wrap=True)
