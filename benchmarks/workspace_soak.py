"""A workspace with everything on, used while its files are edited: not one stale byte may be served.

Run it with ``python -m benchmarks.workspace_soak --minutes 10 [--seed 0] [--json]``; the exit status is 0 if all holds.
Threads and another process edit files in place (some keep size and times), replace them by renaming, make them anew,
truncate and delete them, put links and directories in their places, rename directories, swap links and switch
branches, as fast as they can and with rests in which stamps settle. Several tasks feed what an agent's session may say,
cut anywhere, read files, ask for facts, call tools, and begin new queries; the learned models, the code graph and the
watch are on, and with ``--advice`` a model behind a local server, which guesses and fails at random.

Whatever is served must have been so at some moment between question and answer (`benchmarks.soak_world`), every need
and every preload must have ended once, every value that was loaded must have been unloaded, and at the end nothing may
be left running or open. Memory is printed; whether it stays flat takes longer to tell than this usually runs:
``--long-session STEPS`` runs one long session instead, and says what grows (`benchmarks.long_session`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks import long_session
from benchmarks.harness import machine
from benchmarks.soak_asking import Asking
from benchmarks.soak_hands import Elsewhere, Here
from benchmarks.soak_leftovers import Held
from benchmarks.soak_model import guessing_server
from benchmarks.soak_talking import Talking
from benchmarks.soak_world import Branches, Files, Hands, Links, MovingDirectory, Place, Scene, json_of, version_of
from preloader.ports import Loaded, Provider
from preloader.workspace.advice.settings import Advice
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.learn.models import load_models
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace

TEXTS, DOCUMENTS = 24, 4
ASKERS, TALKERS = 5, 3
MODELS = Path(__file__).parent.parent / "models/workspace/models.npz"
CATALOGUE = """
[tools.Read]
builtin = "read_file"
rename = { file_path = "path" }
[tools.LS]
builtin = "list_directory"
[tools.Glob]
builtin = "glob"
[tools.Grep]
builtin = "grep"
"""

_REST_S = 2.5  # longer than stamps take to settle
_RARELY = {MovingDirectory: 0.02, Links: 0.01, Branches: 0.25}  # seconds between changes, on average; else less
_SHARES = {MovingDirectory: 0.5, Branches: 0.05}  # of the edits that are asked for
_ON_DISK_ONLY = msgspec.structs.replace(SETTINGS, pressure=False, waste_budget=None, quarantine_after=1_000_000)


class WorkspaceSoak:
    """One run.

    Args:
        root: An empty directory, for the workspace and what is kept of it.
        seed: Of what is edited, said and asked for.
        elsewhere: Whether half of the edits are another process's.
        models: Whether the learned models are on.
        advice: Whom else to ask, if anybody.

    Attributes:
        workspace: What is tried.
        asking: What was asked, and what of the answers was stale.
        faults: What else does not hold, in words, once it has run.
    """

    def __init__(
        self, root: Path, seed: int, *, elsewhere: bool = True, models: bool = True, advice: Advice | None = None
    ) -> None:
        self.faults: list[str] = []
        self._held = Held.now()
        base, state = root / "app", root / "state"
        base.mkdir()
        branches = Branches(base)
        hands: list[Hands] = [Here(), Elsewhere() if elsewhere else Here()]
        self._hands = hands
        self.scenes = _scenes(base, hands, random.Random(seed), branches)
        self.places = [place for scene in self.scenes for place in scene.places]
        catalogue = root / "tools.toml"
        catalogue.write_text(CATALOGUE)
        self.workspace = Workspace(
            base,
            tools=ToolCatalogue.from_toml(catalogue),
            models=load_models(MODELS) if models else None,
            settings=_ON_DISK_ONLY,
            state_dir=state,
            advice=advice,
        )
        self._loads = {kind: _counted(one) for kind, one in self.workspace.providers.by_kind.items()}
        rng = random.Random(seed + 1)
        self.asking = Asking(self.workspace, self.places, branches.head, rng)
        self.talking = Talking(self.workspace, self.places, self.asking, rng)
        self._rng = random.Random(seed + 2)
        self._ended = threading.Event()

    async def run(self, *, seconds: float | None = None, edits: int | None = None) -> None:
        """Ask, talk and edit, for so long or for so many edits of each part of the workspace."""
        before = asyncio.all_tasks()
        writers = [threading.Thread(target=self._write, args=(scene, edits)) for scene in self.scenes]
        try:
            async with self.workspace:
                for writer in writers:
                    writer.start()
                if seconds is not None:
                    asyncio.get_running_loop().call_later(seconds, self._ended.set)
                async with asyncio.TaskGroup() as tasks:
                    for work in (*[self._ask] * ASKERS, *[self._talk] * TALKERS):
                        tasks.create_task(work(writers))
        finally:
            self._ended.set()
            for writer in writers:
                await asyncio.to_thread(writer.join)
        self.faults += [f"a task: {one.get_name()}" for one in asyncio.all_tasks() - before]

    def close(self) -> None:
        """Look whether the books balance, and whether anything is left; the loop has ended."""
        for one in self._hands:
            one.close()
        self.faults += self._held.left()
        statistics = self.workspace.manager_statistics()
        ledger, asked = statistics.ledger, self.asking.counts.total()
        if sum(ledger.needs.values()) != asked:
            self.faults.append(f"{asked} questions, but the needs that ended are {ledger.needs}")
        if ledger.open_preloads or statistics.residents or statistics.resident_bytes:
            self.faults.append(f"not ended, or not evicted: {ledger.open_preloads} preloads, {statistics.residents}")
        for kind, counted in self._loads.items():
            if counted["loaded"] != counted["unloaded"]:
                self.faults.append(f"of the kind {kind}: {dict(counted)}")
        if failures := self.workspace.statistics().failures:
            self.faults.append(f"{failures} steps of the analysis failed")

    @property
    def edits(self) -> Counter[str]:
        """How often each edit was made."""
        return sum((scene.counts for scene in self.scenes), Counter())

    def _write(self, scene: Scene, edits: int | None) -> None:
        rng = random.Random(scene.places[0].name)
        most = None if edits is None else edits_of(scene, edits)
        rarely_s = _RARELY.get(type(scene), 0.0)
        while not self._ended.is_set() and (most is None or scene.counts.total() < most):
            scene.edit()
            if most is None and rng.random() < 0.003:
                self._ended.wait(_REST_S)
            time.sleep(rng.expovariate(1 / rarely_s) if rarely_s else rng.choice((0.0, 0.0005, 0.002)))

    async def _ask(self, writers: list[threading.Thread]) -> None:
        while any(writer.is_alive() for writer in writers):
            if self._rng.random() < 0.05:
                await self._think_better_of_it()
            if self._rng.random() < 0.05:
                await self.workspace.settled()  # else what is said and asked comes faster than it is analysed
            await self.asking.anything()
            await asyncio.sleep(self._rng.choice((0.0, 0.0, 0.01)))

    async def _think_better_of_it(self) -> None:
        """Ask for something, and go away before it is answered."""
        asked = asyncio.create_task(self.asking.anything())
        await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.01)))
        asked.cancel()
        await asyncio.wait([asked])

    async def _talk(self, writers: list[threading.Thread]) -> None:
        while any(writer.is_alive() for writer in writers):
            await self.talking.anything()


def edits_of(scene: Scene, edits: int) -> int:
    """Return how many edits a part of the workspace makes where so many are asked for."""
    return round(edits * _SHARES.get(type(scene), 1.0))


def _scenes(base: Path, hands: list[Hands], rng: random.Random, branches: Branches) -> list[Scene]:
    """Make the files, and what edits them; each scene is one thread's."""
    here, elsewhere = hands
    names = [f"d{number % 4}/f{number}.txt" for number in range(TEXTS)]
    documents = [f"json/f{number}.json" for number in range(DOCUMENTS)]
    texts = list(_written(base, names, (version_of(name, 0) for name in names)))
    plain = Files(texts[::2], here, random.Random(rng.random()), version_of)
    other = Files(texts[1::2], elsewhere, random.Random(rng.random()), version_of)
    structured = list(_written(base, documents, (json_of(name, 0) for name in documents)))
    parsed = Files(structured, here, random.Random(rng.random()), json_of)
    return [plain, other, parsed, MovingDirectory(base, here), Links(base, here, rng), branches]


