"""What a prepared file, fact or tool result saves: proving it true, beside making it anew, both through a manager.

The workspace is a repository of 2,000 small Python files in 100 directories, at rest for longer than stamps take to
settle. Rounds are interleaved: a manager that has the resource is asked, then one that has nothing.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import ROUNDS, Figure, ratio, report
from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider

DIRECTORIES, FILES = 100, 20
_SETTLED_S = 2.5
_KEYS = {
    "a file": "file:d7/f7.py",
    "git status": "fact:git status",
    "git diff": "fact:git diff",
    "blame of 40 lines": "fact:git blame d7/f7.py:1-40",
    "a file's tests": "fact:test files d7/f7.py",
    "a syntax check": "fact:syntax d7/f7.py",
    "read_file": 'tool:read_file {"path": "d7/f7.py"}',
    "list_directory": 'tool:list_directory {"path": "d7"}',
    "glob of all": 'tool:glob {"pattern": "**/test_*.py"}',
    "grep of all, a text": 'tool:grep {"pattern": "needle"}',
    "grep of all, an expression": 'tool:grep {"pattern": "need[l]e"}',
    "git log": "tool:git_log {}",
}


def figures() -> Iterator[Figure]:
    """Measure each resource."""
    with tempfile.TemporaryDirectory(prefix="workspace-") as folder:
        root = Path(folder)
        _make(root)
        time.sleep(_SETTLED_S)
        for what, (served, made) in asyncio.run(_measured(root)).items():
            yield Figure(what=f"{what}: served", measured=1e3 * statistics.median(served), unit="ms")
            yield Figure(
                what=f"{what}: made anew",
                measured=1e3 * statistics.median(made),
                unit="ms",
                note=f"{ratio(made, served):.0f} times as long",
            )


def _make(root: Path) -> None:
    for number in range(DIRECTORIES):
        directory = root / f"d{number}"
        directory.mkdir()
        for file in range(FILES):
            body = "".join(f"def f{line}():\n    return {line}\n\n\n" for line in range(30))
            (directory / f"f{file}.py").write_text(body + ("# needle\n" if file == number % FILES else ""))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        identity = ["-c", "user.name=b", "-c", "user.email=b@example.org"]
        subprocess.run(["git", *identity, *command], cwd=root, env=environment, check=True)
    (root / "d7" / "f8.py").write_text("changed = True\n")


async def _measured(root: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds that each resource took to be served and to be made, a pair a round."""
    results: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in _KEYS}
    async with _manager(root) as warm:
        for key in _KEYS.values():
            await warm.get(key)
        for _ in range(ROUNDS):
            for what, key in _KEYS.items():
                results[what][0].append(await _seconds(warm, key))
                async with _manager(root) as cold:
                    results[what][1].append(await _seconds(cold, key))
    return results


def _manager(root: Path) -> PreloadManager:
    confined = Confined(root)
    files = SourceFiles(confined)
    tools = ToolProvider(ToolCatalogue.builtin(), files)
    providers: dict[str, Any] = {"file": WorkspaceFiles(confined), "fact": FactProvider(files), "tool": tools}
    return PreloadManager(providers, settings=Settings(pressure=False))


async def _seconds(manager: PreloadManager, key: str) -> float:
    began_s = time.perf_counter()
    await manager.get(key)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    report("bench_workspace_providers", figures)
