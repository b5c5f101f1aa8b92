"""What a scan in C could save: of the search for victims, and of the threshold over predictions, little is scan.

Both go over Python objects. Whatever finds the least density or the large probabilities in a contiguous array, those
have to be gathered into it first. So each row compares the work as it is with the gathering alone, which is what would
be left if the scan cost nothing; NumPy's own argmin and filter, which use the processor's vectors, stand beside them.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.harness import Figure, interleaved, ratio, report
from preloader.cache.predictive import PredictiveEviction
from preloader.decision.policies import ThresholdPolicy
from preloader.events import Prediction
from preloader.ports import Budget, Cost, Resident

_SIZES = (16, 64, 256, 1_024)


def figures() -> Iterator[Figure]:
    """Measure both scans at several numbers of residents and predictions."""
    for size in _SIZES:
        yield from _search(size)
    for size in _SIZES:
        yield from _threshold(size)


def _search(size: int) -> Iterator[Figure]:
    residents, predictions = _residents(size), _predictions(size)
    policy = PredictiveEviction()
    for resident in residents:
        policy.admitted(resident)

    def gather() -> list[float]:
        densities = []
        for resident in residents:
            expected = predictions.get(resident.key)
            worth = expected.p_use_soon * resident.load_s * resident.priority if expected else 0.0
            densities.append(worth / max(1, resident.bytes))
        return densities

    array = np.array(gather())
    sides = {
        "search": _timed(lambda: policy.victims(1, (), predictions)),
        "gather": _timed(gather),
        "scan": _timed(lambda: array.argmin()),
    }
    yield from _rows(f"victim among {size}", interleaved(sides), "search")


def _threshold(size: int) -> Iterator[Figure]:
    predictions = list(_predictions(size).values())
    policy, budget = ThresholdPolicy(), Budget(1, 1, lambda key: Cost(1.0, 1))

    def gather() -> list[float]:
        return [prediction.p_use_if_loaded for prediction in predictions]

    array = np.array(gather())
    sides = {
        "decide": _timed(lambda: policy.decide(predictions, (), budget)),
        "gather": _timed(gather),
        "scan": _timed(lambda: np.flatnonzero(array >= 0.1)),
    }
    yield from _rows(f"decision on {size}", interleaved(sides), "decide")


def _rows(what: str, measured: dict[str, list[float]], whole: str) -> Iterator[Figure]:
    for side, values in measured.items():
        share = f"{ratio(values, measured[whole]):.2f} of it" if side != whole else "as it is"
        yield Figure(what=f"{what}: {side}", measured=statistics.median(values), unit="µs", note=share)


def _residents(size: int) -> list[Resident]:
    rng = random.Random(size)
    return [Resident(f"component:{at}", rng.randrange(50, 500) * 10**6, rng.uniform(0.3, 4.0)) for at in range(size)]


def _predictions(size: int) -> dict[str, Prediction]:
    rng = random.Random(-size)
    likely = [rng.betavariate(0.2, 3.0) for _ in range(size)]
    return {f"component:{at}": Prediction(f"component:{at}", (p / 3,) * 3, p, p) for at, p in enumerate(likely)}


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        calls = 0
        began = time.thread_time_ns()
        while (passed := time.thread_time_ns() - began) < 20_000_000 or calls < 20:
            work()
            calls += 1
        return passed / calls / 1_000

    return measure


if __name__ == "__main__":
    report("bench_scan", figures)
