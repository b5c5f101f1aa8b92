"""``preloader leave-out``: what is a model worth to an assistant whose actions it never saw?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from preloader.cli.histories import progress
from preloader.cli.train_sources import read_sources, show_gains
from preloader.errors import ConfigurationError, require
from preloader.evaluation.first_events import FIRST_EVENTS
from preloader.learning.anonymous_recipe import read_anonymous_recipe


def register(app: typer.Typer) -> None:
    """Add ``preloader leave-out`` to the application."""
    app.command(name="leave-out", no_args_is_help=True)(run)


def run(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="The format of the source to leave out.")],
    history: Annotated[
        list[Path], typer.Option(help="A file, directory or repository; at least one of each of the recipe's sources.")
    ],
    recipe: Annotated[
        Path, typer.Option(help='A recipe with model = "anonymous", as training/recipes/leave-out.toml.')
    ],
    starts: Annotated[
        int, typer.Option(min=1, help="At how many places of each of its streams a new assistant begins.")
    ] = 4,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override the recipe, as in anonymous.batches=100.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Train on all but one of a recipe's sources, and score the first 200 events of new assistants of that one.

    Each stream of what was left out begins anew at up to so many places, evenly apart, with predictors that are empty:
    the online predictor alone, the network alone (which hears an online predictor of its own), and the mixture of both.
    The recipe's seed decides everything that is drawn. Nothing is written.
    """
    require("torch", "train")
    from preloader.learning.fit_sources import by_format
    from preloader.learning.leave_out import leave_out

    chosen = read_anonymous_recipe(recipe, assignments or ())
    formats = [source.format for source in chosen.sources]
    if format_name not in formats:
        raise ConfigurationError(f"{format_name!r} is no source of recipe {chosen.name!r}; it has {', '.join(formats)}")
    if len(formats) == 1 and not chosen.invented:
        raise ConfigurationError(f"recipe {chosen.name!r} has nothing but {format_name} to learn from")
    sources = by_format(read_sources(history, chosen))
    left = sources.pop(format_name)
    with progress("learning") as advance:
        found = leave_out(
            left,
            list(sources.values()),
            chosen.anonymous,
            chosen.invented,
            starts,
            lambda number, loss: advance("fitting"),
            lambda: advance("scoring"),
        )
    if as_json:
        document = {
            "left_out": format_name,
            "learned": [*sources, f"{chosen.invented} invented"],
            "protocol": {"first_events": FIRST_EVENTS, "starts_a_stream": starts, "recipe": chosen},
            "gains": found,
        }
        print(msgspec.json.encode(document).decode())
    else:
        show_gains(Console(), f"{format_name} left out; the next item in the first {FIRST_EVENTS} events", found)
