"""Eviction alone: what each policy keeps of a history's needs, with nothing loaded ahead.

    python -m benchmarks.eviction household:seed=7 --cache warm
    python -m benchmarks.eviction SGD/dev.jsonl.gz --component skill --train SGD/train.jsonl.gz
    python -m benchmarks.eviction --units

Each policy serves the same needs from the same store by the same loader, beside predictive eviction without the record
of each key's accuracy, and the clairvoyant one, which knows when everything is needed next. Beside the hits stands how
much of the waiting that the clairvoyant saves over LRU a policy saves. With ``--units`` the objects are all of one size
and far more than fit, and the traces are made up: the regime that the published policies were made for. Not part of
``make bench``: it takes minutes.
"""

from __future__ import annotations

import argparse
import random
import statistics
from bisect import bisect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from pathlib import Path
from unittest.mock import patch

from benchmarks.harness import machine
from preloader.cache import Entry, Store, make_eviction
from preloader.cache.accuracy import UseRecord
from preloader.cache.eviction import EVICTIONS
from preloader.cli.histories import History
from preloader.cli.studies import declared_costs
from preloader.decision import make_policy
from preloader.evaluation import Task, task_of_parts, task_of_split
from preloader.events import NeedOutcome
from preloader.ports import EvictionPolicy, Loaded, Provider
from preloader.prediction import OnlinePredictor
from preloader.replay.clairvoyant import ClairvoyantEviction, Foresight
from preloader.replay.comparators import NoPredictor
from preloader.replay.rehearsal import Rehearsal
from preloader.replay.run import Cast, Casting, Recording, World, play
from preloader.replay.script import SessionScript, vocabulary, write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes

CLAIRVOYANT = "clairvoyant"
AS_STATED = "predictive, as stated"
RUNS = (*EVICTIONS, AS_STATED, CLAIRVOYANT)


class Study:
    """Replays the test part of one task under every policy.

    Args:
        task: What is learned before, and what is replayed.
        per_user: Whether each user is a stream.
        options: Of the command line.
    """

    def __init__(self, task: Task, per_user: bool, options: argparse.Namespace) -> None:
        self._task = task
        self._cache = options.cache
        test = task.test[: options.limit_sessions]
        self.script = write_script(test, task.kind, options.repeats, per_user)
        self._vocabulary = vocabulary(task.fit, task.kind) | vocabulary(test, task.kind)
        events = sum(len(session.steps) for session in self.script)
        self._rehearsal = Rehearsal(self._taught, events)

    def _taught(self) -> OnlinePredictor:
        predictor = OnlinePredictor(kinds=(self._task.kind,))
        for session in self._task.fit:
            for event in session.events:
                predictor.learn_one(event.known_at(event.time_s))
        return predictor

    def recording(self, run: str, budget: float, provider: Provider) -> Recording:
        """Play one policy with a store of ``budget`` mean sizes."""
        capacity_bytes = round(budget * mean_bytes(self._vocabulary, provider))
        world = World(provider, self._task.kind, capacity_bytes, self._cache)
        believed = patch.object(UseRecord, "corrected", _as_stated) if run == AS_STATED else nullcontext()
        with believed:
            return play(run, self.script, world, self._casting(run, provider))

    def _casting(self, run: str, provider: Provider) -> Casting:
        refuse = make_policy("none", None)
        if run == CLAIRVOYANT:
            return partial(_clairvoyant, provider)
        if run not in ("predictive", AS_STATED):
            return lambda sessions: Cast(NoPredictor(), refuse, make_eviction(run))
        predictor = self._rehearsal.predictor()
        return lambda sessions: Cast(predictor, refuse, make_eviction("predictive"))


def _as_stated(record: UseRecord, key: str, p_use_soon: float) -> float:
    """Stand in for `UseRecord.corrected`: what the record of each key is worth shows where it is not used."""
    return p_use_soon


def _clairvoyant(provider: Provider, sessions: Sequence[SessionScript]) -> Cast:
    foresight = Foresight(sessions, provider.dependencies)
    return Cast(NoPredictor(), make_policy("none", None), ClairvoyantEviction(foresight), (foresight.served,))


def history_table(options: argparse.Namespace) -> None:
    """Print hits and the seconds that needs waited, by policy and budget, means over the size seeds."""
    history = History([options.history], options.format, options.fit_percent)
    kind = options.component or history.target(None)
    if options.train:
        task = task_of_parts(History([options.train], options.format).sessions, history.sessions, history.rule, kind)
    else:
        task = task_of_split(history.sessions, history.rule, kind)
    study = Study(task, history.rule.per_user, options)
    declared = declared_costs(history, None, kind)
    worlds = [declared or SimulatedProvider(partial(drawn_cost, seed=seed)) for seed in range(options.size_seeds)]
    worlds = worlds[:1] if declared else worlds
    print(f"{options.history.name}, {kind}, {len(study.script):,} sessions, {options.cache}, {machine()}")
    print("| policy | " + " | ".join(f"B = {budget:g}" for budget in options.budgets) + " |")
    print("|---" * (1 + len(options.budgets)) + "|")
    cells = {(run, budget): [_share(study.recording(run, budget, world)) for world in worlds]
             for budget in options.budgets for run in RUNS}  # fmt: skip
    for run in RUNS:
        print(f"| `{run}` | " + " | ".join(_cell(cells, run, budget) for budget in options.budgets) + " |")


