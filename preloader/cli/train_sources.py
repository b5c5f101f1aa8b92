"""Training on several data sets, and leaving one of them out: what the commands do for models without a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

from preloader.cli.histories import progress, read_history
from preloader.cli.learned import name_of
from preloader.evaluation.first_events import TOO_SHORT
from preloader.prediction import save_bundle

if TYPE_CHECKING:
    from preloader.evaluation.first_events import Gain
    from preloader.learning.anonymous_recipe import AnonymousRecipe
    from preloader.learning.fit_sources import Given

_PIPED_WIDTH = 150


def train_sources(paths: Sequence[Path], recipe: AnonymousRecipe, out: Path, command: str, as_json: bool) -> None:
    """Fit a model without a vocabulary on histories of several formats, and write it as a bundle.

    Args:
        paths: The histories, at least one of each of the recipe's sources.
        recipe: What is to be trained.
        out: Where the bundle is written.
        command: What was typed.
        as_json: Whether one JSON document is printed instead of a table.
    """
    from preloader.learning.anonymous_card import anonymous_card, anonymous_facts, anonymous_plots
    from preloader.learning.fit_sources import fit_sources

    with progress("learning") as advance:
        fitted = fit_sources(read_sources(paths, recipe), recipe, advance)
    manifest = save_bundle(
        out,
        fitted.predictor.snapshot(),
        fitted_on=fitted.fitted_on,
        command=command,
        card=anonymous_card(fitted, recipe, command),
        files={**fitted.files, **anonymous_plots(fitted.losses)},
        facts=anonymous_facts(fitted, recipe),
    )
    if as_json:
        document = {
            "bundle": str(out),
            "manifest": manifest,
            "items": fitted.items,
            "losses": fitted.losses,
            "verification": fitted.verification,
            "validation": fitted.validation,
        }
        print(msgspec.json.encode(document).decode())
        return
    console = Console()
    show_gains(console, "New assistants, begun with what was held out: the next item", fitted.validation)
    console.print(f"{fitted.parameters:,} parameters; {'; '.join(fitted.verification)}.", soft_wrap=True)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    sessions = len(fitted.fitted_on.sessions)
    console.print(f"Learned {sessions:,} sessions; wrote {out} ({size / 1_000:,.0f} kB).", soft_wrap=True)


def read_sources(paths: Sequence[Path], recipe: AnonymousRecipe) -> list[Given]:
    """Read histories, each as one of a recipe's sources.

    Raises:
        ConfigurationError: A history is of no source, or a source has no history.
        HistoryError: A history cannot be read.
    """
    from preloader.learning.fit_sources import Given, match

    histories = {str(path): read_history([path], None) for path in paths}
    sources = match(recipe, {name: history.format for name, history in histories.items()})
    return [Given(sources[name], name_of(name), history.rule, history.sessions) for name, history in histories.items()]


def show_gains(console: Console, title: str, found: Mapping[str, Mapping[str, Gain]]) -> None:
    """Print what each predictor gains over the online predictor alone, or why there are no figures."""
    if not found:
        console.print(f"{title}: no figures. {TOO_SHORT}", soft_wrap=True)
        return
    if not console.is_terminal:
        console = Console(width=_PIPED_WIDTH)
    table = Table("", "predictor", title=title, title_justify="left")
    for name in ("items", "top-1", "MRR", "loss", "top-1 gained", "MRR gained", "loss gained"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, gains in found.items():
        for who, gain in gains.items():
            one = gain.metrics
            figures = (f"{value:.3f}" for value in (one.top1, one.mrr, one.log_loss))
            gained = map(_signed, (gain.top1, gain.mrr, gain.log_loss))
            table.add_row(name, who, f"{one.n:,}", *figures, *gained)
    console.print(table)


def _signed(interval: tuple[float, float, float]) -> str:
    mean, low, high = interval
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
