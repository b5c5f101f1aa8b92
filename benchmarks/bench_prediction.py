"""What learning and predicting cost, against counting (`order2`) and against a small neural network in plain NumPy.

Thread CPU time, one event after the other as a manager sees them, the contenders interleaved; medians over rounds.
Run with ``python benchmarks/bench_prediction.py``.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from preloader.evaluation.baselines import BASELINES
from preloader.events import Context, ContextTracker, Event
from preloader.ports import Predictor
from preloader.prediction import OnlinePredictor

RESOURCES = 100
WARM_UP, ROUND, ROUNDS = 4_000, 400, 9
WIDTH = 128
_WORDS = ("turn", "on", "the", "lights", "play", "some", "music", "what", "is", "the", "weather", "set", "a", "timer")


class GruStep:
    """One streaming step of a GRU and its output layers: the least that a learned sequence model costs in NumPy."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._gates = rng.normal(0.0, 0.1, (2 * WIDTH, 3 * WIDTH)).astype(np.float32)
        self._heads = rng.normal(0.0, 0.1, (WIDTH, 3 * RESOURCES)).astype(np.float32)
        self._inputs = rng.normal(0.0, 1.0, (RESOURCES, WIDTH)).astype(np.float32)
        self._state = np.zeros(WIDTH, np.float32)

    def step(self, item: int) -> None:
        """Take an item and compute the probabilities of three steps."""
        gates = np.concatenate([self._inputs[item], self._state]) @ self._gates
        update, reset = 1.0 / (1.0 + np.exp(-gates[: 2 * WIDTH].reshape(2, WIDTH)))
        self._state = update * self._state + (1.0 - update) * np.tanh(reset * gates[2 * WIDTH :])
        scores = (self._state @ self._heads).reshape(3, RESOURCES)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)


def events(count: int, *, spoken: bool) -> list[Event]:
    """Return events of 20 users with habits, each using one of `RESOURCES`; with words before each, if so asked."""
    rng = random.Random(7)
    habits = [rng.sample(range(RESOURCES), RESOURCES) for _ in range(20)]
    made: list[Event] = []
    for number in range(count):
        user = number // 40 % 20
        at = habits[user][number % 40] if rng.random() < 0.6 else rng.randrange(RESOURCES)
        who, session, time_s = f"user{user}", f"session{number // 40}", 1.7e9 + 20.0 * number
        if spoken:
            text = " ".join(rng.choices(_WORDS, k=6)) + f" thing{at}"
            made.append(Event(user=who, session=session, time_s=time_s, action="user", text=text))
        key = f"component:item{at}"
        made.append(Event(user=who, session=session, time_s=time_s + 1.0, action=f"do{at}", resources=(key,), ok=True))
    return made


class Contender:
    """A predictor that is warmed up, and then timed on what follows."""

    def __init__(self, make: Callable[[], Predictor], history: Sequence[Event]) -> None:
        self._predictor = make()
        self._tracker = ContextTracker()
        self._history = iter(history)
        for _ in range(WARM_UP):
            self._one()

    def round(self) -> tuple[list[float], list[float]]:
        """Return the seconds that learning and predicting took, of each event that used a resource."""
        learned, predicted = zip(*(self._one() for _ in range(ROUND)), strict=True)
        return [s for s in learned if s], [s for s in predicted if s]

    def _one(self) -> tuple[float, float]:
        event = next(self._history)
        start = time.thread_time()
        self._predictor.learn_one(event)
        middle = time.thread_time()
        context: Context = self._tracker.observe(event)
        resumed = time.thread_time()
        self._predictor.predict(context)
        return middle - start, time.thread_time() - resumed


def gru_round(network: GruStep) -> float:
    """Return the seconds of one step."""
    start = time.thread_time()
    for item in range(RESOURCES):
        network.step(item)
    return (time.thread_time() - start) / RESOURCES


def machine() -> str:
    """Return what this ran on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return (
        f"{cpu}, {platform.system()} {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    )


def main() -> None:
    """Run and print."""
    print(f"{machine()}; {RESOURCES} resources, 3 steps, one kind")
    for spoken in (False, True):
        history = events(WARM_UP + ROUND * ROUNDS, spoken=spoken)
        online = Contender(lambda: OnlinePredictor(["component"]), history)
        order2 = Contender(BASELINES["order2"], history)
        network = GruStep()
        taken: dict[str, list[float]] = {"learn": [], "predict": [], "both": []}
        counting, stepping = [], []
        for _ in range(ROUNDS):
            learned, predicted = online.round()
            taken["learn"] += learned
            taken["predict"] += predicted
            taken["both"] += [one + two for one, two in zip(learned, predicted, strict=True)]
            counting.append(float(np.median([sum(pair) for pair in zip(*order2.round(), strict=True)])))
            stepping.append(gru_round(network))
        print(f"\n{'with' if spoken else 'without'} words")
        for name, seconds in taken.items():
            p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
            print(f"  online {name:8} p50 {p50:6.0f} µs   p99 {p99:6.0f} µs")
        both = float(np.median(taken["both"]))
        print(f"  learn + predict: {both / np.median(counting):.2f}x order2 counting, learn + predict")
        print(f"  learn + predict: {both / np.median(stepping):.2f}x one GRU-{WIDTH} step with heads in NumPy")


if __name__ == "__main__":
    main()