def _share(recording: Recording) -> tuple[float, float]:
    hits = sum(need.outcome is NeedOutcome.HIT for need in recording.needs)
    return hits / len(recording.needs), sum(need.waited_s for need in recording.needs)


def _cell(cells: dict[tuple[str, float], list[tuple[float, float]]], run: str, budget: float) -> str:
    """Return hits in percent, and how much of the waiting that clairvoyant eviction saves over LRU this one saves."""
    hits = statistics.mean(hit for hit, _ in cells[run, budget])
    ours, lru, best = (sum(waited for _, waited in cells[name, budget]) for name in (run, "lru", CLAIRVOYANT))
    return f"{hits:.1%}, {(lru - ours) / max(lru - best, 1e-9):+.0%}"


class _Mute:
    """Loads nothing: the entries of unit traces have no value."""

    immutable = True


def unit_hits(policy: EvictionPolicy, trace: Sequence[int], capacity: int) -> float:
    """Return the share of accesses that a store of unit entries serves."""
    store, provider, hits = Store(capacity, policy), _Mute(), 0
    for number in trace:
        key = f"unit:{number}"
        if (entry := store.get(key)) is not None:
            hits += 1
            store.used(entry)
            continue
        store.missed(key)
        for victim in store.victims(1, {}) or ():
            store.evict(victim)
        store.admit(Entry(key, Loaded(None, 1), provider, 1.0, None))  # type: ignore[arg-type]
    return hits / len(trace)


def belady_hits(trace: Sequence[int], capacity: int) -> float:
    """Return the share that evicting what is needed furthest ahead serves."""
    following: list[float] = [float("inf")] * len(trace)
    seen: dict[int, int] = {}
    for at in range(len(trace) - 1, -1, -1):
        following[at] = seen.get(trace[at], float("inf"))
        seen[trace[at]] = at
    resident: dict[int, float] = {}
    hits = 0
    for at, number in enumerate(trace):
        hits += number in resident
        if number not in resident and len(resident) == capacity:
            del resident[max(resident, key=resident.__getitem__)]
        resident[number] = following[at]
    return hits / len(trace)


def zipf(rng: random.Random, length: int) -> list[int]:
    """Return accesses to 3,000 objects by Zipf's law with exponent 0.9."""
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(3_000)))
    return [bisect(weights, rng.random() * weights[-1]) for _ in range(length)]


def scans(rng: random.Random, length: int) -> list[int]:
    """Return Zipf accesses with long walks in between over objects that never come again."""
    trace: list[int] = []
    fresh = 10_000
    while len(trace) < length:
        trace += zipf(rng, rng.randrange(100, 600))
        walk = rng.randrange(50, 300)
        trace += range(fresh, fresh + walk)
        fresh += walk
    return trace[:length]


def loops(rng: random.Random, length: int) -> list[int]:
    """Return rounds over working sets of 20 to 400 objects."""
    trace: list[int] = []
    while len(trace) < length:
        first, size = rng.randrange(300), rng.randrange(20, 400)
        trace += list(range(first, first + size)) * rng.randrange(2, 8)
    return trace[:length]


def drifting(rng: random.Random, length: int) -> list[int]:
    """Return Zipf accesses whose popular objects are others every 2,000 accesses."""
    return [number + 97 * (at // 2_000) for at, number in enumerate(zipf(rng, length))]


TRACES: dict[str, Callable[[random.Random, int], list[int]]] = {
    maker.__name__: maker for maker in (zipf, scans, loops, drifting)
}


def unit_table(options: argparse.Namespace) -> None:
    """Print hits by policy and made-up trace, for small and larger stores; nothing is predicted here."""
    length, seeds = 10_000, range(options.size_seeds)
    columns = [(name, capacity) for name in TRACES for capacity in (5, 100)]
    print(f"unit sizes, {length:,} accesses, {machine()}")
    print("| policy | " + " | ".join(f"{name}, {capacity}" for name, capacity in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for run in (*EVICTIONS, CLAIRVOYANT):
        if run == "predictive":
            continue
        cells = []
        for name, capacity in columns:
            traces = [TRACES[name](random.Random(seed), length) for seed in seeds]
            cells.append(statistics.mean(_hits(run, trace, capacity) for trace in traces))
        print(f"| `{run}` | " + " | ".join(f"{cell:.1%}" for cell in cells) + " |")


def _hits(run: str, trace: Sequence[int], capacity: int) -> float:
    if run == CLAIRVOYANT:
        return belady_hits(trace, capacity)
    return unit_hits(make_eviction(run), trace, capacity)


def main() -> None:
    """Print one table."""
    options = _options()
    if options.units:
        unit_table(options)
    else:
        history_table(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eviction", description=__doc__)
    parser.add_argument("history", type=Path, nargs="?", default=Path("household:seed=7"))
    parser.add_argument("--units", action="store_true", help="Made-up traces of unit sizes instead of a history.")
    parser.add_argument("--format")
    parser.add_argument("--component", help="The resource kind; the format's first by default.")
    parser.add_argument("--train", type=Path, help="Learn this history, and replay all of the other.")
    parser.add_argument("--fit-percent", type=int)
    parser.add_argument("--budgets", type=float, nargs="+", default=[3.0, 5.0, 8.0, 12.0])
    parser.add_argument("--cache", choices=["cold", "warm"], default="cold")
    parser.add_argument("--repeats", choices=["dropped", "kept"], default="dropped")
    parser.add_argument("--size-seeds", type=int, default=5)
    parser.add_argument("--limit-sessions", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
