"""``preloader workspace``: what the workspace would have had ready for a coding agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from preloader.cli.histories import progress
from preloader.cli.workspace_replay import replay
from preloader.cli.workspace_views import graph, impact, index, related
from preloader.errors import ConfigurationError, HistoryError
from preloader.history import ReadReport
from preloader.workspace.learn.items import Split, read_recordings, split


def register(app: typer.Typer) -> None:
    """Add ``preloader workspace`` and its commands to the application."""
    group = typer.Typer(help="Prepare a coding agent's next step while its answer streams.", no_args_is_help=True)
    group.command(name="evaluate", no_args_is_help=True)(evaluate)
    for command in (export, replay, index, graph, related, impact):
        group.command(no_args_is_help=True)(command)
    app.add_typer(group, name="workspace")


def evaluate(
    sessions: Annotated[
        list[Path],
        typer.Argument(metavar="SESSIONS…", help="Files of recorded sessions, in the format agent-transcripts."),
    ],
    seed: Annotated[int, typer.Option(help="Of the intervals' draws.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="How many resamples they are made of.")] = 1_000,
    choose: Annotated[
        bool, typer.Option(help="Leave the test sessions alone: measure on the sessions to choose by instead.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option(help="Also fit the file ranker without each sort of signal, and measure what that costs.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write the fitted models to this file (.npz).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw recall and precision to this file (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Fit on the first 80 % of each repository's sessions, and measure on the rest what would have been ready."""
    from preloader.cli.workspace_table import draw, show
    from preloader.learning.boosting import fit_trees, fit_words
    from preloader.workspace.ablation import ablated
    from preloader.workspace.evaluate import evaluate_workspace
    from preloader.workspace.learn.fitting import Fitters
    from preloader.workspace.learn.models import save_models

    cut = _cut(sessions, choose)
    fitters = Fitters(fit_trees, fit_words)
    with progress("following sessions", 2 * (len(cut.fit) + len(cut.validation) + len(cut.test))) as advance:
        figures, learned = evaluate_workspace(
            cut, fitters, seed=seed, bootstraps=bootstraps, progress=lambda: advance("following sessions")
        )
        without = ablated(cut, fitters) if ablate else []
    if save is not None:
        save_models(learned.models, save)
    if plot is not None:
        draw(figures.curve, plot)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({**msgspec.to_builtins(figures), "ablation": without})).decode())
    else:
        show(Console(), figures, without)


def export(
    models: Annotated[Path, typer.Argument(metavar="MODELS", help="The learned models (.npz).")],
    out: Annotated[Path, typer.Option(help="Write the model of the next action to this file (.onnx).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the model of the next action as ONNX, once it was found to say the same; needs the train extra."""
    from preloader.workspace.learn.action_export import ROWS, export_actions
    from preloader.workspace.learn.models import load_models

    opened = load_models(models)
    try:
        difference = export_actions(opened.actions, out)
    except OSError as error:
        raise ConfigurationError(f"--out {out} cannot be written ({error.strerror})") from error
    written = {"file": str(out), "bytes": out.stat().st_size, "inputs": ROWS, "difference": difference}
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(written)).decode())
    else:
        print(f"{out}: {written['bytes']:,} bytes; on {ROWS:,} inputs the same but for {difference:.1g}")


def _cut(paths: list[Path], choose: bool) -> Split:
    report = ReadReport()
    recordings = [one for path in paths for one in read_recordings(path, report)]
    if not recordings:
        raise HistoryError(f"{', '.join(map(str, paths))}: holds no session")
    cut = split(recordings).to_choose() if choose else split(recordings)
    if not cut.fit or not cut.validation or not cut.test:
        raise ConfigurationError(f"{len(recordings)} sessions are too few to fit, to choose and to test")
    return cut
