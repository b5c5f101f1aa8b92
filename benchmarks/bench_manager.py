"""The manager: `observe()` and `get()`, what importing costs, and how long the event loop is blocked.

Run it with ``python -m benchmarks.bench_manager [--json]``.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import ROUNDS, Figure, interleaved, percentile, ratio, report
from preloader.events import Context, Event, Prediction
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor
from preloader.settings import Settings
from preloader.testing import FakeProvider, random_events

RESOURCES = 100
KEYS = [f"component:item{number}" for number in range(RESOURCES)]
LEARNED, OBSERVED = 1_000, 500
GETS = 2_000


def figures() -> Iterator[Figure]:
    """Measure everything, in order of the table."""
    yield from observing()
    yield from getting()
    yield from importing()
    yield from blocking()


def observing() -> Iterator[Figure]:
    """Time `observe()`: learn, predict, decide and queue, with a store that holds half of the resources."""
    rounds = [asyncio.run(_observe_all()) for _ in range(ROUNDS)]
    for share, hold in ((0.5, 200.0), (0.99, 1_000.0)):
        median = statistics.median(percentile([all_ for all_, _ in times], share) for times in rounds)
        what = f"observe(), {RESOURCES} resources, p{share * 100:.0f}"
        yield Figure(what=what, measured=median, unit="µs", hold=hold, note="CPU time of one call")
    rest = statistics.median(percentile([all_ - predictor for all_, predictor in times], 0.5) for times in rounds)
    yield Figure(what="  of which decision and enqueue, p50", measured=rest, unit="µs", note="without the predictor")


async def _observe_all() -> list[tuple[float, float]]:
    """Return the microseconds of each call, in all and within the predictor."""
    times: list[tuple[float, float]] = []
    predictor = _TimedPredictor(kinds=("component",))
    async with _manager(RESOURCES // 2, predictor=predictor) as manager:
        for number, event in enumerate(_history()[: LEARNED + OBSERVED]):
            predictor.took_ns = 0
            began = time.thread_time_ns()
            manager.observe(event)
            took_ns = time.thread_time_ns() - began
            if number >= LEARNED:
                times.append((took_ns / 1e3, predictor.took_ns / 1e3))
            await asyncio.sleep(0)  # what was queued may load meanwhile
    return times


class _TimedPredictor(OnlinePredictor):
    """Adds up the CPU time that it takes."""

    took_ns = 0

    def learn_one(self, event: Event) -> None:
        began = time.thread_time_ns()
        super().learn_one(event)
        self.took_ns += time.thread_time_ns() - began

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        began = time.thread_time_ns()
        predictions = super().predict(context, steps)
        self.took_ns += time.thread_time_ns() - began
        return predictions


def getting() -> Iterator[Figure]:
    """Time `get()` of a ready resource beside a dictionary and a cache, both behind an async function."""
    per_call = asyncio.run(_get_all())
    ours = per_call["get()"]
    yield Figure(what="get() of a ready resource, p50", measured=statistics.median(ours), unit="µs", hold=3.0)
    for peer in ("dict", "LRU cache"):
        what = f"get() ÷ async lookup in a {peer}"
        note = f"{statistics.median(per_call[peer]):.3g} µs a lookup"
        yield Figure(what=what, measured=ratio(ours, per_call[peer]), unit="x", note=note)


async def _get_all() -> dict[str, list[float]]:
    async with _manager(RESOURCES) as manager:
        values = {key: await manager.get(key) for key in KEYS}
        sides: dict[str, Callable[[str], Awaitable[Any]]] = {
            "get()": manager.get,
            "dict": _dictionary(values),
            "LRU cache": _lru_cache(values),
        }
        measured: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, lookup in sides.items():
                measured[name].append(await _per_call_us(lookup))
    return measured


async def _per_call_us(lookup: Callable[[str], Awaitable[Any]]) -> float:
    """Return the median over batches, since one call is shorter than a look at the clock is exact."""
    batches = []
    for _ in range(GETS // RESOURCES):
        began = time.thread_time_ns()
        for key in KEYS:
            await lookup(key)
        batches.append((time.thread_time_ns() - began) / RESOURCES / 1e3)
    return statistics.median(batches)


def _dictionary(values: dict[str, Any]) -> Callable[[str], Awaitable[Any]]:
    async def lookup(key: str) -> Any:
        return values[key]

    return lookup


def _lru_cache(values: dict[str, Any]) -> Callable[[str], Awaitable[Any]]:
    """Return what async LRU caches do on a hit: look up, mark as used, count."""
    entries = OrderedDict(values)
    hits = 0

    async def lookup(key: str) -> Any:
        nonlocal hits
        value = entries[key]
        entries.move_to_end(key)
        hits += 1
        return value

    return lookup


_IMPORT = """
import time
began = time.process_time()
import {module}
took = time.process_time() - began
import psutil
print(took, psutil.Process().memory_info().rss)
"""


def importing() -> Iterator[Figure]:
    """Measure what importing the package costs in a fresh process, beside importing numpy alone.

    Both from bytecode, as an installed package has it: an environment that forbids to write that, or a tree where it
    cannot be written, would have our modules compiled anew by every process, and numpy's not.
    """
    with TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield from _importing(environment)


def _importing(environment: dict[str, str]) -> Iterator[Figure]:
    memory: dict[str, list[float]] = {"numpy": [], "preloader": []}

    def importing_of(module: str) -> Callable[[], float]:
        def measure() -> float:
            program = [sys.executable, "-c", _IMPORT.format(module=module)]
            said = subprocess.run(program, capture_output=True, check=True, text=True, env=environment).stdout
            took, rss = said.split()
            memory[module].append(float(rss))
            return float(took)

        return measure

    sides = {module: importing_of(module) for module in memory}
    for measure in sides.values():
        measure()  # which compiles
    seconds = interleaved(sides)
    extra = statistics.median(ours - numpy for ours, numpy in zip(seconds["preloader"], seconds["numpy"], strict=True))
    numpy_note = f"numpy alone: {statistics.median(seconds['numpy']) * 1e3:.0f} ms"
    yield Figure(what="import of preloader, beyond numpy", measured=extra * 1e3, unit="ms", hold=150.0, note=numpy_note)
    resident = {module: statistics.median(sizes) / 1e6 for module, sizes in memory.items()}
    memory_note = f"numpy alone: {resident['numpy']:.0f} MB"
    yield Figure(what="resident memory", measured=resident["preloader"], unit="MB", hold=60.0, note=memory_note)


def blocking() -> Iterator[Figure]:
    """Measure the longest turn of the loop in a busy run, and while the predictor's state is saved."""
    with TemporaryDirectory() as folder:
        for what, state_dir in (("a busy run", None), ("one that saves its state", Path(folder))):
            longest = statistics.median(asyncio.run(_longest_turn_ms(state_dir)) for _ in range(ROUNDS))
            note = "CPU time of the longest turn"
            yield Figure(what=f"event loop blocked in {what}", measured=longest, unit="ms", hold=5.0, note=note)


