"""The table of ``preloader workspace evaluate``, and its plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from preloader.errors import MissingExtraError
from preloader.workspace.ablation import RECALLS, Without
from preloader.workspace.evaluate import CurvePoint, Report, Row

_NONE = "-"


def show(console: Console, report: Report, without: Sequence[Without]) -> None:
    """Print the measures, a line each, and what the ranker is worth without each sort of signal."""
    counts = ", ".join(f"{count} to {name}" for name, count in report.sessions.items())
    console.print(f"Sessions: {counts}. Ranges are 95 % intervals, bootstrapped over sessions.", highlight=False)
    for repository in dict.fromkeys(row.repository for row in report.rows):
        console.print(_measures(repository, [row for row in report.rows if row.repository == repository]))
    if without:
        console.print(_ablation(without))


def _measures(repository: str, rows: Sequence[Row]) -> Table:
    table = Table(title=repository, title_justify="left", title_style="bold", box=SIMPLE, padding=0, pad_edge=False)
    for heading in ("measure", "value", "95 %", "baseline", "of"):
        table.add_column(heading, justify="left" if heading == "measure" else "right", no_wrap=True)
    for row in rows:
        table.add_row(row.measure, _share(row.value), _range(row), _share(row.baseline), f"{row.n:,.0f}")
    return table


def _ablation(without: Sequence[Without]) -> Table:
    table = Table(title="The file ranker without …", title_justify="left", box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("signal")
    for recall in RECALLS:
        table.add_column(f"precision at {recall:.0%} recall", justify="right")
    for one in without:
        table.add_row(one.signal or "nothing left out", *map(_share, one.precision))
    return table


def _share(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _range(row: Row) -> str:
    return _NONE if row.low is None else f"{_share(row.low)}-{_share(row.high)}"


def draw(curve: Sequence[CurvePoint], path: Path) -> None:
    """Draw precision and the share of warm reads against cold recall.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("report", "a plot") from error
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    recall = [100 * point.recall for point in curve]
    axes.plot(recall, [100 * point.precision for point in curve], "o-", label="prepared files that are then read")
    axes.plot(recall, [100 * point.reads_warm for point in curve], "s--", label="all reads served warm")
    axes.plot([60, 70], [50, 40], "k*", markersize=11, linestyle="none", label="to hold: 50 % at 60 %, 40 % at 70 %")
    axes.set(xlabel="cold reads whose file was ready (%)", ylabel="%", xlim=(0, 100), ylim=(0, 100))
    axes.set_title("At most five new files a step; each point is one threshold", loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=110)
