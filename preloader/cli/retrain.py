"""``preloader retrain`` and ``preloader roll-back``: an offline job that puts a better bundle into service, or not.

Exit codes fit for cron and its kin: 0 where the job was done, whatever its verdict; 75 ("try again later") where
another run is at work; 2 for everything that somebody has to see to.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from preloader.cli.command import command_line
from preloader.cli.evaluate import LearnChoice
from preloader.cli.histories import progress, read_history
from preloader.errors import BundleError, BusyError, ConfigurationError
from preloader.history import READERS
from preloader.learning.anonymous_recipe import is_anonymous
from preloader.learning.joblock import job_lock
from preloader.learning.promotion import previous_of
from preloader.learning.promotion import roll_back as put_back
from preloader.learning.recipe import read_recipe

_TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h

_Bundle = Annotated[Path, typer.Option(help="The bundle in service; the previous one is kept beside it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a sentence.")]


def register(app: typer.Typer) -> None:
    """Add ``preloader retrain`` and ``preloader roll-back`` to the application."""
    app.command(name="retrain", no_args_is_help=True)(run)
    app.command(name="roll-back", no_args_is_help=True)(roll_back)


def run(
    context: typer.Context,
    bundle: _Bundle,
    history: Annotated[list[Path], typer.Option(help="The event log, or other histories; repeat for several.")],
    recipe: Annotated[Path, typer.Option(help="What to train, as in training/recipes/household-online.toml.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"The history's format, if not to be detected: {', '.join(READERS)}.")
    ] = None,
    newest: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="How much of the sessions, the newest, is only tested on.")
    ] = 0.1,
    learn: Annotated[
        LearnChoice, typer.Option(help="Whether both learn while they are tested, as in service, or not.")
    ] = LearnChoice.ONLINE,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override the recipe, as in online.max_contexts=1000.")
    ] = None,
    bootstraps: Annotated[int, typer.Option(min=1, help="How many resamples the intervals are made of.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: _Json = False,
) -> None:
    """Learn all but the newest sessions, and put that into service if it is better on them, by more than chance."""
    from preloader.learning.retrain import RetrainSettings, retrain
    from preloader.learning.retrain_report import report_of, write_report

    if is_anonymous(recipe):
        raise ConfigurationError(
            f"{recipe}: a model 'anonymous' is of no history and cannot be retrained on one: name a recipe of model "
            "'online' or 'sequence', which is compared with the bundle in service, whatever that is of"
        )
    chosen = read_recipe(recipe, assignments or ())
    read = read_history(history, format_name)
    data = msgspec.structs.replace(chosen.data, format=read.format)
    settings = RetrainSettings(newest=newest, learn=learn.value, bootstraps=bootstraps, seed=seed)
    try:
        with progress("retraining") as advance:
            entry = retrain(
                read.sessions,
                msgspec.structs.replace(chosen, data=data),
                bundle,
                settings,
                now_s=time.time(),
                command=command_line(context),
                on_step=advance,
            )
    except BusyError as error:
        _try_later(error)
    if entry.verdict != "nothing new":  # no verdict on a candidate: the report of the latest that had one stays
        write_report(report_of(bundle), entry)
    if as_json:
        print(msgspec.json.encode(entry).decode())
    else:
        see = f" See {report_of(bundle)}." if entry.verdict != "nothing new" else ""
        print(f"{bundle}: {entry.verdict}; {entry.reason}.{see}")


def roll_back(bundle: _Bundle, as_json: _Json = False) -> None:
    """Put the previous bundle back into service; the one that was there becomes the previous."""
    if not bundle.parent.is_dir():
        raise BundleError(f"{bundle} has no previous bundle: there is no directory {bundle.parent}")
    try:
        with job_lock(bundle.with_name(f".{bundle.name}.retrain.lock")):
            put_back(bundle)
    except BusyError as error:
        _try_later(error)
    if as_json:
        print(msgspec.json.encode({"bundle": str(bundle), "previous": str(previous_of(bundle))}).decode())
    else:
        print(f"{bundle}: rolled back; what was in service is now {previous_of(bundle)}.")


def _try_later(error: BusyError) -> None:
    print(f"preloader: {error}", file=sys.stderr)
    raise typer.Exit(_TRY_LATER)
