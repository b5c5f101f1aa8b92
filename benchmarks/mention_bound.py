"""How early dialogues can be prepared for at most: replay with a predictor that reads the annotators' notes.

    python -m benchmarks.mention_bound SGD/train.jsonl.gz --fit-percent 70

The Schema-Guided Dialogue set notes at each of the user's turns which service it is about. A predictor that names that
service, surely and nothing else, is what a perfect listener would be: what it cannot have ready in time was first
spoken of a second before it was needed, and only guessing ahead of the user would help. Not part of ``make bench``: it
needs the data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import machine
from preloader.cli.histories import History
from preloader.evaluation import task_of_split
from preloader.events import Context, Event, Prediction
from preloader.history import Session
from preloader.replay.comparators import NoPredictor
from preloader.replay.script import Repeats
from preloader.replay.study import Laboratory, Plan

KIND = "skill"
_REPEATS: tuple[Repeats, ...] = ("dropped", "kept")


class Listener(NoPredictor):
    """Predicts the skill that annotators noted for the user's latest turn; see `Predictor`.

    Args:
        sessions: With their annotations, resources of the kind ``intent`` whose names begin with the skill.
    """

    name = "listener"

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._meant = {
            (session.user, session.session, event.time_s): meant
            for session in sessions
            for event in session.events
            for meant in _meant(event)
        }

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return the noted skill, for sure; see `Predictor.predict`."""
        for event in reversed(context.recent):
            meant = self._meant.get((context.user, context.session, event.time_s))
            if meant is not None:
                return [Prediction(meant, (1.0,) + (0.0,) * (steps - 1), 1.0, 1.0)]
        return []


def _meant(event: Event) -> list[str]:
    """Return the skill that annotators noted for a turn, if they did."""
    return [f"{KIND}:{intent.partition(':')[2].partition('.')[0]}" for intent in event.keys("intent")[:1]]


def first_spoken_last(sessions: Sequence[Session]) -> float:
    """Return the share of needs, repeats dropped, whose skill is first noted at the very turn before them."""
    needs = late = 0
    for session in sessions:
        turns: list[str] = []
        latest = None
        for event in session.events:
            turns += _meant(event)
            for key in event.keys(KIND):
                if key != latest:
                    needs += 1
                    late += turns[-1:] == [key] and key not in turns[:-1]
                latest = key
    return late / max(needs, 1)


def main() -> None:
    """Replay and print one row for each run, with consecutive repeats dropped and kept."""
    options = _options()
    history = History([options.history], "sgd", options.fit_percent)
    test = task_of_split(history.sessions, history.rule, KIND).test if options.fit_percent else history.sessions
    listener = Listener(history.sessions)
    print(f"{options.history.name}, {len(test):,} dialogues, {machine()}")
    print(f"{first_spoken_last(test):.1%} of the needs are first spoken of in the turn right before them\n")
    print("| repeats | run | timely hits | late hits | misses | coverage | waste |")
    print("|---|---|---|---|---|---|---|")
    for repeats in _REPEATS:
        plan = Plan(kind=KIND, fit=[], test=test, per_user=False, repeats=repeats, waste=options.waste_budget)
        rows = Laboratory(plan, lambda: listener).conduct().rows
        for run, row in rows.items():
            name = listener.name if run == "preloader" else run
            shares = (row.timely_hit_rate, row.late_hits / row.needs, row.misses / row.needs, row.coverage)
            waste = "-" if row.waste is None else f"{row.waste:.1%}"
            print(f"| {repeats} | {name} | " + " | ".join(f"{share:.1%}" for share in shares) + f" | {waste} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mention_bound", description=__doc__)
    parser.add_argument("history", type=Path, help="A part of the Schema-Guided Dialogue set.")
    parser.add_argument("--fit-percent", type=int, help="Replay what is left when so much is learned from.")
    parser.add_argument("--waste-budget", type=float, default=0.1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