async def _longest_turn_ms(state_dir: Path | None) -> float:
    """Observe, hint, load and serve at full speed, with a ticker that looks at the clock every turn of the loop."""
    longest = 0

    async def tick() -> None:
        nonlocal longest
        before = time.thread_time_ns()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time_ns()
            longest = max(longest, now - before)
            before = now

    events = _history()
    async with _manager(RESOURCES // 2, state_dir) as manager:
        for event in events[:LEARNED]:
            manager.observe(event)
            await asyncio.sleep(0)
        ticker = asyncio.create_task(tick())
        await asyncio.sleep(0)
        for number, event in enumerate(events[LEARNED : LEARNED + OBSERVED]):
            manager.observe(event)
            if number % 100 == 0:
                for key in KEYS:
                    manager.hint(key, 0.4, 3)
            for key in event.resources:
                await manager.get(key)
            await asyncio.sleep(0)
        await asyncio.sleep(0.3 if state_dir else 0.0)
        ticker.cancel()
    return longest / 1e6


def _history() -> list[Event]:
    return random_events(seed=11, users=10, sessions=6, length=60, items=RESOURCES)


def _manager(room_for: int, state_dir: Path | None = None, predictor: OnlinePredictor | None = None) -> PreloadManager:
    provider = FakeProvider({key: Cost(0.0, 1_000_000) for key in KEYS})
    return PreloadManager(
        {"component": provider},
        predictor=predictor or OnlinePredictor(kinds=("component",)),
        settings=Settings(budget_bytes=room_for * 1_000_000, autosave_s=0.1),
        state_dir=state_dir,
    )


if __name__ == "__main__":
    report("bench_manager", figures)
