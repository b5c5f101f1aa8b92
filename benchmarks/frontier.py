"""Timely hits and coverage against waste, for every policy, with a waste budget and without: one table, one figure.

    python -m benchmarks.frontier agent-sessions/events.jsonl.gz --component tool --out build/agents
    python -m benchmarks.frontier SGD/dev.jsonl.gz --component skill --train SGD/train.jsonl.gz --out build/dev

Under a budget the share α is varied; without one what each policy has itself: where `thresholds` cuts, the price of
`expected_value`, the share that `conformal` aims at. All runs of a workload repeat the predictions of the first. Writes
``OUT.json``, and ``OUT.png`` where matplotlib is installed. Not part of ``make bench``: it takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.gap_closed import history_parser
from benchmarks.harness import machine
from preloader.cli.histories import read_history
from preloader.cli.studies import declared_costs
from preloader.decision import ConformalPolicy, ExpectedValuePolicy, ThresholdPolicy, Thresholds, make_policy
from preloader.errors import require
from preloader.evaluation import Task, task_of_parts, task_of_split
from preloader.history.annotations import without_annotations
from preloader.ports import DecisionPolicy, Predictor
from preloader.prediction import OnlinePredictor, load_bundle
from preloader.replay.comparators import Contender, castings, contending
from preloader.replay.metrics import Metrics, measure
from preloader.replay.rehearsal import Rehearsal
from preloader.replay.run import World, play
from preloader.replay.script import vocabulary, write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes

SHARES = (0.02, 0.05, 0.10, 0.20, 0.40)
_CUTS = (0.3, 0.5, 0.7, 0.9, 0.97)
_COLOURS = {"thresholds": "#2563c9", "expected_value": "#c2571a", "conformal": "#2b8a3e"}

Choice = tuple[str, float | None, float | None, Callable[[], DecisionPolicy]]
"""A policy's name, the budget's share, the policy's own parameter, and what makes it."""


class Point(msgspec.Struct, frozen=True):
    """One run: a policy, the budget's share if there is one, the policy's own parameter if that was varied."""

    policy: str
    share: float | None
    parameter: float | None
    metrics: Metrics


def choices() -> Iterator[Choice]:
    """Yield every policy, under every budget and without one."""
    for name in _COLOURS:
        for share in SHARES:
            yield name, share, None, partial(make_policy, name, share)
    for cut in _CUTS:
        at = Thresholds(background=cut, delayed=max(cut, 0.7), immediate=max(cut, 0.9))
        yield "thresholds", None, cut, partial(ThresholdPolicy, at)
        yield "expected_value", None, cut / (1.0 - cut), partial(ExpectedValuePolicy, cut / (1.0 - cut))
    for share in SHARES:
        yield "conformal", None, share, partial(ConformalPolicy, share)


def main() -> None:
    """Play every choice, print the table and write the files."""
    options = _options()
    points, lru, clairvoyant = _played(options)
    print(f"{options.history.name}, {options.cache} cache, B = {options.budget:g}, {machine()}")
    print(f"lru {lru.timely_hit_rate:.1%}, clairvoyant {clairvoyant.timely_hit_rate:.1%}\n")
    print("| policy | budget | parameter | timely hits | coverage | waste, count / bytes | preloads |")
    print("|---|---|---|---|---|---|---|")
    for one in points:
        row, share = one.metrics, "-" if one.share is None else f"{one.share:.0%}"
        own = "" if one.parameter is None else f"{one.parameter:.2g}"
        waste = f"{row.waste or 0:.1%} / {row.waste_bytes or 0:.1%}"
        print(
            f"| {one.policy} | {share} | {own} | {row.timely_hit_rate or 0:.1%} | {row.coverage or 0:.1%} | {waste} "
            f"| {row.preloads:,.0f} |"
        )
    document = {"history": options.history.name, "lru": lru, "clairvoyant": clairvoyant, "points": points}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_bytes(msgspec.json.encode(document))
    draw(options.out.with_suffix(".png"), options.history.name, points, lru, clairvoyant)