def _written(base: Path, names: list[str], texts: Iterator[str]) -> Iterator[Place]:
    for name, text in zip(names, texts, strict=True):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text(text)
        yield Place(base, name, text.encode())


def _counted(provider: Provider) -> Counter[str]:
    """Return the counter of what a provider loads and unloads from now on."""
    counts: Counter[str] = Counter()
    load, unload = provider.load, provider.unload

    async def counted_load(key: str) -> Loaded:
        loaded = await load(key)
        counts["loaded"] += 1
        return loaded

    async def counted_unload(key: str, value: Any) -> None:
        counts["unloaded"] += 1
        await unload(key, value)

    provider.load, provider.unload = counted_load, counted_unload  # type: ignore[method-assign]
    return counts


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workspace_soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--advice", action="store_true", help="ask a model behind a local server, too")
    parser.add_argument("--long-session", type=int, metavar="STEPS", help="run one session of so many steps instead")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="workspace-soak-"))
    try:
        if args.long_session:
            return long_session.main(root, args.long_session, args.seed, as_json=args.json)
        with _advice(args.seed) if args.advice else contextlib.nullcontext() as advice:
            soak = WorkspaceSoak(root, args.seed, advice=advice)
            samples = asyncio.run(_sampled(soak, 60.0 * args.minutes))
            soak.close()
        return report(soak, samples, args.minutes, as_json=args.json)
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def _advice(seed: int) -> Iterator[Advice]:
    """Have a model guess, behind a server; its connections are its own."""
    from preloader.llm import OpenAIModel

    names = [f"d{number % 4}/f{number}.txt" for number in range(TEXTS)]
    with guessing_server(names, seed) as address:
        yield Advice(model=OpenAIModel("guesses", base_url=address), calls_per_minute=100_000, tokens_per_session=2**40)


