"""``preloader replay``: what would preloading have been worth on this history?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from preloader.cache.eviction import EVICTIONS
from preloader.cli.histories import History, read_history
from preloader.cli.studies import Source, declared_costs, document, perform, show
from preloader.decision.policies import POLICIES
from preloader.errors import ConfigurationError
from preloader.evaluation import Task, task_of_parts, task_of_split
from preloader.history import READERS
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
    component: Annotated[
        str | None,
        typer.Option(
            help="The resource kind that is needed, as in tool_command or skill; the format's first by default."
        ),
    ] = None,
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
    fit_percent: Annotated[
        int | None, typer.Option(min=1, max=99, help="Learn this share of each stream; the format's by default.")
    ] = None,
    budget: Annotated[float, typer.Option(help="The store's capacity, in mean resource sizes.")] = 5.0,
    cache: Annotated[
        CacheChoice, typer.Option(help="Empty the store after each session, or keep it.")
    ] = CacheChoice.COLD,
    repeats: Annotated[
        RepeatsChoice, typer.Option(help="Whether an item equal to the one before it is a need.")
    ] = RepeatsChoice.DROPPED,
    policy: Annotated[str, typer.Option(help=f"The decision policy: {', '.join(POLICIES)}.")] = "thresholds",
    waste: Annotated[float | None, typer.Option(help="Largest share of preloads that may be wasted.")] = 0.10,
    no_waste_budget: Annotated[
        bool, typer.Option("--no-waste-budget", help="Let the policy waste what it will.")
    ] = False,
    eviction: Annotated[str, typer.Option(help=f"The eviction policy: {', '.join(EVICTIONS)}.")] = "predictive",
    registry: Annotated[
        Path | None, typer.Option(help="Take sizes, load times and dependencies from this component registry (TOML).")
    ] = None,
    size_seed: Annotated[list[int] | None, typer.Option(help="Draw sizes from this seed; repeat for several.")] = None,
    size_seeds: Annotated[
        int | None, typer.Option(help="Draw sizes from the seeds 0 … N-1 and show means and spreads. [default: 1]")
    ] = None,
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
    history = read_history(paths, format_name, fit_percent)
    kind = component or history.target(None)
    task = _task(history, read_history(train, format_name) if train else None, kind)
    drawn = bool(size_seed) or size_seeds is not None
    if drawn and registry is not None:
        raise ConfigurationError(f"sizes are declared by --registry {registry} or drawn from --size-seed, not both")
    plan = Plan(
        kind=kind,
        fit=task.fit,
        test=task.test[: _at_least_one("--limit-sessions", limit_sessions)],
        per_user=history.rule.per_user,
        budget=_above_zero("--budget", budget),
        cache=cache.value,
        repeats=repeats.value,
        seeds=_seeds(size_seed, size_seeds),
        policy=policy,
        waste=None if no_waste_budget else waste,
        eviction=eviction,
        provider=None if drawn else declared_costs(history, registry, kind),
    )
    source = Source(history, _learned_before(train, bundle), bundle)
    study = perform(plan, source, outcomes=emit_outcomes, report=report, frontier=frontier)
    if as_json:
        print(msgspec.json.encode(document(source, plan, study)).decode())
    else:
        show(study, plan)
        for path in filter(None, (report, emit_outcomes)):
            Console(stderr=True).print(f"Wrote {path}", markup=False, highlight=False, soft_wrap=True)


def _learned_before(train: Sequence[Path] | None, bundle: Path | None) -> str:
    if bundle is not None:
        return f"the bundle {bundle.name}"
    return ", ".join(path.name for path in train) if train else "the first part of each stream"


def _task(history: History, train: History | None, kind: str) -> Task:
    if train is not None:
        return task_of_parts(train.sessions, history.sessions, history.rule, kind)
    return task_of_split(history.sessions, history.rule, kind)


def _seeds(named: Sequence[int] | None, count: int | None) -> tuple[int, ...]:
    for seed in named or ():
        if not 0 <= seed < 2**63:
            raise ConfigurationError(f"--size-seed {seed}: must be a whole number from 0, as in --size-seed 7")
    return tuple(named) if named else tuple(range(_at_least_one("--size-seeds", count) or 1))


def _above_zero(option: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{option} {value:g}: must be a number above 0, as in {option} 5")
    return value


def _at_least_one(option: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ConfigurationError(f"{option} {value}: must be a whole number of at least 1")
    return value