def draw(path: Path, title: str, points: Sequence[Point], lru: Metrics, clairvoyant: Metrics) -> None:
    """Draw timely hits and coverage against waste: solid with the budget, dotted without."""
    figures: Any = require("matplotlib.figure", "report")
    canvas = figures.Figure(figsize=(11, 4.6), layout="constrained")
    panels = canvas.subplots(1, 2, sharex=True)
    for axes, field in zip(panels, ("timely_hit_rate", "coverage"), strict=True):
        for name, colour in _COLOURS.items():
            for budgeted, style in ((True, "o-"), (False, "^:")):
                rows = [one.metrics for one in points if one.policy == name and (one.share is not None) is budgeted]
                rows = sorted((row for row in rows if row.waste is not None), key=lambda row: row.waste or 0.0)
                label = f"{name}, {'budget' if budgeted else 'alone'}"
                waste = [100 * (row.waste or 0.0) for row in rows]
                axes.plot(waste, [100 * (getattr(row, field) or 0.0) for row in rows], style, color=colour, label=label)
        axes.set(xlabel="waste by count (%)", title=field.replace("_", " ") + " (%)", ylim=(0, 108))
        axes.grid(alpha=0.3)
        axes.axvline(10, color="#999999", linewidth=0.8)
    for row, where in ((lru, "lru"), (clairvoyant, "clairvoyant")):
        panels[0].axhline(100 * (row.timely_hit_rate or 0.0), color="#777777", linestyle="--", linewidth=0.9)
        panels[0].annotate(
            where,
            (0.99, 100 * (row.timely_hit_rate or 0.0)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
        )
    panels[1].legend(fontsize=8, loc="lower right")
    canvas.suptitle(title)
    canvas.savefig(path, dpi=110)


def _played(options: argparse.Namespace) -> tuple[list[Point], Metrics, Metrics]:
    history = read_history([options.history], None, options.fit_percent)
    kind = history.target(options.component)
    task = _task(options, history, kind)
    fit, test = ([without_annotations(one, kind) for one in part] for part in (task.fit, task.test))
    script = write_script(test[: options.limit_sessions], kind, "dropped", history.rule.per_user)
    provider = declared_costs(history, None, kind) or SimulatedProvider(lambda key: drawn_cost(key, options.size_seed))
    known = vocabulary(fit, kind) | vocabulary(test, kind)
    world = World(provider, kind, round(options.budget * mean_bytes(known, provider)), options.cache)
    rehearsal = Rehearsal(_learned(options, fit, kind), sum(len(session.steps) for session in script))
    base = Contender(rehearsal.predictor, lambda: make_policy("none"))
    by_run = castings(base, provider)
    lru, clairvoyant = (play(run, script, world, by_run[run]) for run in ("lru", "clairvoyant"))
    points = []
    for name, share, parameter, policy in choices():
        contender = msgspec.structs.replace(base, policy=policy)
        recording = play("preloader", script, world, contending(contender))
        row = measure("preloader", recording.needs, recording.preloads, lru.needs, clairvoyant.needs)
        points.append(Point(name, share, parameter, row))
    ends = [measure(one.run, one.needs, one.preloads, lru.needs, clairvoyant.needs) for one in (lru, clairvoyant)]
    return points, ends[0], ends[1]


def _task(options: argparse.Namespace, history: Any, kind: str) -> Task:
    if options.train is None:
        return task_of_split(history.sessions, history.rule, kind)
    return task_of_parts(read_history([options.train], None).sessions, history.sessions, history.rule, kind)


def _learned(options: argparse.Namespace, fit: Sequence[Any], kind: str) -> Callable[[], Predictor]:
    """Return what makes the predictor, of the bundle or taught the fit sessions; only the first is ever used."""
    if options.bundle is not None:
        bundle = load_bundle(options.bundle)
        return lambda: bundle.predictor(kinds=(kind,))

    def make() -> Predictor:
        predictor = OnlinePredictor(kinds=(kind,), horizon=3)
        for session in fit:
            for event in session.events:
                predictor.learn_one(event.known_at(event.time_s))
        return predictor

    return make


def _options() -> argparse.Namespace:
    parser = history_parser("frontier", __doc__)
    parser.add_argument("--budget", type=float, default=5.0, help="In mean sizes.")
    parser.add_argument("--size-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/frontier"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
