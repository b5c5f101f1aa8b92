"""``preloader personalise``: fit adapters to single users, compare them with what they start from, and export them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from preloader.cli.backends import BackendOption, JobsOption, SchedulerOption, backend_of
from preloader.cli.command import command_line
from preloader.cli.histories import partitioned, progress, read_history, warn_of
from preloader.errors import ConfigurationError, HistoryError
from preloader.evaluation import Candidate, Row, Task, evaluate
from preloader.evaluation.user_tasks import HeldTasks, PartitionTasks, UserTasks
from preloader.history import READERS, ReadReport, Session
from preloader.history.annotations import without_annotations
from preloader.ports import Predictor
from preloader.prediction import Bundle, load_bundle

_LISTED = 20  # users in a message
_FIGURES = ("top1", "top3", "mrr", "log_loss")


class Result(msgspec.Struct, frozen=True):
    """What came of one user and kind: whether an adapter is kept, where it is, and the figures on held-out sessions."""

    user: str
    kind: str
    sessions: int
    kept: bool
    adapter: str | None
    rows: list[Row]


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
    from preloader.learning.adapter_files import file_name, load_adapter, save_adapter
    from preloader.learning.personal_bundle import bases_of, save_personal
    from preloader.learning.personalise import PersonalSettings, personalise

    bundle = load_bundle(base)
    bases = bases_of(bundle)
    tasks = _tasks(history, format_name, list(bases))
    settings = PersonalSettings()
    chosen = _chosen(users, tasks, list(bases), settings.min_sessions)
    results: list[Result] = []
    kept: dict[str, list[str]] = {}
    work_places = backend_of(backend, jobs, scheduler)
    with progress("personalising", total=sum(map(len, chosen.values()))) as advance:
        for kind, base_of_kind in bases.items():
            learned = _FitParts(tasks, chosen[kind], kind)
            for done in personalise(base_of_kind, learned, settings, work_places, advance):
                path, own = None, base_of_kind
                if done.adapter is not None:
                    path = str(save_adapter(out / "adapters" / kind, done.adapter))
                    own = done.adapter.personal(base_of_kind)
                    kept.setdefault(done.user, []).append(kind)
                rows = _rows(bundle, base_of_kind, own, tasks.of(done.user)[kind])
                results.append(Result(done.user, kind, done.sessions, path is not None, path, rows))
    for user, kinds in kept.items():  # read again, one after the other: networks of all users need not fit in memory
        adapters = {kind: load_adapter(out / "adapters" / kind, user, bases[kind]) for kind in kinds}
        personal = {kind: adapter.personal(bases[kind]) for kind, adapter in adapters.items()}
        fit = {
            one.session: one for kind, task in tasks.of(user).items() if kind in kinds for one in _seen(task.fit, kind)
        }
        place = out / file_name(user).removesuffix(".safetensors")
        save_personal(place, bundle, personal, list(fit.values()), command_line(context))
    if as_json:
        print(msgspec.json.encode({"base": str(base), "out": str(out), "users": results}).decode())
    else:
        _show(Console(), results, out)


class _FitParts(Mapping[str, Sequence[Session]]):
    """What some users' adapters learn, cut out when it is asked for."""

    def __init__(self, tasks: UserTasks, users: Sequence[str], kind: str) -> None:
        self._tasks = tasks
        self._users = users
        self._kind = kind

    def __getitem__(self, user: str) -> Sequence[Session]:
        return _seen(self._tasks.of(user)[self._kind].fit, self._kind)

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
    return HeldTasks(history.sessions, history.rule, kinds)


def _chosen(named: Sequence[str] | None, tasks: UserTasks, kinds: Sequence[str], least: int) -> dict[str, list[str]]:
    """Return by kind whom to personalise for; of those not named, whoever has enough sessions."""
    counts: dict[str, dict[str, int]] = {kind: {} for kind in kinds}
    report = ReadReport()
    there = set(tasks.users)
    with progress("reading") as advance:
        for user in sorted(there.intersection(named) if named else there):
            for kind, task in tasks.of(user, report).items():
                counts[kind][user] = len(task.fit)
            advance("reading")
    warn_of(report)
    chosen: dict[str, list[str]] = {}
    for kind, fitted in counts.items():
        missing = [user for user in named or () if not fitted.get(user)]
        if missing:
            raise ConfigurationError(
                f"--user {missing[0]!r} has no sessions with items of the kind {kind!r} to learn from; the history has "
                f"{_listed(sorted(there))}"
            )
        chosen[kind] = list(named or (user for user, count in fitted.items() if count >= least))
        if not chosen[kind]:
            raise HistoryError(f"no user has the {least} sessions with items of the kind {kind!r} that it takes")
    return chosen


def _listed(users: Sequence[str]) -> str:
    more = f" and {len(users) - _LISTED:,} more" if len(users) > _LISTED else ""
    return ", ".join(users[:_LISTED]) + more or "nobody"


def _seen(sessions: Sequence[Session], kind: str) -> list[Session]:
    return [without_annotations(one, kind) for one in sessions]


def _rows(bundle: Bundle, base: Any, personal: Any, task: Task) -> list[Row]:
    """Score what serves one user: the base, the online predictor, and the user's own network alone."""
    from preloader.learning.fit import learn
    from preloader.learning.personal_bundle import online_of

    fit = _seen(task.fit, task.kind)

    def taught(predictor: Predictor) -> Predictor:
        learn(predictor, fit)
        return predictor

    own = msgspec.structs.replace(task, fit=[], test=_seen(task.test, task.kind), steps=1)
    candidates = [
        Candidate("base", lambda: taught(base.predictor()), fitted=True),
        Candidate("online", lambda: taught(online_of(bundle)), fitted=True),
        Candidate("personalised", lambda: taught(personal.predictor()), fitted=True),
    ]
    return evaluate(own, candidates, learn=("frozen",), bootstraps=200) if own.test else []


def _show(console: Console, results: Sequence[Result], out: Path) -> None:
    table = Table("user", "kind", "sessions", "predictor", title="On each user's held-out sessions, frozen")
    for name in ("items", "top-1", "top-3", "MRR", "log loss"):
        table.add_column(name, justify="right")
    for result in results:
        for row in result.rows:
            shown = "base kept" if row.predictor == "personalised" and not result.kept else row.predictor
            figures = ("-" if value is None else f"{value:.3f}" for value in (getattr(row, one) for one in _FIGURES))
            table.add_row(result.user, result.kind, str(result.sessions), shown, f"{row.n:,}", *figures)
    console.print(table)
    kept = sum(result.kept for result in results)
    console.print(f"Kept {kept} of {len(results)} adapters; they are in {out / 'adapters'}.", soft_wrap=True)
