"""``preloader train``: fit a recipe's model on a history, and write it as a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from preloader.cli.backends import BackendOption, JobsOption, SchedulerOption, backend_of
from preloader.cli.command import command_line
from preloader.cli.histories import progress, read_history
from preloader.cli.learned import households_of
from preloader.cli.train_sources import train_sources
from preloader.errors import ConfigurationError, require
from preloader.history import READERS
from preloader.learning.anonymous_recipe import is_anonymous, read_anonymous_recipe
from preloader.learning.fit import Fitted, fit, work
from preloader.learning.fitted_bundle import save_fitted
from preloader.learning.parts import parts_given, parts_of
from preloader.learning.recipe import read_recipe
from preloader.prediction.bundle import check_place


def register(app: typer.Typer) -> None:
    """Add ``preloader train`` to the application."""
    app.command(name="train", no_args_is_help=True)(run)


def run(
    context: typer.Context,
    history: Annotated[list[Path], typer.Option(help="A file, directory or repository; repeat for several.")],
    recipe: Annotated[Path, typer.Option(help="What to train, as in training/recipes/household-online.toml.")],
    out: Annotated[Path, typer.Option(help="The bundle to write; one that is there is replaced.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"The history's format, if not the recipe's: {', '.join(READERS)}.")
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Validate on this history, and learn the other whole; otherwise each stream is cut."),
    ] = None,
    fit_percent: Annotated[
        int | None, typer.Option(min=1, max=99, help="Learn this share of each stream; the format's by default.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override the recipe, as in online.max_contexts=1000.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints of a run that was interrupted.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of the shuffle, where the format wants one; 0 by default.")] = None,
    backend: BackendOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Learn each stream's fit part, after validating on its end, and write a bundle with a card.

    A recipe with model = "anonymous" learns from several histories, each of which is matched to the source of its
    format. It trains in minutes, and is not gone on with by --resume.
    """
    check_place(out)
    place = backend_of(backend, jobs, scheduler)
    if is_anonymous(recipe):
        given = {"--format": format_name, "--validation": validation, "--fit-percent": fit_percent, "--resume": resume}
        _refuse(
            {**given, "--backend": backend, "--jobs": jobs, "--scheduler": scheduler},
            "anonymous",
            "each history's format is detected and says how it is cut, and training takes minutes",
        )
        _refuse({"--seed": seed}, "anonymous", "the recipe has one seed for everything, as in --set anonymous.seed=1")
        require("torch", "train")
        sources = read_anonymous_recipe(recipe, assignments or ())
        train_sources(history, sources, out, command_line(context), as_json)
        return
    chosen = read_recipe(recipe, assignments or ())
    if chosen.model == "online":
        given = {"--backend": backend, "--jobs": jobs, "--scheduler": scheduler}
        _refuse(given, "online", "it counts one event after the other, in this process")
    if validation and fit_percent is not None:
        raise ConfigurationError("--fit-percent cuts streams, and with --validation they are learned whole: drop one")
    if chosen.outcomes.rows and place is not None and place.kind != "serial":
        told = "outcomes.rows are read into this process, so that the examples are made in it alone"
        typer.echo(f"--backend {place.kind} is not used: {told}", err=True)
    workplace = _workplace(out, resume)
    read = read_history(history, format_name or chosen.data.format, fit_percent)
    if validation:
        held = read_history(validation, format_name or chosen.data.format)
        parts = parts_given(read.sessions, held.sessions, read.rule, chosen, seed or 0)
    else:
        parts = parts_of(read.sessions, read.rule, chosen, seed or 0)
    with progress("validating", total=work(parts, chosen)) as advance:
        fitted = fit(parts, chosen, workplace=workplace, backend=place, on_step=advance)
    learned = msgspec.structs.replace(fitted.fitted_on, households=households_of([*history, *(validation or ())]))
    fitted = msgspec.structs.replace(fitted, fitted_on=learned)
    manifest = save_fitted(out, fitted, chosen, command_line(context))
    shutil.rmtree(workplace, ignore_errors=True)
    if as_json:
        document = {
            "bundle": str(out),
            "manifest": manifest,
            "items": fitted.items,
            "networks": fitted.networks,
            "validation": fitted.validation,
        }
        print(msgspec.json.encode(document).decode())
    else:
        _show(Console(), fitted, out)


def _refuse(given: Mapping[str, object], model: str, why: str) -> None:
    """Refuse options that would change nothing with a model."""
    for option, value in given.items():
        if value is not None and value is not False:
            raise ConfigurationError(f"{option} is not for a recipe with model = {model!r}: {why}; leave it out")


def _workplace(out: Path, resume: bool) -> Path:
    """Return where a run keeps its checkpoints: beside the bundle, empty unless it goes on with them."""
    workplace = out.with_name(f".{out.name}.training")
    if not resume:
        shutil.rmtree(workplace, ignore_errors=True)
    elif not workplace.is_dir():
        raise ConfigurationError(f"--resume: no run for {out} was interrupted; train without --resume")
    return workplace


def _show(console: Console, fitted: Fitted, out: Path) -> None:
    for kind, rows in fitted.validation.items():
        table = Table("predictor", "learning", "step", title=f"{kind}, on what was held out", title_justify="left")
        for name in ("items", "top-1", "top-3", "top-5", "MRR", "loss", "ECE"):
            table.add_column(name, justify="right")
        for row in rows:
            figures = (row.top1, row.top3, row.top5, row.mrr, row.log_loss, row.ece)
            shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
            table.add_row(row.predictor, row.learn, str(row.step), f"{row.n:,}", *shown)
        console.print(table)
    for network in fitted.networks:
        console.print(f"{network.kind}: {network.parameters:,} parameters; {'; '.join(network.verification)}.")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    sessions = len(fitted.fitted_on.sessions)
    console.print(f"Learned {sessions:,} sessions; wrote {out} ({size / 1_000:,.0f} kB).", soft_wrap=True)
