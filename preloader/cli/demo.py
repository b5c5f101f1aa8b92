"""``preloader demo``: the best history at hand, learned and replayed, and what preloading would have been worth."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from preloader.cli.cold_start import cold_start
from preloader.cli.histories import History, read_history
from preloader.cli.studies import Source, declared_costs, perform, show
from preloader.errors import BundleError, HistoryError, MissingExtraError, require
from preloader.evaluation import Task, task_of_split
from preloader.history import discover_mine
from preloader.prediction import Bundle, load_bundle
from preloader.replay.report import verdict
from preloader.replay.study import Plan

_DATASETS = "PRELOADER_DATASETS"
_SHIPPED = Path(__file__).parents[2] / "models" / "default"  # in a checkout; an installed package has none
_DATA_SETS = (
    # The words that come before a call are what preloading gains most from, so the set that has them comes first.
    ("sgd/dev.jsonl.gz", "skill", "dialogues with an assistant: which skill is called next"),
    ("agent-sessions", "tool_command", "coding agents at work: which tool or command is called next"),
)
_HOUSEHOLD = Path("household:seed=7")
_FEWEST_ITEMS = 300  # in the replayed part; with fewer a table says more about chance than about preloading
_MOST_SESSIONS = 400  # replayed, so that it stays a matter of a minute or two


class Choice(msgspec.Struct, frozen=True):
    """A history that the demonstration may use.

    Attributes:
        paths: Where it is.
        format: Its format.
        kind: The resource kind to preload; the format's first if ``None``.
        why: What it is, in words.
    """

    paths: list[Path]
    format: str
    kind: str | None
    why: str


def register(app: typer.Typer) -> None:
    """Add ``preloader demo`` to the application."""
    app.command()(demo)


def demo(
    mine: Annotated[bool, typer.Option("--mine", help="Use your own agent transcripts or shell history.")] = False,
    report: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("out/demo.html"),
) -> None:
    """Learn the first 80 % of the best history at hand, replay the rest, and show what preloading was worth.

    The best is: with --mine your own transcripts or shell history; else the data sets in PRELOADER_DATASETS; else the
    history of the git checkout you are in; else a simulated household.
    """
    console = Console()
    for choice in _choices(mine):
        try:
            history, task = _cut(choice)
        except HistoryError as error:
            _say(console, f"Passed over: {choice.why}: {error}.")
            continue
        _say(console, f"Using {choice.why}.")
        _replay(console, history, task, report)
        return
    raise HistoryError("there is no history to demonstrate with")  # unless the simulation is broken


def _beginning(console: Console) -> Bundle | None:
    """Return the bundle that the repository holds, to be learned on top of; none where it cannot be used."""
    try:
        require("onnxruntime", "onnx")
        bundle = load_bundle(_SHIPPED)
    except (MissingExtraError, BundleError) as error:
        _say(console, f"Going on with the online predictor alone: {error}.")
        return None
    _say(console, f"Beginning with the bundle {_SHIPPED.name}, which other assistants taught.")
    return bundle


def _replay(console: Console, history: History, task: Task, report: Path) -> None:
    plan = Plan(
        kind=task.kind,
        fit=task.fit,
        test=task.test[:_MOST_SESSIONS],
        per_user=history.rule.per_user,
        provider=declared_costs(history, None, task.kind),
    )
    beginning = _beginning(console)
    source = Source(history, "the first 80 % of each stream", beginning=beginning)
    study = perform(plan, source, report=report, frontier=True)
    show(study, plan)
    if beginning is not None:
        _say(console, cold_start(beginning, plan))
    _say(console, verdict(study.rows))
    _say(console, f"The report: {report.resolve().as_uri()}")


def _choices(mine: bool) -> Iterator[Choice]:
    """Yield the histories to try, best first."""
    if mine:
        yield from _own()
    if folder := os.environ.get(_DATASETS):
        for name, kind, why in _DATA_SETS:
            yield Choice([Path(folder) / name], name.partition("/")[0], kind, f"{why} ({name} in {_DATASETS})")
    checkout = next((parent for parent in (Path.cwd(), *Path.cwd().parents) if (parent / ".git").exists()), None)
    if checkout is not None:
        yield Choice([checkout], "git", "file", f"the git history of {checkout.name}: which files are changed next")
    yield Choice([_HOUSEHOLD], "household", None, "a simulated household, since no real history at hand suffices")


def _own() -> Iterator[Choice]:
    """Yield the user's own histories: transcripts first, and of those the format with most files."""
    found = discover_mine()
    if not found:
        raise HistoryError(
            "--mine: no transcripts of Claude Code or Codex, and no zsh, bash or fish history, were found"
        )
    for name, count in Counter(reader.name for reader, _ in found).most_common():
        paths = [path for reader, path in found if reader.name == name]
        yield Choice(paths, name, None, f"your own {name} history: {count} file{'s'[: count > 1]}")


def _cut(choice: Choice) -> tuple[History, Task]:
    """Read a history and split it.

    Raises:
        HistoryError: It cannot be read, or is too small.
    """
    history = read_history(choice.paths, choice.format)
    task = task_of_split(history.sessions, history.rule, choice.kind or history.target(None))
    items = sum(len(event.keys(task.kind)) for session in task.test for event in session.events)
    if items < _FEWEST_ITEMS:
        raise HistoryError(f"its last part uses {items} resources of kind {task.kind}, fewer than {_FEWEST_ITEMS}")
    return history, task


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
