"""Conducting a replay study from the command line, and showing what came out: shared by ``replay`` and ``demo``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from preloader.cli.histories import History
from preloader.cli.learned import check_kind, learned_from
from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, require
from preloader.history.household import HouseholdReader, read_household
from preloader.ports import Predictor, Provider
from preloader.prediction import Bundle, OnlinePredictor, load_bundle
from preloader.replay.comparators import PRELOADER
from preloader.replay.files import replacing
from preloader.replay.metrics import Metrics
from preloader.replay.report import render
from preloader.replay.sizes import SimulatedProvider
from preloader.replay.study import Laboratory, Plan, Study, report_data
from preloader.settings import Settings

_QUICK_EVENTS = 20_000  # up to here a report's frontier is played without being asked for


class Source(msgspec.Struct, frozen=True):
    """Where a plan's sessions come from, in words.

    Attributes:
        history: What was read.
        learned_before: What was learned before.
        bundle: The saved predictor to start from; otherwise the plan's fit sessions are learned.
        beginning: What learns the plan's fit sessions; an online predictor if not given.
    """

    history: History
    learned_before: str
    bundle: Path | None = None
    beginning: Bundle | None = None

    @property
    def names(self) -> str:
        """The last parts of the history's paths."""
        return ", ".join(Path(path).resolve().name for path in self.history.paths)


def declared_costs(history: History, registry: Path | None, kind: str) -> Provider | None:
    """Return a provider with the costs and dependencies that a registry declares; its loads only take time.

    Args:
        history: A simulated household declares its own components.
        registry: The registry's file.
        kind: Kind of the components.

    Returns:
        ``None`` where nothing is declared, so that sizes are drawn.

    Raises:
        ConfigurationError: The registry's file is wrong.
    """
    if registry is not None:
        components = ComponentRegistry.from_toml(registry)
    elif history.format == HouseholdReader.name:
        components = ComponentRegistry()
        for component in read_household(history.paths[0]).components:
            components.simulated(**msgspec.structs.asdict(component))
    else:
        return None
    declared = components.provider(kind)
    return SimulatedProvider(declared.cost, declared.dependencies)


def perform(
    plan: Plan,
    source: Source,
    *,
    outcomes: Path | None = None,
    report: Path | None = None,
    frontier: bool | None = None,
) -> Study:
    """Learn, replay all runs while a bar on stderr shows how far it is, and write what is asked for.

    Args:
        plan: What is replayed, and how.
        source: Where that comes from.
        outcomes: Where to write counterfactual outcomes.
        report: Where to write the report.
        frontier: Whether to play other waste budgets, too; ``None``: for a report of a history that is not long.

    Raises:
        ConfigurationError: The plan does not suit the history, or a file cannot be written.
        MissingExtraError: A report is asked for and matplotlib is not installed.
    """
    if report is not None:
        require("matplotlib", "report")
    with replacing(report) if report else nullcontext() as page:
        with _bar() as bar:
            laboratory = Laboratory(plan, _learned(plan, source, bar))
            if frontier is None:
                frontier = page is not None and laboratory.events <= _QUICK_EVENTS
            task = bar.add_task("replaying", total=laboratory.events * laboratory.runs(frontier))
            study = laboratory.conduct(
                outcomes=outcomes,
                evidence=page is not None,
                frontier=frontier,
                progress=lambda events: bar.advance(task, events),
            )
        if page is not None:
            title = f"Preloading {plan.kind}: {source.names}"
            page.write_text(render(report_data(title, _facts(source, plan, study), study)), encoding="utf-8")
    return study


def document(source: Source, plan: Plan, study: Study) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    rows = []
    for run, row in study.rows.items():
        spread = study.spreads.get(run)
        rows.append(msgspec.structs.asdict(row) | ({"spread": _figures(spread)} if spread else {}))
    return {
        "data": {
            "paths": source.history.paths,
            "format": source.history.format,
            "sessions": study.sessions,
            "events": study.events,
            "resources": study.resources,
        },
        "protocol": {
            "component": plan.kind,
            "split": msgspec.to_builtins(source.history.rule),
            "budget": plan.budget,
            "capacity_bytes": study.capacity_bytes,
            "cache": plan.cache,
            "repeats": plan.repeats,
            "sizes": "declared" if plan.provider else "drawn",
            "size_seeds": [] if plan.provider else list(plan.seeds),
            "policy": plan.policy,
            "waste_budget": plan.waste,
            "eviction": plan.eviction,
            "learn": "online",
            "learned_before": source.learned_before,
        },
        "rows": rows,
        "frontier": [
            {"waste_budget": point.waste_budget} | msgspec.structs.asdict(point.metrics) for point in study.frontier
        ],
        "events_per_second": study.events_per_second,
    }


