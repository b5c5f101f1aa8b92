"""How time and memory grow with a history: ``python -m benchmarks.bench_growth [--events 1000,10000,…] [--json]``.

Histories of one kind and growing size are generated; each stage runs on each of them in a process of its own, whose
processor time and peak memory the system counts. What a process takes that does nothing but import is measured, too
(`nothing`; `stack` for `train`), and subtracted before the growth is fitted: figure = c · events ** exponent, by least
squares on logarithms over the sizes from 10,000 on. An exponent of 1 is linear growth, 0 none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from benchmarks.harness import machine
from preloader.evaluation import BASELINES, Candidate, evaluate, task_of_split
from preloader.evaluation.cases import walk
from preloader.events import Event
from preloader.history import Session, SplitRule, load_sessions, read, write
from preloader.history.partitions import PartitionedHistory, write_partitions
from preloader.learning.outcomes import OutcomeWorld
from preloader.learning.recipe import DataRecipe, Recipe
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.learning.shards import write_shards
from preloader.ports import Predictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.features import Features, FeatureSettings

SIZES = (1_000, 10_000, 100_000)
_FITTED_FROM = 10_000
_MOST = {"train": 100_000, "online": 100_000}
_USER_EVENTS, _SESSION_EVENTS = 500, 10
_KEYS = tuple(f"tool:item{number}" for number in range(30))
_SETTINGS = FeatureSettings(rows=8, texts=1, words=8)
_MB = 1_000_000


class Measured(msgspec.Struct, frozen=True):
    """What one stage took on one history: processor seconds, peak resident bytes, and bytes on disk afterwards."""

    stage: str
    events: int
    cpu_s: float
    peak_bytes: int
    disk_bytes: int


def history(events: int) -> Iterator[Event]:
    """Yield a history: users of 500 events each, whose sessions alternate, and who mostly follow their habits."""
    users = max(1, events // _USER_EVENTS)
    habits = [random.Random(user).sample(_KEYS, len(_KEYS)) for user in range(users)]
    for number in range(events // users // _SESSION_EVENTS):
        for user, habit in enumerate(habits):
            yield from _session(user, number, habit)


def _session(user: int, number: int, habit: Sequence[str]) -> Iterator[Event]:
    draw = random.Random(f"{user}/{number}")
    time_s, at = 1.7e9 + 86_400.0 * number + user % 3_600, draw.randrange(len(habit))
    for _ in range(_SESSION_EVENTS):
        at = (at + 1) % len(habit) if draw.random() < 2 / 3 else draw.randrange(len(habit))
        yield Event(user=f"user{user}", session=f"session{number}", time_s=time_s, action="use", resources=(habit[at],))
        time_s += draw.expovariate(0.1)


def features(sessions: Iterable[Session]) -> dict[str, np.ndarray]:
    """Return a sequence model's features before every item of one user's sessions, a row an item."""
    make = Features("tool", _KEYS, _SETTINGS)
    rows = [make.of(case.context) for session in sessions for cases, _ in walk(session, "tool") for case in cases]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def nothing(place: Path) -> None:
    """Take what importing takes."""


def convert(place: Path) -> None:
    """Partition the history by user."""
    write_partitions(read(place / "events.jsonl"), place / "history")


def outcomes(place: Path) -> None:
    """Label every key after every event, a user at a time."""
    world = OutcomeWorld("tool", _KEYS)
    for partition in PartitionedHistory(place / "history").partitions():
        for session in partition.sessions():
            world.labels(session)


def prepare(place: Path) -> None:
    """Make a shard of features for every user, and read all in batches once."""
    shards = write_shards(place / "shards", PartitionedHistory(place / "history").partitions(), features, "growth")
    rows = np.random.default_rng(0).permutation(len(shards))
    for start in range(0, len(rows), 256):
        shards.take(rows[start : start + 256])


def stack(place: Path) -> None:
    """Take what importing the training stack takes, too."""
    import preloader.learning.lookahead  # noqa: F401


def train(place: Path) -> None:
    """Fit a small network for two epochs, on examples that are made, kept and read as `preloader train` does."""
    from preloader.learning.lookahead import fit_network  # brings in the training stack
    from preloader.learning.worlds import counterfactuals

    network = NetworkSettings(width=16, hidden=32, word_width=8, user_width=4)
    data, training = DataRecipe("jsonl", ("tool",)), TrainingSettings(epochs=2)
    recipe = Recipe("growth", "sequence", data, features=_SETTINGS, network=network, training=training)
    sessions = load_sessions(place / "events.jsonl")
    outcomes = counterfactuals(recipe, "tool")
    fit_network(sessions, "tool", recipe, outcomes=outcomes, checkpoint=place / "training" / "tool")


def order2(place: Path) -> None:
    """Evaluate order-2 counting, frozen."""
    _evaluate(place, partial(BASELINES["order2"], kinds=("tool",)))


def online(place: Path) -> None:
    """Evaluate the online predictor, frozen."""
    _evaluate(place, partial(OnlinePredictor, kinds=("tool",)))


def _evaluate(place: Path, make: Callable[[], Predictor]) -> None:
    task = task_of_split(load_sessions(place / "events.jsonl"), SplitRule(), "tool")
    evaluate(task, [Candidate("measured", make)], ["frozen"], bootstraps=10)


STAGES: dict[str, Callable[[Path], None]] = {
    stage.__name__: stage for stage in (nothing, convert, outcomes, prepare, stack, train, order2, online)
}
_BASES = {"train": "stack"}


def measure(sizes: Sequence[int]) -> Iterator[Measured]:
    """Run every stage on a history of every size."""
    for events in sizes:
        with TemporaryDirectory() as held:
            place = Path(held)
            count = write(history(events), place / "events.jsonl", "jsonl")
            for stage in STAGES:
                if events <= _MOST.get(stage, events):
                    cpu_s, peak_bytes = _run(stage, place)
                    row = Measured(stage, count, cpu_s, peak_bytes, _disk_bytes(place, stage))
                    print(msgspec.json.encode(row).decode(), file=sys.stderr)  # the largest take minutes
                    yield row


def exponent(events: Sequence[int], figures: Sequence[float]) -> float | None:
    """Return the growth exponent; ``None`` where there is too little to fit."""
    points = [(n, figure) for n, figure in zip(events, figures, strict=True) if n >= _FITTED_FROM and figure > 0]
    if len(points) < 2:
        return None
    x, y = (np.log([point[side] for point in points]) for side in (0, 1))
    return float(np.polyfit(x, y, 1)[0])


def _run(stage: str, place: Path) -> tuple[float, int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_growth", "--stage", stage, "--place", str(place)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the stage {stage} failed")
    unit = 1 if sys.platform == "darwin" else 1_024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit


def _disk_bytes(place: Path, stage: str) -> int:
    folder = {"convert": "history", "prepare": "shards", "train": "training/examples-tool"}.get(stage)
    return sum(file.stat().st_size for file in (place / folder).rglob("*") if file.is_file()) if folder else 0


def _table(rows: Sequence[Measured]) -> str:
    bases = {(row.stage, row.events): row for row in rows}
    sizes = list(dict.fromkeys(row.events for row in rows))
    lines = ["| stage | " + " | ".join(f"{n:,}" for n in sizes) + " | time ~ n^ | memory ~ n^ |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    for stage in STAGES:
        own = [row for row in rows if row.stage == stage]
        cells = [f"{row.cpu_s:.1f} s, {row.peak_bytes / _MB:,.0f} MB" for row in own] + ["-"] * (len(sizes) - len(own))
        events = [row.events for row in own]
        base = [bases[_BASES.get(stage, "nothing"), row.events] for row in own]
        time = exponent(events, [row.cpu_s - under.cpu_s for row, under in zip(own, base, strict=True)])
        memory = exponent(
            events, [max(_MB, row.peak_bytes - under.peak_bytes) for row, under in zip(own, base, strict=True)]
        )
        shown = ["-" if stage in ("nothing", "stack") or fit is None else f"{fit:.2f}" for fit in (time, memory)]
        lines.append("| " + " | ".join([f"`{stage}`", *cells, *shown]) + " |")
    lines += [
        f"\n`{row.stage}` wrote {row.disk_bytes / row.events:,.0f} bytes an event."
        for row in rows
        if row.disk_bytes and row.events == max(sizes)
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default=",".join(map(str, SIZES)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        STAGES[options.stage](options.place)
        return 0
    rows = list(measure([int(size) for size in options.events.split(",")]))
    if options.json:
        print(json.dumps({"machine": machine(), "rows": msgspec.to_builtins(rows)}))
    else:
        print(f"{machine()}\n\n{_table(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
