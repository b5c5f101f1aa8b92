"""``preloader replay``: what would preloading have been worth on this history?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from preloader.cli.studies import Source, document, perform, show
from preloader.errors import ConfigurationError
from preloader.evaluation.task import Task, task_of_parts, task_of_split
from preloader.history import READERS, group_sessions, read, sources
from preloader.replay.study import Plan


class CacheChoice(StrEnum):
    """What happens to the store between sessions."""

    COLD = "cold"
    WARM = "warm"


class RepeatsChoice(StrEnum):
    """Whether consecutive repeats are needs."""

    DROPPED = "dropped"
    KEPT = "kept"


def register(app: typer.Typer) -> None:
    """Add ``preloader replay`` to the application."""
    app.command(no_args_is_help=True)(replay)


def replay(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, directories or repositories.")],
    component: Annotated[str, typer.Option(help="The resource kind that is needed, as in tool_command or skill.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"Their format, if not to be detected: {', '.join(READERS)}.")
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            help="Learn from this history and replay all of PATH; otherwise each stream's first 80 % is learned."
        ),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Start from this saved predictor instead of learning.")] = None,
    budget: Annotated[float, typer.Option(help="The store's capacity, in mean resource sizes.")] = 5.0,
    cache: Annotated[
        CacheChoice, typer.Option(help="Empty the store after each session, or keep it.")
    ] = CacheChoice.COLD,
    repeats: Annotated[
        RepeatsChoice, typer.Option(help="Whether an item equal to the one before it is a need.")
    ] = RepeatsChoice.DROPPED,
    policy: Annotated[str, typer.Option(help="The decision policy.")] = "thresholds",
    waste: Annotated[float | None, typer.Option(help="Largest share of preloads that may be wasted.")] = 0.10,
    no_waste_budget: Annotated[
        bool, typer.Option("--no-waste-budget", help="Let the policy waste what it will.")
    ] = False,
    eviction: Annotated[str, typer.Option(help="The eviction policy: lru or predictive.")] = "predictive",
    size_seed: Annotated[list[int] | None, typer.Option(help="Draw sizes from this seed; repeat for several.")] = None,
    size_seeds: Annotated[int, typer.Option(help="Use the size seeds 0 … N-1 and show means and spreads.")] = 1,
    limit_sessions: Annotated[int | None, typer.Option(help="Replay the first N sessions only.")] = None,
    emit_outcomes: Annotated[
        Path | None, typer.Option(help="Write counterfactual outcomes here: .jsonl, .jsonl.gz or .parquet.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report here: one self-contained HTML page.")] = None,
    frontier: Annotated[
        bool | None,
        typer.Option(help="Replay under other waste budgets, too; with a report, unless the history is long."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Replay a history through the real manager, beside no preloading, predictive eviction only, and the optimum."""
    history, per_user = _task(paths, train, format_name, component)
    plan = Plan(
        kind=component,
        fit=history.fit,
        test=history.test[: _at_least_one("--limit-sessions", limit_sessions)],
        per_user=per_user,
        budget=_above_zero("--budget", budget),
        cache=cache.value,
        repeats=repeats.value,
        seeds=tuple(size_seed) if size_seed else tuple(range(_at_least_one("--size-seeds", size_seeds) or 1)),
        policy=policy,
        waste=None if no_waste_budget else waste,
        eviction=eviction,
    )
    source = Source(data=_names(paths), learned_before=_learned_before(train, bundle), bundle=bundle)
    study = perform(plan, source, outcomes=emit_outcomes, report=report, frontier=frontier)
    if as_json:
        print(msgspec.json.encode(document(source, plan, study)).decode())
    else:
        show(study, plan)
        for path in filter(None, (report, emit_outcomes)):
            Console(stderr=True).print(f"Wrote {path}", markup=False, highlight=False, soft_wrap=True)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.resolve().name for path in paths)


def _learned_before(train: Sequence[Path] | None, bundle: Path | None) -> str:
    if bundle is not None:
        return f"the bundle {bundle.name}"
    return _names(train) if train else "the first part of each stream"


def _task(
    paths: Sequence[Path], train: Sequence[Path] | None, format_name: str | None, component: str
) -> tuple[Task, bool]:
    """Return what is learned and what is replayed, and whether each user is a stream."""
    rule = sources(paths, format_name)[0][0].rule
    sessions = group_sessions(read(paths, format_name))
    if train:
        return task_of_parts(group_sessions(read(train, format_name)), sessions, rule, component), rule.per_user
    return task_of_split(sessions, rule, component), rule.per_user


def _above_zero(option: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{option} {value:g}: must be a number above 0, as in {option} 5")
    return value


def _at_least_one(option: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ConfigurationError(f"{option} {value}: must be a whole number of at least 1")
    return value
