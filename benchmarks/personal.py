"""What personalisation is worth to users whom the base has never seen: bases learn some users, adapters the others.

    python -m benchmarks.personal --history HISTORY --recipe training/recipes/agent-commands.toml --target tool_command

Users are divided into folds. Of each fold's users the base and the online predictor know nothing but what they learn
here: their fit parts teach their adapters and the online predictor, and all users' test parts are scored together.

Not part of ``make bench``: it trains a base for each fold, and takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import process_time

import msgspec

from preloader.cli.histories import read_history
from preloader.evaluation import Candidate, Row, Task, evaluate, task_of_split
from preloader.events import Context, Event, Prediction
from preloader.history import Session
from preloader.history.annotations import without_annotations
from preloader.learning.base import Base
from preloader.learning.comparison import Gain, compare
from preloader.learning.fit import learn, online
from preloader.learning.lookahead import fit_network
from preloader.learning.network import SequenceNetwork
from preloader.learning.parallel import single_threaded
from preloader.learning.personalise import PersonalSettings, personalise
from preloader.learning.recipe import Recipe, read_recipe
from preloader.ports import Predictor, Snapshot
from preloader.prediction.distribution import Distribution, distribution_of
from preloader.prediction.mixture_state import under
from preloader.prediction.sequence import Calibration

PAIRS = (("personalised", "base"), ("personalised", "online"))
"""Whose differences are shown."""


class Apart:
    """Each user's own predictor.

    Args:
        predictors: They, by user.
    """

    name = "apart"

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = predictors

    def learn_one(self, event: Event) -> None:
        """Let the user's own learn."""
        self._predictors[event.user].learn_one(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return what the user's own says."""
        return self._predictors[context.user].predict(context, steps)

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what the user's own says of one kind."""
        return distribution_of(self._predictors[context.user], context, kind, steps)

    def snapshot(self) -> Snapshot:
        """Return the states of all users' own."""
        parts = {user: predictor.snapshot() for user, predictor in self._predictors.items()}
        arrays = {f"{user}.{name}": array for user, part in parts.items() for name, array in part.arrays.items()}
        return Snapshot({user: part.meta for user, part in parts.items()}, arrays)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the states of all users' own."""
        for user, meta in snapshot.meta.items():
            self._predictors[user].restore(Snapshot(meta, under(snapshot.arrays, user)))


@single_threaded()
def main() -> None:
    """Train, personalise, and print what the left-out users gain."""
    options = _options()
    overrides = [f"data.kinds=[{options.target!r}]", "sequence.members=1", *options.assignments]
    recipe = read_recipe(options.recipe, overrides)
    history = read_history([options.history], recipe.data.format)
    task = task_of_split(history.sessions, history.rule, options.target)
    task = msgspec.structs.replace(task, fit=[without_annotations(one, task.kind) for one in task.fit], steps=1)
    users = sorted({one.user for one in task.fit})
    found: dict[str, dict[str, Predictor]] = {"base": {}, "online": {}, "personalised": {}}
    for fold in range(options.folds):
        for name, predictors in _fold(task, users[fold :: options.folds], recipe, options).items():
            found[name] |= predictors
    _print(task, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.personal", description=__doc__)
    parser.add_argument("--history", required=True, type=Path, help="What is learned from, and tested on.")
    parser.add_argument("--recipe", required=True, type=Path, help="How the bases are trained.")
    parser.add_argument("--target", required=True, help="The kind of item.")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="Override the recipe.")
    parser.add_argument("--folds", type=int, default=4, help="Into how many folds users are divided.")
    parser.add_argument("--adapt", default="{}", help="What is other than `PersonalSettings`, in JSON.")
    return parser.parse_args()


def _fold(
    task: Task, users: Sequence[str], recipe: Recipe, options: argparse.Namespace
) -> dict[str, dict[str, Predictor]]:
    """Return what serves users whom a base has not learned."""
    started_s = process_time()
    others = [one for one in task.fit if one.user not in users]
    trained = fit_network(others, task.kind, recipe)
    network = trained.network
    assert isinstance(network, SequenceNetwork)
    base = Base(network, trained.spec(Calibration(temperatures=(1.0,) * network.steps)), trained.users)
    fitted_s = process_time()
    own = {user: [one for one in task.fit if one.user == user] for user in users}
    settings = msgspec.json.decode(options.adapt, type=PersonalSettings)
    found: dict[str, dict[str, Predictor]] = {"base": {}, "online": {}, "personalised": {}}
    for done in personalise(base, own, settings):
        personal = base if done.adapter is None else done.adapter.personal(base)
        counting = online(recipe, (task.kind,))
        learn(counting, others)
        found["base"][done.user] = _taught(base.predictor(), own[done.user])
        found["online"][done.user] = _taught(counting, own[done.user])
        found["personalised"][done.user] = _taught(personal.predictor(), own[done.user])
        kept = "kept" if done.adapter else "not kept"
        print(f"{done.user}: {kept}, {done.base_loss:.3f} to {done.loss:.3f} nats, ± {done.error:.3f}", flush=True)
    spent_s = process_time()
    print(f"base {fitted_s - started_s:.0f} s, {len(users)} adapters {spent_s - fitted_s:.0f} s of processor time")
    return found


def _taught(predictor: Predictor, sessions: Sequence[Session]) -> Predictor:
    learn(predictor, sessions)
    return predictor


def _print(task: Task, found: Mapping[str, Mapping[str, Predictor]]) -> None:
    candidates = [Candidate(name, partial(Apart, predictors), fitted=True) for name, predictors in found.items()]
    print("\n| | n | top-1 | top-3 | top-5 | MRR | log loss | ECE |\n|---|---|---|---|---|---|---|---|")
    for row in evaluate(task, candidates, learn=("frozen",)):
        print(_row(row), flush=True)
    print("\n| difference (95 % interval over sessions) | top-1 | nats gained |\n|---|---|---|")
    for one, other in PAIRS:
        compared = compare(partial(Apart, found[one]), partial(Apart, found[other]), task, "frozen")
        if compared is not None:
            print(f"| {one}, not {other} | {_gain(compared.top1_gain)} | {_gain(compared.log_loss_gain)} |")


def _row(row: Row) -> str:
    figures = (row.top1, row.top3, row.top5, row.mrr, row.log_loss, row.ece)
    return f"| {row.predictor} | {row.n:,} | {' | '.join(f'{value:.3f}' for value in figures if value is not None)} |"


def _gain(gain: Gain) -> str:
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


if __name__ == "__main__":
    main()
