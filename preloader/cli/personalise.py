"""``preloader personalise``: fit adapters to single users, compare them with what they start from, and export them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from preloader.cli.backends import BackendOption, JobsOption, SchedulerOption, backend_of
from preloader.cli.command import command_line
from preloader.cli.histories import progress, read_history
from preloader.errors import ConfigurationError, HistoryError
from preloader.evaluation import Candidate, Row, Task, evaluate, task_of_split
from preloader.history import READERS, Session
from preloader.history.annotations import without_annotations
from preloader.ports import Predictor
from preloader.prediction import Bundle, load_bundle

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
    from preloader.learning.adapter_files import file_name, save_adapter
    from preloader.learning.base import Base
    from preloader.learning.personal_bundle import bases_of, save_personal
    from preloader.learning.personalise import PersonalSettings, personalise

    bundle = load_bundle(base)
    bases = bases_of(bundle)
    read = read_history(history, format_name)
    settings = PersonalSettings()
    tasks = {kind: task_of_split(read.sessions, read.rule, kind) for kind in bases}
    chosen = _chosen(users, tasks, settings.min_sessions)
    results: list[Result] = []
    own: dict[str, dict[str, Base]] = {}
    work_places = backend_of(backend, jobs, scheduler)
    with progress("personalising", total=sum(map(len, chosen.values()))) as advance:
        for kind, task in tasks.items():
            learned = {user: _of(task.fit, user, kind) for user in chosen[kind]}
            for done in personalise(bases[kind], learned, settings, work_places, advance):
                path = None
                if done.adapter is not None:
                    path = str(save_adapter(out / "adapters" / kind, done.adapter))
                    own.setdefault(done.user, {})[kind] = done.adapter.personal(bases[kind])
                rows = _rows(bundle, bases[kind], own.get(done.user, {}).get(kind), task, done.user)
                results.append(Result(done.user, kind, done.sessions, path is not None, path, rows))
    for user, personal in own.items():
        fit = {one.session: one for kind in personal for one in _of(tasks[kind].fit, user, kind)}
        place = out / file_name(user).removesuffix(".safetensors")
        save_personal(place, bundle, personal, list(fit.values()), command_line(context))
    if as_json:
        print(msgspec.json.encode({"base": str(base), "out": str(out), "users": results}).decode())
    else:
        _show(Console(), results, out)


def _chosen(named: Sequence[str] | None, tasks: dict[str, Task], least: int) -> dict[str, list[str]]:
    """Return by kind whom to personalise for; of those not named, whoever has enough sessions."""
    chosen: dict[str, list[str]] = {}
    for kind, task in tasks.items():
        counts: dict[str, int] = {}
        for session in task.fit:
            counts[session.user] = counts.get(session.user, 0) + 1
        missing = [user for user in named or () if user not in counts]
        if missing:
            raise ConfigurationError(
                f"--user {missing[0]!r} has no sessions with items of the kind {kind!r} to learn from; the history has "
                f"{', '.join(sorted(counts)) or 'nobody'}"
            )
        chosen[kind] = list(named or sorted(user for user, count in counts.items() if count >= least))
        if not chosen[kind]:
            raise HistoryError(f"no user has the {least} sessions with items of the kind {kind!r} that it takes")
    return chosen


def _of(sessions: Sequence[Session], user: str, kind: str) -> list[Session]:
    return [without_annotations(one, kind) for one in sessions if one.user == user]


def _rows(bundle: Bundle, base: Any, personal: Any, task: Task, user: str) -> list[Row]:
    """Score what serves one user: the base, the online predictor, and his own network alone."""
    from preloader.learning.fit import learn
    from preloader.learning.personal_bundle import online_of

    fit = _of(task.fit, user, task.kind)

    def taught(predictor: Predictor) -> Predictor:
        learn(predictor, fit)
        return predictor

    own = msgspec.structs.replace(task, fit=[], test=_of(task.test, user, task.kind), steps=1)
    candidates = [
        Candidate("base", lambda: taught(base.predictor()), fitted=True),
        Candidate("online", lambda: taught(online_of(bundle)), fitted=True),
        Candidate("personalised", lambda: taught((personal or base).predictor()), fitted=True),
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
