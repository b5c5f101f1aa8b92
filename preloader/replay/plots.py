"""The figures of a replay's report, but for the timeline. Each returns an ``<svg>`` element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from preloader.replay.calibration import Reliability
from preloader.replay.metrics import Metrics, Saving
from preloader.replay.theme import colour, figure, plain

_BARS = 15
_VISIBLE = 0.005  # of the longest bar
_LABEL_WIDTH = 0.12  # of the axis
_FIRM = 20  # fewer predictions than this do not make a point of the calibration line
_MEMORY_POINTS = 360
_MIN_MARKER, _MAX_MARKER = 15, 160


class FrontierPoint(msgspec.Struct, frozen=True):
    """The chosen policy under one waste budget."""

    waste_budget: float
    metrics: Metrics


def frontier(points: Sequence[FrontierPoint], rows: Mapping[str, Metrics]) -> str:
    """Draw hit rate and coverage against waste, with the comparators as the levels to beat and to reach."""

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        drawn = [point for point in points if point.metrics.waste is not None]
        _frontier_lines(axes, sorted(drawn, key=lambda point: point.metrics.waste or 0.0))
        for run in ("lru", "predictive_eviction", "clairvoyant"):
            level = rows[run].timely_hit_rate
            if level is not None:
                axes.axhline(100 * level, color=colour(run), linestyle=(0, (4, 3)), linewidth=1.4)
        _label_levels(axes, rows)
        axes.set(xlabel="waste: preloads that nobody used (%)", ylabel="needs (%)", ylim=(0, 104))
        axes.set_xlim(left=-1, right=max([10.0, *(115 * (point.metrics.waste or 0.0) for point in drawn)]))
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=2, borderaxespad=0)

    return figure(draw, "Timely hit rate and coverage against waste", height=4.4)


def _frontier_lines(axes: Any, points: Sequence[FrontierPoint]) -> None:
    waste = [100 * (point.metrics.waste or 0.0) for point in points]
    hits = [100 * (point.metrics.timely_hit_rate or 0.0) for point in points]
    coverage = [100 * (point.metrics.coverage or 0.0) for point in points]
    axes.plot(waste, hits, "o-", color=colour("preloader"), linewidth=2, label="timely hit rate: ready when needed")
    axes.plot(waste, coverage, "s-", color=colour("coverage"), linewidth=2, label="coverage: ready, of what lru missed")
    for budgets, x, y, away in _labels(points):
        axes.annotate(
            budgets, (x, y), (0, away), textcoords="offset points", ha="center", size=8, color=colour("muted")
        )


def _labels(points: Sequence[FrontierPoint]) -> list[tuple[str, float, float, int]]:
    """Return each point's waste budget, place, and how far from it to write; points close together share one label."""
    widest = max((point.metrics.waste or 0.0 for point in points), default=0.0)
    groups: list[list[FrontierPoint]] = []
    for point in points:
        if groups and (point.metrics.waste or 0.0) - (groups[-1][0].metrics.waste or 0.0) < widest * _LABEL_WIDTH:
            groups[-1].append(point)
        else:
            groups.append([point])
    labels = []
    for group in groups:
        budgets = sorted({100 * point.waste_budget for point in group})
        text = "≤ " + ", ".join(f"{budget:.0f}" for budget in budgets) + " %"
        x = sum(100 * (point.metrics.waste or 0.0) for point in group) / len(group)
        rates = [100 * (rate or 0.0) for p in group for rate in (p.metrics.timely_hit_rate, p.metrics.coverage)]
        labels.append((text, x, min(rates), -15) if min(rates) > 50 else (text, x, max(rates), 8))
    return labels


def _label_levels(axes: Any, rows: Mapping[str, Metrics]) -> None:
    """Name the comparators at the right end of their lines, moved apart where they lie close together."""
    levels = sorted(
        (rate, run)
        for run in ("lru", "predictive_eviction", "clairvoyant")
        if (rate := rows[run].timely_hit_rate) is not None
    )
    lowest = -100.0
    for rate, run in levels:
        at = max(100 * rate, lowest + 5.5)
        lowest = at
        text = f"{run.replace('_', ' ')} {rate:.0%}"
        place = axes.get_yaxis_transform()
        axes.annotate(text, (1.01, at), xycoords=place, va="center", size=9, color=colour(run), annotation_clip=False)


