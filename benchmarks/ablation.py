"""What each part of a learned model is worth: the same recipe with one part left out, trained and scored anew.

    python -m benchmarks.ablation --history HISTORY --recipe training/recipes/agent-sessions.toml --target tool

Not part of ``make bench``: it trains the recipe once for each part. Every row is scored on the history's test part,
frozen and online, as ``preloader evaluate`` does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PARTS: dict[str, list[str]] = {
    "everything": [],
    "without text": ["features.use_words=false", "online.words=false"],
    "without time": ["features.use_times=false", "online.times=false"],
    "without user": ["features.use_users=false", "online.users=false"],
    "without calibration": ["sequence.calibrate=false"],
}
"""What is left out, and the fields of the recipe that leave it out."""


def main() -> None:
    """Train, score and print one row for each part, and the experts of the whole one alone: no mixture."""
    options = _options()
    print("| what | learning | step | top-1 (95 %) | top-3 | top-5 | MRR | log loss | ECE | of decisions |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, overrides in PARTS.items():
        if not options.parts or name in options.parts:
            for row in _rows(options, name, overrides):
                print(row, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--history", required=True, help="What is learned from, and tested on.")
    parser.add_argument("--test", help="An official test part; the history is then learned whole.")
    parser.add_argument("--validation", help="An official part to validate on.")
    parser.add_argument("--recipe", required=True, type=Path)
    parser.add_argument("--target", required=True, help="The kind of item.")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="Override the recipe.")
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), help="Only these.")
    return parser.parse_args()


def _rows(options: argparse.Namespace, name: str, overrides: list[str]) -> Iterator[str]:
    with TemporaryDirectory() as made:
        bundle = Path(made) / "bundle"
        fixed = [f'data.kinds=["{options.target}"]', "validation.baselines=[]", *options.assignments, *overrides]
        train = ["train", "--history", options.history, "--recipe", str(options.recipe), "--out", str(bundle), "--json"]
        if options.validation:
            train += ["--validation", options.validation]
        _preloader(*train, *(word for one in fixed for word in ("--set", one)))
        experts = ["mixture", f"sequence_{options.target}"] if name == "everything" else ["mixture"]
        score = ["evaluate", options.test or options.history, "--target", options.target, "--bundle", str(bundle)]
        if options.test:
            score += ["--train", options.history]
        told = _preloader(*score, "--json", *(word for one in experts for word in ("--predictor", one)))
    for row in told["rows"]:
        if row["predictor"] == "mixture" or row["learn"] == "frozen":
            yield _row(name if row["predictor"] == "mixture" else "without mixture: the network alone", row)


def _row(name: str, row: dict[str, Any]) -> str:
    figures = (row[field] for field in ("top3", "top5", "mrr", "log_loss", "ece", "ece_decisions"))
    shown = " | ".join("-" if figure is None else f"{figure:.3f}" for figure in figures)
    top1 = f"{row['top1']:.3f} ({row['top1_low']:.3f}-{row['top1_high']:.3f})"
    return f"| {name} | {row['learn']} | {row['step']} | {top1} | {shown} |"


def _preloader(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "preloader", *arguments], check=True, stdout=subprocess.PIPE)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
