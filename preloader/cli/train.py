"""``preloader train``: fit a recipe's model on a history, and write it as a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from preloader.cli.histories import progress, read_history
from preloader.history import READERS
from preloader.learning.card import card
from preloader.learning.fit import Fitted, fit, fit_part, work
from preloader.learning.recipe import read_recipe
from preloader.prediction import save_bundle


def register(app: typer.Typer) -> None:
    """Add ``preloader train`` to the application."""
    app.command(name="train", no_args_is_help=True)(run)


def run(
    history: Annotated[list[Path], typer.Option(help="A file, directory or repository; repeat for several.")],
    recipe: Annotated[Path, typer.Option(help="What to train, as in training/recipes/household-online.toml.")],
    out: Annotated[Path, typer.Option(help="The bundle to write; one that is there is replaced.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"The history's format, if not the recipe's: {', '.join(READERS)}.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override the recipe, as in online.max_contexts=1000.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the shuffle, where the format wants one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Learn each stream's fit part, after validating on its end, and write a bundle with a card."""
    chosen = read_recipe(recipe, assignments or ())
    read = read_history(history, format_name or chosen.data.format)
    sessions = fit_part(read.sessions, read.rule, chosen, seed)
    with progress("validating", total=work(sessions, chosen)) as advance:
        fitted = fit(sessions, chosen, advance)
    command = _command(history, format_name, recipe, out, assignments or [], seed)
    manifest = save_bundle(
        out,
        fitted.predictor.snapshot(),
        fitted_on=fitted.fitted_on,
        command=command,
        card=card(fitted, chosen, command),
    )
    if as_json:
        document = {"bundle": str(out), "manifest": manifest, "items": fitted.items, "validation": fitted.validation}
        print(msgspec.json.encode(document).decode())
    else:
        _show(Console(), fitted, out)


def _command(
    history: list[Path], format_name: str | None, recipe: Path, out: Path, assignments: list[str], seed: int
) -> str:
    """Return the command that was run, for manifest and card."""
    words = ["preloader", "train"]
    for path in history:
        words += ["--history", str(path)]
    if format_name:
        words += ["--format", format_name]
    words += ["--recipe", str(recipe), "--out", str(out)]
    for assignment in assignments:
        words += ["--set", assignment]
    return shlex.join([*words, *(["--seed", str(seed)] if seed else [])])


def _show(console: Console, fitted: Fitted, out: Path) -> None:
    table = Table("kind", "predictor", "learning", "step", title="On the held-out end of what was learned")
    for name in ("items", "top-1", "top-3", "top-5", "MRR", "log loss", "ECE"):
        table.add_column(name, justify="right")
    for kind, rows in fitted.validation.items():
        for row in rows:
            figures = (row.top1, row.top3, row.top5, row.mrr, row.log_loss, row.ece)
            shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
            table.add_row(kind, row.predictor, row.learn, str(row.step), f"{row.n:,}", *shown)
    console.print(table)
    size = sum(file.stat().st_size for file in out.iterdir())
    sessions = len(fitted.fitted_on.sessions)
    console.print(f"Learned {sessions:,} sessions; wrote {out} ({size / 1_000:,.0f} kB).", soft_wrap=True)
