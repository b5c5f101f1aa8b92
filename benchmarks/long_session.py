"""One long session of a coding agent in a workspace with everything on: what of it grows without end?

Run it with ``python -m benchmarks.workspace_soak --long-session 50000 [--json]``. A step feeds something, reads,
calls, edits or begins another query, in words, names, files and calls that never came before; some streams are never
ended and some calls never answered, as in sessions. Every thousand steps the memory is looked at, and half-way
and at the end the length of every container that the workspace leads to. Those that are longer at the end are named.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Sized
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from benchmarks.harness import machine
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.learn.models import load_models
from preloader.workspace.mentions import Source
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace

FLAT_MB_PER_1000 = 0.5
FILES, EVERY = 300, 1_000
MODELS = Path(__file__).parent.parent / "models/workspace/models.npz"
CATALOGUE = """
[tools.Read]
builtin = "read_file"
rename = { file_path = "path" }
[tools.Grep]
builtin = "grep"
"""

_CONTAINERS = (dict, list, set, frozenset, tuple, deque, bytes, bytearray, str)
_LEAST, _GREW = 64, 1.15  # a container is named that has so many elements, and has grown by so much since half-way


class Session:
    """Says, calls, reads and edits what never came before.

    Args:
        root: The workspace; it is filled with files.
        workspace: Over it.
        rng: What is done.
    """

    def __init__(self, root: Path, workspace: Workspace, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root
        self._workspace = workspace
        self._rng = rng
        self._number = 0
        self._files = deque(f"pkg_{number % 20}/module_{number}.py" for number in range(FILES))
        for name in self._files:
            self._write(name)

    @property
    def steps(self) -> int:
        """How many steps there were."""
        return self.counts.total()

    async def go_on(self) -> None:
        """Do one thing, which takes some steps, and wait until it is analysed."""
        self._number += 1
        doing = (self._speak, self._read, self._search, self._shell, self._edit, self._come_and_go, self._ask_anew)
        (do,) = self._rng.choices(doing, (6, 5, 2, 2, 2, 1, 0.4))
        await do()
        await self._workspace.settled()

    async def _speak(self) -> None:
        names = self._rng.choices(self._files, k=2)
        text = f"I think `{names[0]}` calls {self._fresh()} in {names[1]}:12, or src/gone_{self._number}.py does. "
        source: Source = self._rng.choice(("assistant", "thinking"))
        self._feed(text, source, stream=f"said-{self._number}", last=self._rng.random() < 0.8)

    async def _read(self) -> None:
        name = self._rng.choice(self._files)
        self._call("Read", {"file_path": str(self._root / name)})
        self.counts["read_file"] += 1
        source = await self._workspace.read_file(name)
        self._returned(source.text)

    async def _search(self) -> None:
        arguments = {"pattern": self._fresh(), "path": f"pkg_{self._rng.randrange(20)}"}
        self._call("Grep", arguments)
        self.counts["call_tool"] += 1
        await self._workspace.call_tool("Grep", arguments)
        self._returned(
            "".join(f"{name}:3:def {self._fresh()}(): ...\n" for name in self._rng.choices(self._files, k=5))
        )

    async def _shell(self) -> None:
        self._call("Bash", {"command": f"pytest -k {self._fresh()} tests/test_{self._number}.py", "id": self._number})
        if self._rng.random() < 0.9:  # else the call is never answered
            self._returned("".join(f"tests/test_{self._number}.py:{line}: {self._fresh()}\n" for line in range(30)))

    async def _edit(self) -> None:
        name = self._rng.choice(self._files)
        text = self._write(name)
        self._edited(name)
        self._call("Write", {"file_path": str(self._root / name), "content": text})
        self._returned("written")

    async def _come_and_go(self) -> None:
        """A file of a name that there never was comes, and the oldest one goes."""
        name = f"pkg_{self._number % 20}/made_{self._number}.py"
        self._write(name)
        self._files.append(name)
        gone = self._files.popleft()
        (self._root / gone).unlink()
        for one in (name, gone):
            self._edited(one)

    async def _ask_anew(self) -> None:
        self.counts["new_query"] += 1
        self._workspace.new_query(f"Why does {self._fresh()} fail in {self._rng.choice(self._files)}?")

    def _call(self, tool: str, arguments: dict[str, Any]) -> None:
        text, ends = json.dumps(arguments), self._rng.random() < 0.98
        self._feed(text, "tool_call", stream=f"call-{self._number}", tool=tool, last=ends)

    def _returned(self, text: str) -> None:
        self._feed(text, "tool_output", stream=f"call-{self._number}", last=True)

    def _feed(self, text: str, source: Source, **options: Any) -> None:
        self.counts[f"feed {source}"] += 1
        self._workspace.feed(text, source, **options)

    def _edited(self, name: str) -> None:
        self.counts["on_edit"] += 1
        self._workspace.on_edit(name)

    def _write(self, name: str) -> str:
        lines = [f"def {self._fresh()}(value_{self._number}):\n    return {self._fresh()}\n" for _ in range(20)]
        text = f"from pkg_1 import module_1\n\n{''.join(lines)}"
        (self._root / name).parent.mkdir(exist_ok=True)
        (self._root / name).write_text(text)
        return text

    def _fresh(self) -> str:
        return f"compute_{self._rng.randrange(10**9)}_total"


def lengths(start: object) -> Counter[str]:
    """Return how many elements all containers hold that an object leads to, by the attributes that lead there."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", start)]
    while waiting:
        path, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            found[path] += one.size
        elif isinstance(one, _CONTAINERS) and isinstance(one, Sized):
            found[path] += len(one)
            inner = [*one, *one.values()] if isinstance(one, dict) else () if isinstance(one, str | bytes) else one
            waiting += [(f"{path}[]", part) for part in inner if not isinstance(part, int | float)]
        elif type(one).__module__.startswith("preloader"):
            waiting += [(f"{path}.{name}", value) for name, value in _attributes(one)]
    return found


