"""The tables of ``preloader evaluate``: the next item first, then the steps after it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preloader.evaluation import Row
from preloader.evaluation.task import TaskSummary

_FIGURES = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "mrr": "MRR",
    "log_loss": "log\nloss",
    "ece": "ECE",
    "ece_decisions": "ECE\n≥ .3",
}
_SMALLER_IS_BETTER = ("log_loss", "ece", "ece_decisions")
_CAPTION = "Ranges are 95 % intervals, bootstrapped over sessions. ECE ≥ .3 is of all predictions of at least .3."


def show(console: Console, kind: str, summary: TaskSummary, rows: Sequence[Row]) -> None:
    """Print one table for each step and way of learning; in each, the best figure of a column is bold."""
    console.print(
        f"{kind}: {summary.test_items:,} items of {summary.test_sessions:,} sessions, {summary.unseen_share:.1%} new; "
        f"learned {summary.fit_items:,} of {summary.fit_sessions:,} sessions, {summary.vocabulary:,} distinct.",
        markup=False,
        highlight=False,
    )
    console.print()
    for step, learn in dict.fromkeys((row.step, row.learn) for row in sorted(rows, key=lambda row: row.step)):
        console.print(_table([row for row in rows if (row.step, row.learn) == (step, learn)]))
    console.print(Text(_CAPTION, style="dim"))


def _table(rows: Sequence[Row]) -> Table:
    first = rows[0]
    ahead = "the next item" if first.step == 1 else f"{first.step} items ahead"
    title = f"Step {first.step}, {ahead}, {first.learn} ({first.n:,} predictions)"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("predictor", no_wrap=True)
    best = {}
    for name, heading in _FIGURES.items():
        table.add_column(heading, justify="right", no_wrap=True)
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        best[name] = (min if name in _SMALLER_IS_BETTER else max)(values, default=None)
    for row in rows:
        table.add_row(row.predictor, *(_cell(row, name, best[name]) for name in _FIGURES))
    return table


def _cell(row: Row, name: str, best: float | None) -> Text:
    value: float | None = getattr(row, name)
    if value is None:
        return Text("-", style="dim")
    cell = Text(_short(value, 3), style="bold" if value == best else "")
    low, high = (getattr(row, f"{name}_{end}", None) for end in ("low", "high"))
    if low is not None and high is not None:
        cell.append(f" {_short(low, 2)}-{_short(high, 2)}", style="not bold dim")
    return cell


def _short(value: float, decimals: int) -> str:
    """Write a figure without the zero before its decimals."""
    return f"{value:.{decimals}f}".removeprefix("0") if value < 1 else f"{value:.{decimals}f}"
