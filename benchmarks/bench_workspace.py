"""What a workspace costs the agent that it serves: `feed` on the loop, how long the loop is held, and a miss.

    python -m benchmarks.bench_workspace

A small repository; ordinary text that names its files is fed in chunks as a model streams them, and as tools return
it. The cost of a miss is that of `Workspace.read_file` less that of `PreloadManager.get`, of other files, taking turns.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness import machine, percentile
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace

_FILES, _CHUNKS, _OUTPUTS = 2_000, 20_000, 40
_WORDS = "Let me look at `pkg_{0}/module_{1}.py` because the total of the cart in pkg_{0}/module_{2}.py:{1} is wrong. "


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for number in range(_FILES):
            path = root / f"pkg_{number % 40}" / f"module_{number}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"total = {number}\n" * 40)
        print(machine())
        asyncio.run(_measure(root))


async def _measure(root: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, pressure=False)
    async with Workspace(root, settings=settings, graph=False, watch=False) as workspace:
        _show("feed, a chunk of 12 characters", await _stream(workspace))
        _show("feed, an output of 30,000 characters", await _outputs(workspace))
        _show_held("at idle", *await _held(_idle()))
        _show_held("words streaming", *await _held(_stream(workspace)))
        _show_held("outputs coming", *await _held(_outputs(workspace)))
        alone, through = await _misses(workspace)
        _show("a miss through the manager", alone)
        _show("a miss through the workspace", through)
        print(f"added to a miss, median: {1e6 * (statistics.median(through) - statistics.median(alone)):.0f} µs")
        print(workspace.statistics())


async def _stream(workspace: Workspace) -> list[float]:
    text = "".join(_WORDS.format(n % 40, n, n + 1) for n in range(_CHUNKS * 12 // 100))
    taken = []
    for at in range(0, len(text), 12):
        began_s = time.perf_counter()
        workspace.feed(text[at : at + 12], "assistant")
        taken.append(time.perf_counter() - began_s)
        await asyncio.sleep(0)
    await workspace.settled()
    return taken


async def _outputs(workspace: Workspace) -> list[float]:
    text = "".join(_WORDS.format(n % 40, n, n + 1) for n in range(300))
    taken = []
    for number in range(_OUTPUTS):
        began_s = time.perf_counter()
        workspace.feed(text, "tool_output", stream=str(number), last=True)
        taken.append(time.perf_counter() - began_s)
        await workspace.settled()
    return taken


async def _idle() -> list[float]:
    await asyncio.sleep(1.0)
    return []


async def _held(work: Coroutine[Any, Any, list[float]]) -> tuple[list[float], list[float]]:
    """Return how long each turn of the loop took while ``work`` was done, and the loop's own CPU time of it.

    The rest of a turn is what others had of the processor, or of the interpreter's lock.
    """
    task = asyncio.create_task(work)
    turns, own = [], []
    before_s, own_before_s = time.perf_counter(), time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        now_s, own_now_s = time.perf_counter(), time.thread_time()
        turns.append(now_s - before_s)
        own.append(own_now_s - own_before_s)
        before_s, own_before_s = now_s, own_now_s
    await task
    return turns, own


def _show_held(when: str, turns: Sequence[float], own: Sequence[float]) -> None:
    _show(f"the loop is held, {when}", turns)
    _show("… by what runs on it", own)


async def _misses(workspace: Workspace) -> tuple[list[float], list[float]]:
    alone: list[float] = []
    through: list[float] = []
    for number in range(1_600):
        path = f"pkg_{number % 40}/module_{number}.py"
        is_alone = number % 4 in (0, 3)  # each of them goes first as often
        began_s = time.perf_counter()
        await (workspace.manager.get(f"file:{path}") if is_alone else workspace.read_file(path))
        (alone if is_alone else through).append(time.perf_counter() - began_s)
        await workspace.settled()
        await asyncio.sleep(0.001)
    return alone, through


def _show(what: str, seconds: Sequence[float]) -> None:
    p50, p99 = (1e3 * percentile(seconds, share) for share in (0.5, 0.99))
    print(f"{what:40} n {len(seconds):>9,}  p50 {p50:7.3f}  p99 {p99:7.3f}  most {1e3 * max(seconds):7.3f} ms")


if __name__ == "__main__":
    main()
