"""Analysing an agent's stream beside one bare regular expression, and indexing a tree of 50,000 files.

The text is this repository's own: its documents as what an agent says, its sources as what a tool prints. Figures of
the index are wall time, since most of its work is git's and the system's.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Figure, interleaved, percentile, ratio, report
from preloader.scheduling.execution import ThreadExecutor
from preloader.workspace.index import PathIndex
from preloader.workspace.mentions import Mention, Source
from preloader.workspace.path_table import PathTable
from preloader.workspace.resolve import Resolver
from preloader.workspace.stream import INLINE, StreamAnalyzer

_ROOT = Path(__file__).parents[1]
_BARE = re.compile(r"[\w./-]+\.\w+(?::\d+)?")
_FILES = 50_000
_EDITS = 40
_WITHIN_S = 5.0
_PASSES = 5
_TRAPS = ("[a", "(/a ", "\"' `a/b.py ", 'File "', "\x1b[", "\\n", "a.py:1", "**/", "z/", '"a ')


def figures() -> Iterator[Figure]:
    """Measure the analysis, then the index."""
    words, code = _text("*.md", "docs/**/*.md"), _text("preloader/**/*.py")
    yield from _throughput("what an agent says", words, "assistant")
    yield from _throughput("what a tool prints", code, "tool_output")
    yield from _chunks(words)
    yield from _traps()
    yield from asyncio.run(_long_chunk(code))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        paths = _make_tree(root)
        yield from _resolving(paths)
        yield from asyncio.run(_index(root, "walked"))
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        subprocess.run(["git", "add", "."], cwd=root, check=True)
        yield from asyncio.run(_index(root, "tracked"))


def _text(*patterns: str) -> str:
    files = sorted(itertools.chain.from_iterable(map(_ROOT.glob, patterns)))
    return "\n".join(path.read_text() for path in files)


def _throughput(what: str, text: str, source: Source) -> Iterator[Figure]:
    megabytes = len(text.encode()) / 1e6
    chunks = [text[begin : begin + INLINE] for begin in range(0, len(text), INLINE)]
    analyzer = StreamAnalyzer()
    sides = {
        "analysed": _per_cpu_second(lambda: [analyzer.feed(chunk, source) for chunk in chunks], megabytes),
        "findall": _per_cpu_second(lambda: [_BARE.findall(chunk) for chunk in chunks], megabytes),
    }
    measured = interleaved(sides)
    found = len(StreamAnalyzer().feed(text, source, last=True))
    note = (
        f"{found / megabytes:,.0f} mentions a MB; {ratio(measured['analysed'], measured['findall']):.2f} of findall's"
    )
    yield Figure(what=what, measured=statistics.median(measured["analysed"]), unit="MB/s", least=2, note=note)
    yield Figure(what=f"{what}: one bare findall", measured=statistics.median(measured["findall"]), unit="MB/s")


def _per_cpu_second(work: Callable[[], object], amount: float) -> Callable[[], float]:
    def measure() -> float:
        began = time.thread_time()
        work()
        return amount / (time.thread_time() - began)

    return measure


def _chunks(text: str) -> Iterator[Figure]:
    """Feed chunk by chunk, several times over: the least time of each is what it takes, more is the machine's doing."""
    for size in (4, 400, 4_096):
        chunks = [text[at : at + size] for at in range(0, min(len(text), 20_000 * size), min(size, 400))]
        passes = [_fed(chunks) for _ in range(_PASSES)]
        spent = [min(times) for times in zip(*passes, strict=True)]
        once = statistics.median(percentile(times, 0.99) for times in passes)
        note = f"p50 {percentile(spent, 0.5):.4f} ms; least of {_PASSES}, in one pass p99 {once:.3f} ms"
        yield Figure(
            what=f"feed of {size:,} characters, p99", measured=percentile(spent, 0.99), unit="ms", hold=1, note=note
        )


def _fed(chunks: list[str]) -> list[float]:
    """Return how many milliseconds of CPU time each chunk took."""
    analyzer = StreamAnalyzer()
    spent = []
    for chunk in chunks:
        began = time.thread_time_ns()
        analyzer.feed(chunk, "assistant")
        spent.append((time.thread_time_ns() - began) / 1e6)
    return spent