def saved_by_resource(savings: Sequence[Saving]) -> str:
    """Draw the seconds saved by resource: where most was gained, and everything that was lost."""
    ranked = sorted(savings, key=lambda saving: -abs(saving.saved_s))
    least_s = _VISIBLE * abs(ranked[0].saved_s) if ranked else 0.0
    shown = sorted((s for s in ranked[:_BARS] if abs(s.saved_s) > least_s), key=lambda saving: saving.saved_s)

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.grid(visible=False, axis="y")
        names = [plain(saving.key.partition(":")[2]) for saving in shown]
        colours = [colour("preloader") if saving.saved_s > 0 else colour("bad") for saving in shown]
        axes.barh(range(len(shown)), [saving.saved_s for saving in shown], color=colours, height=0.68)
        axes.set_yticks(range(len(shown)), names)
        axes.axvline(0, color=colour("muted"), linewidth=1)
        axes.margins(x=0.14, y=0.01)
        axes.set_xlabel("seconds of waiting saved, against lru")
        for row, saving in enumerate(shown):
            side, away = ("left", 4) if saving.saved_s > 0 else ("right", -4)
            axes.annotate(
                f"{_share(saving)} of {saving.lru_s:,.0f} s",
                (saving.saved_s, row),
                (away, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                size=8,
                color=colour("muted"),
            )

    return figure(draw, "Time saved by resource", height=0.9 + 0.27 * max(3, len(shown)))


def _share(saving: Saving) -> str:
    return f"{saving.saved_s / saving.lru_s:.0%}" if saving.lru_s else f"{saving.saved_s:+.0f} s"


def calibration(next_item: Reliability, use_if_loaded: Reliability) -> str:
    """Draw stated against observed probability; the area of a marker shows how many predictions it stands for."""

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(1, 2, sharex=True, sharey=True)
        _reliability(panels[0], next_item, "P(next item)", "preloader")
        _reliability(panels[1], use_if_loaded, "P(used if loaded now)", "coverage")
        panels[0].set_ylabel("came true (%)")

    return figure(draw, "Calibration: stated and observed probability", height=3.9)


def _reliability(axes: Any, reliability: Reliability, title: str, role: str) -> None:
    axes.plot([0, 100], [0, 100], color=colour("muted"), linewidth=1, linestyle=(0, (2, 3)))
    bins = reliability.bins
    stated, observed = [100 * bin_.stated for bin_ in bins], [100 * bin_.observed for bin_ in bins]
    most = max((bin_.count for bin_ in bins), default=1)
    sizes = [_MIN_MARKER + (_MAX_MARKER - _MIN_MARKER) * bin_.count / most for bin_ in bins]
    firm = [at for at, bin_ in enumerate(bins) if bin_.count >= _FIRM]
    axes.plot([stated[at] for at in firm], [observed[at] for at in firm], color=colour(role), linewidth=1.5)
    axes.scatter(stated, observed, sizes, color=colour(role), zorder=3)
    error = "no predictions" if reliability.error is None else f"error {100 * reliability.error:.1f} points"
    axes.set_title(f"{title}: {error}", size=10)
    axes.set(xlabel="stated (%)", xlim=(-3, 103), ylim=(-3, 103), aspect="equal")


def memory(points: Sequence[tuple[float, int]], end_s: float, capacity_bytes: int) -> str:
    """Draw resident memory over the whole replay, as mean and maximum of equal stretches, and the budget."""

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        unit_s, unit = _time_unit(end_s)
        edges, mean, peak = _stretches(points, end_s)
        middle = (edges[:-1] + edges[1:]) / 2 / unit_s
        axes.fill_between(middle, peak / 1e9, color=colour("preloader"), alpha=0.18, linewidth=0, label="maximum")
        axes.plot(middle, mean / 1e9, color=colour("preloader"), linewidth=1.4, label="mean")
        axes.axhline(capacity_bytes / 1e9, color=colour("bad"), linewidth=1.4, linestyle=(0, (4, 3)), label="budget")
        axes.set(xlabel=f"replayed time ({unit})", ylabel="resident (GB)", ylim=(0, 1.15 * capacity_bytes / 1e9))
        axes.set_xlim(0, max(end_s, 1.0) / unit_s)
        axes.legend(loc="upper right", bbox_to_anchor=(1, 1.14), ncols=3, borderaxespad=0)

    return figure(draw, "Resident memory over time", height=3.2)


def _stretches(points: Sequence[tuple[float, int]], end_s: float) -> tuple[Any, Any, Any]:
    """Return the edges of equal stretches of time, and in each the time-weighted mean and the maximum held."""
    edges = np.linspace(0.0, max(end_s, 1.0), _MEMORY_POINTS + 1)
    times = np.array([0.0, *(time_s for time_s, _ in points)])
    held = np.array([0.0, *(held for _, held in points)])
    cuts = np.union1d(times, edges)
    value = held[np.searchsorted(times, cuts[:-1], side="right") - 1]
    stretch = np.clip(np.searchsorted(edges, cuts[:-1], side="right") - 1, 0, _MEMORY_POINTS - 1)
    mean, peak = np.zeros(_MEMORY_POINTS), np.zeros(_MEMORY_POINTS)
    np.add.at(mean, stretch, value * np.diff(cuts))
    np.maximum.at(peak, stretch, value)
    return edges, mean / np.diff(edges), peak


def _time_unit(seconds: float) -> tuple[float, str]:
    for size_s, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * size_s:
            return size_s, name
    return 1.0, "seconds"