async def _sampled(soak: WorkspaceSoak, seconds: float) -> list[tuple[float, float]]:
    """Run, and return what memory the process held, as (minute, MB)."""
    samples: list[tuple[float, float]] = []
    process = psutil.Process()

    async def sample() -> None:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(seconds / 40)
            samples.append(((time.monotonic() - began_s) / 60, process.memory_info().rss / 1e6))

    sampling = asyncio.create_task(sample())
    try:
        await soak.run(seconds=seconds)
    finally:
        sampling.cancel()
    return samples


def growth_mb(samples: list[tuple[float, float]]) -> float:
    """Return how fast memory grows, in MB a minute: the median slope after the first third (Theil and Sen)."""
    warm = samples[len(samples) // 3 :]
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for at, a in enumerate(warm) for b in warm[at + 1 :])
    return slopes[len(slopes) // 2] if slopes else 0.0


def report(soak: WorkspaceSoak, samples: list[tuple[float, float]], minutes: float, *, as_json: bool) -> int:
    """Print what was done and found, and return the exit status."""
    stale, grown = soak.asking.stale, growth_mb(samples)
    holds = not stale and not soak.faults
    document = {
        "benchmark": "workspace_soak",
        "machine": machine(),
        "minutes": minutes,
        "edits": dict(sorted(soak.edits.items())),
        "said": dict(sorted(soak.talking.counts.items())),
        "asked": dict(sorted(soak.asking.counts.items())),
        "errors": dict(soak.asking.errors.most_common(5)),
        "statistics": msgspec.to_builtins(soak.workspace.statistics()),
        "stale": len(stale),
        "examples": stale[:5],
        "faults": soak.faults,
        "megabytes": [round(one) for _, one in samples[:: max(1, len(samples) // 10)]],
        "growth_mb_per_minute": round(grown, 2),
        "verdict": "holds" if holds else "FAILED",
    }
    if as_json:
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        for name, value in document.items():
            print(f"{name}: {value}")
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
