"""How much of the gap between no preloading and a perfect prefetcher is closed, by workload and budget.

    python -m benchmarks.gap_closed household:seed=7 --cache warm
    python -m benchmarks.gap_closed SGD/dev.jsonl.gz --component skill --train SGD/train.jsonl.gz

The gap is between the timely hit rates of `lru` and `clairvoyant` under the same store, loader and sizes; what a run
closes of it is (its rate - that of `lru`) ÷ (that of `clairvoyant` - that of `lru`). Five size seeds; where sizes are
declared there is nothing to draw, and one replay is enough. Not part of ``make bench``: it takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.harness import machine
from preloader.cli.histories import read_history
from preloader.cli.studies import Source, declared_costs, perform
from preloader.decision.policies import POLICIES
from preloader.evaluation import task_of_parts, task_of_split
from preloader.replay.metrics import Metrics
from preloader.replay.study import Plan, Study

BUDGETS = (3.0, 5.0, 8.0, 12.0)
SEEDS = 5


def gap_closed(rows: dict[str, Metrics], run: str) -> float | None:
    """Return which share of the gap between `lru` and `clairvoyant` a run closes; ``None`` where there is no gap."""
    low, high, ours = (rows[name].timely_hit_rate or 0.0 for name in ("lru", "clairvoyant", run))
    return (ours - low) / (high - low) if high > low else None


def main() -> None:
    """Print a row for each budget."""
    options = _options()
    make, replay = _prepared(options)
    print(f"{options.history.name}, {options.cache} cache, {options.policy}, {machine()}\n")
    print("| B | lru | predictive eviction | preloader | clairvoyant | gap closed | coverage | waste, count / bytes |")
    print("|---|---|---|---|---|---|---|---|")
    for budget in options.budget or BUDGETS:
        rows = replay(make(budget)).rows
        ours = rows["preloader"]
        rates = [rows[run].timely_hit_rate for run in ("lru", "predictive_eviction", "preloader", "clairvoyant")]
        cells = [*rates, gap_closed(rows, "preloader"), ours.coverage]
        shares = " | ".join("-" if cell is None else f"{cell:.1%}" for cell in cells)
        print(f"| {budget:g} | {shares} | {ours.waste or 0:.1%} / {ours.waste_bytes or 0:.1%} |", flush=True)


def _prepared(options: argparse.Namespace) -> tuple[Callable[[float], Plan], Callable[[Plan], Study]]:
    history = read_history([options.history], None, options.fit_percent)
    kind = history.target(options.component)
    train = read_history([options.train], None) if options.train else None
    task = (
        task_of_split(history.sessions, history.rule, kind)
        if train is None
        else task_of_parts(train.sessions, history.sessions, history.rule, kind)
    )
    declared = declared_costs(history, None, kind)
    plan = Plan(
        kind=kind,
        fit=task.fit,
        test=task.test[: options.limit_sessions],
        per_user=history.rule.per_user,
        cache=options.cache,
        seeds=(0,) if declared else tuple(range(options.size_seeds)),
        policy=options.policy,
        provider=declared,
    )
    source = Source(history, "", options.bundle)
    return lambda budget: msgspec.structs.replace(plan, budget=budget), lambda one: perform(one, source)


def history_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what is replayed, which the studies of policies share."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("history", type=Path)
    parser.add_argument("--component")
    parser.add_argument("--train", type=Path, help="Learn from this, and replay all of the history.")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--fit-percent", type=int)
    parser.add_argument("--cache", choices=("cold", "warm"), default="cold")
    parser.add_argument("--limit-sessions", type=int)
    return parser


def _options() -> argparse.Namespace:
    parser = history_parser("gap_closed", __doc__)
    parser.add_argument("--policy", choices=tuple(POLICIES), default="thresholds")
    parser.add_argument("--budget", type=float, action="append", help="In mean sizes; 3, 5, 8 and 12 if not given.")
    parser.add_argument("--size-seeds", type=int, default=SEEDS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
