"""The code graph: how fast it is built, taken up again and edited, what it holds in memory, what it does to the loop.

Run it with ``python -m benchmarks.bench_code_graph [--json]``. All times but the loop's and grimp's are CPU time of one
thread. Peers of the same run: `ast.parse` for reading, grimp for the imports of a Python package.
"""

from __future__ import annotations

import ast
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grimp
import psutil

from benchmarks.harness import Figure, percentile, report
from preloader.scheduling.execution import ThreadExecutor
from preloader.workspace.files import SourceFiles
from preloader.workspace.graph.cochange import CoChanges, read_commits
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.graph.diffs import Change
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits
from preloader.workspace.graph.related import related
from preloader.workspace.impact import impact
from preloader.workspace.paths import Confined
from preloader.workspace.reading import Reading

REPOSITORY = Path(__file__).parents[1]
LARGE, PER_PACKAGE = 20_000, 40
JUDGED_COMMITS = 200
_TICK_S = 0.002


def figures() -> Iterator[Figure]:
    """Measure everything, in order of the table."""
    with TemporaryDirectory() as place:
        root = Path(place) / "root"
        paths = _copied(root)
        yield from building(root, paths, Path(place) / "state")
        yield from against_grimp(root)
    with TemporaryDirectory() as place:
        yield from large(Path(place) / "root", Path(place) / "state")
    yield from on_the_loop()
    yield from relating()


def building(root: Path, paths: list[str], state: Path) -> Iterator[Figure]:
    """Build the graph of this repository, edit its files, ask, and take it up again."""
    index = GraphIndex(root, state, Limits())
    began_s = time.thread_time()
    done = index.build(paths)
    took_s = time.thread_time() - began_s
    yield Figure(what="files parsed a second", measured=done.parsed / took_s, unit="/s", note=f"{done.parsed} files")
    yield Figure(what="  source", measured=done.parsed_bytes / took_s / 1e6, unit="MB/s", note=f"{index.edges} edges")
    python = [path for path in paths if path.endswith(".py")]
    ours_s = _ms(lambda: _built(root, python).close()) / 1e3
    theirs_s = _ms(lambda: [ast.parse((root / path).read_bytes()) for path in python]) / 1e3
    yield Figure(what="Python alone ÷ ast.parse", measured=ours_s / theirs_s, unit="x", note=f"{theirs_s:.3g} s")
    yield from _at_work("", index, root, [path for path in python if path.startswith("preloader/")])
    index.close()
    _age(root, paths)
    _built(root, paths, state).close()
    again_s = _ms(lambda: _built(root, paths, state).close()) / 1e3
    yield Figure(what="taken up again from disk", measured=again_s, unit="s", note="nothing had changed")


def against_grimp(root: Path) -> Iterator[Figure]:
    """Compare the imports of the package with those that grimp finds, and the time, which is grimp's on all cores."""
    paths = [path.relative_to(root).as_posix() for path in (root / "preloader").rglob("*.py")]
    index = _built(root, paths)
    ours = {(_module(path), _module(target)) for path in paths for target in index.imports(path)}
    index.close()
    sys.path.insert(0, str(root))
    took_s = []
    for _ in range(3):
        began_s = time.perf_counter()
        peer = grimp.build_graph("preloader", cache_dir=None)
        took_s.append(time.perf_counter() - began_s)
    theirs = {(one, other) for one in peer.modules for other in peer.find_modules_directly_imported_by(one)}
    yield Figure(what="imports that grimp finds and we do not", measured=len(theirs - ours), unit="", hold=0)
    yield Figure(what="  that we find and grimp does not", measured=len(ours - theirs), unit="", note=f"of {len(ours)}")
    took = _ms(lambda: _built(root, paths).close()) / 1e3
    yield Figure(what="build ÷ grimp's", measured=took / min(took_s), unit="x", note="it reads imports alone, in Rust")