def show(study: Study, plan: Plan) -> None:
    """Print the table of runs."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_WIDTH)
    table = Table(title=_title(study, plan), title_justify="left", caption=_CAPTION, caption_justify="left", box=SIMPLE)
    table.add_column("run", no_wrap=True)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    for run, row in study.rows.items():
        spread = study.spreads.get(run)
        table.add_row(
            run.replace("_", " "),
            _rate(row, spread, "timely_hit_rate"),
            f"{row.late_hits:,.0f}",
            f"{row.misses:,.0f}",
            _rate(row, spread, "coverage"),
            _rate(row, spread, "time_saved"),
            f"{row.preloads:,.0f}",
            _rate(row, spread, "waste"),
            _rate(row, spread, "pollution"),
            style="bold cyan" if run == PRELOADER else None,
        )
    console.print(table)


_PIPED_WIDTH = 120
_HEADERS = ("ready\n%", "late\n", "missed\n", "coverage\n%", "saved\n%", "preloads\n", "waste\n%", "pollution\n%")
_CAPTION = (
    "ready: loaded when asked for; late: joined a load; coverage: of what lru missed; saved: of lru's waiting; "
    "waste: of preloads; pollution: had by lru, missed here"
)


def _title(study: Study, plan: Plan) -> str:
    seeds = "" if len(plan.seeds) == 1 else f", {len(plan.seeds)} size seeds (± standard deviation)"
    needs = study.rows["lru"].needs
    return (
        f"{needs:,.0f} needs of {study.resources:,} {plan.kind} resources in {study.sessions:,} sessions, "
        f"{plan.cache} cache of {study.capacity_bytes / 1e9:.2f} GB{seeds}; {study.events_per_second:,.0f} events/s"
    )


def _rate(row: Metrics, spread: Metrics | None, field: str) -> str:
    value = getattr(row, field)
    if value is None:
        return ""
    around = getattr(spread, field) if spread else None
    return f"{100 * value:.1f}" + (f" ±{100 * around:.1f}" if around is not None else "")


def _figures(spread: Metrics) -> dict[str, Any]:
    figures = msgspec.structs.asdict(spread)
    del figures["run"]
    return figures


def _learned(plan: Plan, source: Source, bar: Progress) -> Callable[[], Predictor]:
    """Return what makes predictors that have learned the plan's fit sessions, or what the bundle holds."""
    if source.bundle is not None:
        return partial(_unseen(load_bundle(source.bundle), source.history.paths, plan).predictor, kinds=(plan.kind,))
    fresh: Callable[[], Predictor] = partial(OnlinePredictor, kinds=(plan.kind,), horizon=Settings().steps)
    if source.beginning is not None:
        fresh = partial(_unseen(source.beginning, source.history.paths, plan).predictor, kinds=(plan.kind,))
    teacher = fresh()
    task = bar.add_task("learning", total=len(plan.fit))
    for session in plan.fit:
        for event in session.events:
            teacher.learn_one(event.known_at(event.time_s))
        bar.advance(task)
    snapshot = teacher.snapshot()

    def make() -> Predictor:
        predictor = fresh()
        predictor.restore(snapshot)
        return predictor

    return make


def _unseen(bundle: Bundle, paths: Sequence[str], plan: Plan) -> Bundle:
    """Return the bundle, unless it learned from what is to be replayed, or predicts other kinds.

    Raises:
        ConfigurationError: It did, or does.
    """
    check_kind(bundle, plan.kind)
    fitted_on = bundle.manifest.fitted_on
    known = learned_from(fitted_on, paths, plan.test) if fitted_on else 0
    if known:
        raise ConfigurationError(
            f"{bundle.path} was fitted on {known} of the {len(plan.test)} sessions to be replayed; "
            "replay sessions that it has not seen"
        )
    return bundle


def _facts(source: Source, plan: Plan, study: Study) -> dict[str, str]:
    before = source.learned_before + ("" if source.bundle else f": {len(plan.fit):,} sessions")
    budget = "none" if plan.waste is None else f"{plan.waste:.0%} of preloads"
    needs = study.rows["lru"].needs
    seeds = ", ".join(map(str, plan.seeds))
    sizes = "declared by the component registry" if plan.provider else f"drawn from seed {seeds}; plots show the first"
    return {
        "data": f"{source.names} ({source.history.format})",
        "replayed": f"{study.sessions:,} sessions, {study.events:,} events, {needs:,.0f} needs of {plan.kind}",
        "learned before": before,
        "learning": "goes on during the replay, event by event",
        "cache": f"{plan.cache}, {study.capacity_bytes / 1e9:.2f} GB ({plan.budget:g} mean sizes), one loader",
        "consecutive repeats": f"{plan.repeats}",
        "sizes": sizes,
        "policy": f"{plan.policy}, waste budget {budget}, eviction {plan.eviction}",
        "times": "closed loop: pauses are the recorded ones and begin when the need before was served",
        "speed": f"{study.events_per_second:,.0f} events a second",
    }


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