def _traps() -> Iterator[Figure]:
    """Feed inputs made to trap, once and twice as long: what is linear takes twice as long."""
    slowest, worst = float("inf"), 0.0
    for unit in _TRAPS:
        once, twice = (_feeding(unit * (length // len(unit))) for length in (250_000, 500_000))
        slowest, worst = min(slowest, 0.5 / twice), max(worst, twice / once)
    yield Figure(what="slowest trap", measured=slowest, unit="MB/s", note=f"of {len(_TRAPS)}")
    yield Figure(what="longest time for a trap of twice the length", measured=worst, unit="times", hold=3)
    seconds = _feeding("a" * 10_000_000)
    yield Figure(what="a line of 10 MB", measured=10 / seconds, unit="MB/s")


def _feeding(text: str) -> float:
    analyzer = StreamAnalyzer()
    began = time.thread_time()
    analyzer.feed(text, "tool_output", last=True)
    return time.thread_time() - began


async def _long_chunk(text: str) -> list[Figure]:
    """Analyse some megabytes off the loop, and see how long the loop is kept waiting meanwhile."""
    executor = ThreadExecutor()
    chunk = (text * (1 + 4_000_000 // len(text)))[:4_000_000]
    work = asyncio.create_task(StreamAnalyzer(executor).analyse(chunk, "tool_output"))
    waits = []
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        waits.append((time.perf_counter() - began) * 1_000 - 1)
    await executor.aclose()
    note = f"p50 {percentile(waits, 0.5):.2f} ms, of other threads and processes too"
    return [
        Figure(
            what="the loop waits while 4 MB are analysed, p99", measured=percentile(waits, 0.99), unit="ms", note=note
        )
    ]


def _make_tree(root: Path) -> list[str]:
    paths = []
    for number in range(_FILES):
        top, inner, name = number // 2_500, number // 50, number % 50
        extension = ("py", "ts", "go", "md")[name % 4]
        paths.append(f"package{top}/module{inner}/{'index' if name < 4 else f'part_{name}'}.{extension}")
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return paths


def _resolving(paths: list[str]) -> Iterator[Figure]:
    resolver = Resolver(PathTable(paths))
    for path in paths[:: len(paths) // 20]:
        resolver.recency.touch(path)
    texts = {
        "whole path": paths[777],
        "foreign root": f"/elsewhere/project/{paths[777]}",
        "two parts": "/".join(paths[777].split("/")[-2:]),
        "name that 1,000 files have": "index.py",
        "name that none has": "nowhere.py",
    }
    for what, text in texts.items():
        spent = []
        for _ in range(200):
            began = time.thread_time_ns()
            resolver.resolve(Mention("path", text, "assistant"))
            spent.append((time.thread_time_ns() - began) / 1e3)
        yield Figure(what=f"resolve, {what}, p50", measured=percentile(spent, 0.5), unit="µs")


async def _index(root: Path, how: str) -> list[Figure]:
    changed = asyncio.Event()
    began = time.perf_counter()
    async with PathIndex(root, on_change=lambda paths: changed.set()) as index:
        seconds = time.perf_counter() - began
        assert len(index.table) == _FILES
        spent = {what: await _changes(index, changed, change) for what, change in _CHANGES.items()}
    rows = [Figure(what=f"index of {_FILES:,} files, {how}", measured=seconds, unit="s", hold=5)]
    for what, waits in spent.items():
        note = f"p90 {percentile(waits, 0.9):.1f} ms, longest {max(waits):.1f} ms"
        rows.append(
            Figure(what=f"{what} is known, {how}, p50", measured=percentile(waits, 0.5), unit="ms", hold=20, note=note)
        )
    return rows


async def _changes(
    index: PathIndex, changed: asyncio.Event, change: Callable[[Path, int], tuple[str, bool]]
) -> list[float]:
    """Return after how many milliseconds each of some changes was in the table."""
    waits = []
    for number in range(_EDITS):
        began = time.perf_counter()
        path, is_there = change(index.root, number)
        async with asyncio.timeout(_WITHIN_S):
            while (path in index.table) != is_there:
                changed.clear()
                await changed.wait()
        waits.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(0.02)
    return waits


def _create(root: Path, number: int) -> tuple[str, bool]:
    (root / f"package1/new_{number}.py").write_text("x = 1\n")
    return f"package1/new_{number}.py", True


def _rename(root: Path, number: int) -> tuple[str, bool]:
    (root / f"package1/new_{number}.py").rename(root / f"package2/renamed_{number}.py")
    return f"package2/renamed_{number}.py", True


def _delete(root: Path, number: int) -> tuple[str, bool]:
    (root / f"package2/renamed_{number}.py").unlink()
    return f"package2/renamed_{number}.py", False


_CHANGES = {"a new file": _create, "a renamed file": _rename, "a deleted file": _delete}


if __name__ == "__main__":
    report("bench_workspace_stream", figures)