def large(root: Path, state: Path) -> Iterator[Figure]:
    """Build the graph of a generated tree; its memory is what the process grows by."""
    for number in range(LARGE):
        path = root / _generated_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_generated_text(number))
    paths = [_generated_path(number) for number in range(LARGE)]
    process = psutil.Process()
    before = process.memory_info().rss
    index = GraphIndex(root, state, Limits())
    took_s = _ms(lambda: index.build(paths)) / 1e3
    held = process.memory_info().rss - before
    yield Figure(what=f"{LARGE:,} small files: built", measured=took_s, unit="s", note=f"{index.edges} edges")
    yield Figure(what="  memory a file", measured=held / LARGE / 1e3, unit="kB", note=f"{held / 1e6:.0f} MB in all")
    size = sum(path.stat().st_size for path in state.iterdir())
    yield Figure(what="  disk a file", measured=size / LARGE / 1e3, unit="kB")
    yield from _at_work("  ", index, root, paths[:: LARGE // 50])
    index.close()


def on_the_loop() -> Iterator[Figure]:
    """Build on a thread while the event loop sleeps for two milliseconds at a time: how late it wakes."""
    idle, busy = asyncio.run(_late_ms())
    for share in (0.5, 0.99, 1.0):
        note = f"{percentile(idle, share):.2g} ms where nothing is built; wall time"
        what = f"the loop wakes late, p{100 * share:.0f}"
        yield Figure(what=what, measured=percentile(busy, share), unit="ms", note=note)


def relating() -> Iterator[Figure]:
    """Of the files that a commit changed with one, how many are among ten that are called related to it.

    The imports are those of today, the co-changes those before the commit.
    """
    index = _built(REPOSITORY, _tracked())
    reading = Reading(SourceFiles(Confined(REPOSITORY)), {}, 60.0)
    commits = read_commits(reading, JUDGED_COMMITS + 2_000)
    found: dict[str, list[float]] = {"with git": [], "without": []}
    for number, commit in enumerate(commits[:JUDGED_COMMITS]):
        files = {path for path in commit.files if path in index}
        before = {"with git": CoChanges(commits[number + 1 :]), "without": CoChanges(())}
        for path in sorted(files) if 2 <= len(files) <= 10 else ():
            for name, changes in before.items():
                best = {one.path for one in related(index, changes, path, 10)}
                found[name].append(len(best & files) / (len(files) - 1))
    index.close()
    for name, shares in found.items():
        if shares:
            what = f"changed along, among 10 related, {name}"
            yield Figure(what=what, measured=statistics.fmean(shares), unit="", note=f"{len(shares)} files of commits")


def _at_work(indent: str, index: GraphIndex, root: Path, paths: list[str]) -> Iterator[Figure]:
    edits = [_ms(partial(index.update, [path])) for path in _edited(root, paths)]
    asked = [_ms(partial(related, index, CoChanges(()), path, 20)) for path in paths]
    reached = [_ms(partial(impact, index, [Change(path)], 2_000)) for path in paths]
    for what, times, hold in (("an edit", edits, 20.0), ("related files", asked, None), ("impact", reached, None)):
        figures = (percentile(times, 0.5), percentile(times, 0.99))
        yield Figure(
            what=f"{indent}{what}, p50", measured=figures[0], unit="ms", hold=hold, note=f"p99 {figures[1]:.3g}"
        )


def _edited(root: Path, paths: list[str]) -> Iterator[str]:
    for path in paths:
        with (root / path).open("a") as file:
            file.write("\n\ndef added():\n    return 1\n")
        yield path


async def _late_ms() -> tuple[list[float], list[float]]:
    late: list[float] = []

    async def tick() -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            late.append((time.perf_counter() - began_s - _TICK_S) * 1e3)

    executor = ThreadExecutor()
    graph = CodeGraph(REPOSITORY, executor, commits=0)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(1.0)
    idle = late.copy()
    late.clear()
    await graph.build(_tracked())
    ticking.cancel()
    await graph.aclose()
    await executor.aclose()
    return idle, late


def _ms(work: Callable[[], object]) -> float:
    began_s = time.thread_time()
    work()
    return (time.thread_time() - began_s) * 1e3


def _built(root: Path, paths: list[str], state: Path | None = None) -> GraphIndex:
    index = GraphIndex(root, state, Limits())
    index.build(paths)
    return index


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z"], capture_output=True, check=True)
    return [path for path in listed.stdout.decode().split("\0") if path and (REPOSITORY / path).is_file()]


def _copied(root: Path) -> list[str]:
    paths = _tracked()
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, root / path)
    return paths


def _age(root: Path, paths: list[str]) -> None:
    """Make all files old: what was changed in the moment it was read is read again at the next start."""
    for path in paths:
        os.utime(root / path, ns=(10**18, 10**18))


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _generated_path(number: int) -> str:
    package, module = divmod(number, PER_PACKAGE)
    return f"pkg{package}/{'__init__' if not module else f'mod{module}'}.py"


def _generated_text(number: int) -> str:
    targets = {(number * factor + 1) % LARGE for factor in (3, 7, 31)}
    modules = [_module(_generated_path(target)).replace("/", ".") for target in sorted(targets)]
    imports = "".join(
        f"from {module} import f{target}\n" for module, target in zip(modules, sorted(targets), strict=True)
    )
    return f"import os\n{imports}\n\nclass C{number}:\n    def m(self):\n        return 1\n" + (
        f"\n\ndef f{number}():\n    return 2\n"
    )


if __name__ == "__main__":
    report("bench_code_graph", figures)