def _attributes(one: object) -> list[tuple[str, Any]]:
    slots = [name for cls in type(one).__mro__ for name in getattr(cls, "__slots__", ())]
    names = [*getattr(one, "__dict__", {}), *slots, *getattr(one, "__struct_fields__", ())]
    return [(name, getattr(one, name)) for name in dict.fromkeys(names) if hasattr(one, name)]


async def run(root: Path, steps: int, seed: int) -> dict[str, Any]:
    """Run a session; return what was found."""
    base = root / "app"
    base.mkdir()
    (root / "tools.toml").write_text(CATALOGUE)
    rng = random.Random(seed)
    workspace = Workspace(
        base,
        tools=ToolCatalogue.from_toml(root / "tools.toml"),
        models=load_models(MODELS),
        settings=msgspec.structs.replace(SETTINGS, budget_bytes=2_000_000, pressure=False),
        state_dir=root / "state",
    )
    session = Session(base, workspace, rng)
    process, megabytes, seconds = psutil.Process(), [], []
    half: Counter[str] = Counter()
    async with workspace:
        while session.steps < steps:
            before, began_s = session.steps, time.perf_counter()
            await session.go_on()
            seconds.append((time.perf_counter() - began_s) / max(1, session.steps - before))
            if before // EVERY < session.steps // EVERY:
                gc.collect()
                megabytes.append(process.memory_info().rss / 1e6)
            if before < steps // 2 <= session.steps:
                half = lengths(workspace)
        end = lengths(workspace)
    grown = {path: (half[path], count) for path, count in end.items() if count > max(_LEAST, _GREW * half[path])}
    return {
        "benchmark": "long_session",
        "machine": machine(),
        "steps": dict(session.counts),
        "statistics": msgspec.to_builtins(workspace.statistics()),
        "megabytes": [round(one, 1) for one in megabytes[:: max(1, len(megabytes) // 20)]],
        "megabytes_per_1000_steps": round(_slope(megabytes), 3),
        "ms_a_step": [round(1e3 * float(np.median(part)), 2) for part in np.array_split(seconds, 5)],
        "grown": dict(sorted(grown.items(), key=lambda one: -one[1][1])[:40]),
    }


def _slope(megabytes: list[float]) -> float:
    """Return by how much memory grows from one look to the next, over the last third (Theil and Sen).

    By then what is bounded is full, if there are 50,000 steps.
    """
    warm = megabytes[2 * len(megabytes) // 3 :]
    slopes = [(b - a) / (to - at) for at, a in enumerate(warm) for to, b in enumerate(warm) if to > at]
    return float(np.median(slopes)) if slopes else 0.0


def main(root: Path, steps: int, seed: int, *, as_json: bool) -> int:
    """Run in an empty directory, and print what was found; return the exit status."""
    document = asyncio.run(run(root, steps, seed))
    holds = document["megabytes_per_1000_steps"] < FLAT_MB_PER_1000
    document["verdict"] = "holds" if holds else "FAILED"
    if as_json:
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        for name, value in document.items():
            print(f"{name}: {value}")
    return 0 if holds else 1
