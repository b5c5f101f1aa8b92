"""The manager at full speed on real time, with faults injected, and a verdict on what became of it.

Run it with ``python -m benchmarks.soak --minutes 10 [--seed 0] [--json]``; the exit status is 0 where all holds.
Loaders raise, hang, ignore their cancellation and block threads; memory pressure spikes; event times jump back and
forth; needs are cancelled; sessions end midway; other threads hint; budgets change; the cache is cleared. At the end
every need and every preload must have had exactly one outcome, memory must have stayed flat, and nothing may be left.
What is asked for is simple enough for the predictor to have learned all of it during the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import psutil

from benchmarks.harness import machine
from preloader.decision import WasteBudget, make_policy
from preloader.errors import LoadError
from preloader.events import CONTEXT_EVENTS, Decision, Event, Need, Prediction, Preload
from preloader.manager import PreloadManager
from preloader.ports import Budget, Cost, Executor, Loaded
from preloader.scheduling.pressure import Pressure, Reading, SimulatedPressure
from preloader.settings import Settings

KEYS = [f"soak:{number}" for number in range(30)]
SESSIONS, HINTERS = 24, 2
REMEMBERED = 1_100  # more sessions than anything keeps of them, so that what they leave has stopped to grow
WARM_UP = 0.3  # share of the time after which memory must be flat
FLAT_MB_PER_MINUTE = 1.0
FLAT_OBJECTS_PER_MINUTE = 2_000.0


class Token:
    """A loaded value. It is told apart by identity."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


class FaultyProvider:
    """Loads that take milliseconds, and now and then raise, hang, block a thread or ignore their cancellation."""

    immutable = False

    def __init__(self, rng: random.Random) -> None:
        self.loads = self.unloads = self.unloaded_twice = 0
        self.live: set[Token] = set()
        self.faults: Counter[str] = Counter()
        self._rng = rng
        self._executor: Executor | None = None

    def use_executor(self, executor: Executor) -> None:
        """Block these threads, as a loader that reads files does."""
        self._executor = executor

    async def load(self, key: str) -> Loaded:
        """Take the cost's seconds, or fail as chance has it."""
        fault = self._rng.choices(["", "raises", "hangs", "blocks", "ignores"], [0.93, 0.03, 0.005, 0.03, 0.005])[0]
        self.faults[fault or "none"] += 1
        if fault == "raises":
            raise OSError("injected")
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault == "blocks" and self._executor is not None:
            await self._executor.run(time.sleep, 0.005)
        try:
            await asyncio.sleep(self.cost(key).seconds)
        except asyncio.CancelledError:
            if fault != "ignores":
                raise
            await asyncio.sleep(0.01)
        token = Token(key)
        self.loads += 1
        self.live.add(token)
        return Loaded(token, self.cost(key).bytes)

    async def unload(self, key: str, value: Token) -> None:
        """Note that a value was taken back."""
        self.unloads += 1
        self.unloaded_twice += value not in self.live
        self.live.discard(value)
        if self._rng.random() < 0.01:
            raise OSError("injected while unloading")

    async def is_fresh(self, key: str, value: Token) -> bool:
        """Say now and then that it is not."""
        return self._rng.random() > 0.01

    def cost(self, key: str) -> Cost:
        """Return the same for a key each time."""
        number = int(key.partition(":")[2])
        return Cost(0.001 * (1 + number % 7), 1_000 * (1 + number % 13))

    def dependencies(self, key: str) -> Sequence[str]:
        """Return two for three keys in ten."""
        number = int(key.partition(":")[2])
        return () if number % 10 < 7 else (KEYS[number - number % 10], KEYS[number - number % 10 + 1])


class AuditedPolicy:
    """Passes everything on; what it accepted is outstanding until exactly one outcome comes."""

    def __init__(self, inner: WasteBudget) -> None:
        self.name = inner.name
        self.outstanding: set[str] = set()
        self.outcomes = self.surplus = 0
        self._inner = inner

    def decide(self, predictions: Sequence[Prediction], residents: Collection[str], budget: Budget) -> list[Decision]:
        """See `DecisionPolicy`."""
        decisions = self._inner.decide(predictions, residents, budget)
        self.outstanding.update(decision.key for decision in decisions if decision.tier is not None)
        return decisions

    def outcome(self, preload: Preload) -> None:
        """See `DecisionPolicy`."""
        self.outcomes += 1
        self.surplus += preload.key not in self.outstanding
        self.outstanding.discard(preload.key)
        self._inner.outcome(preload)


class Sample(msgspec.Struct, frozen=True):
    """What the process held at one moment."""

    seconds: float
    rss_mb: float
    objects: int


class Soak:
    """One run.

    Args:
        seconds: How long.
        seed: Of the faults and of what is asked for.
    """

    def __init__(self, seconds: float, seed: int) -> None:
        self.seconds = seconds
        self.asked = self.sessions = 0
        self.ended: Counter[str] = Counter()
        self.handed: set[Token] = set()  # by `get`: what was never stored is the caller's from then on
        self.samples: list[Sample] = []
        self.levels: Counter[str] = Counter()
        self.rng = random.Random(seed)
        self.provider = FaultyProvider(self.rng)
        policy = make_policy("thresholds", 0.5)
        assert isinstance(policy, WasteBudget)
        self.policy = AuditedPolicy(policy)
        self.pressure = SimulatedPressure()
        self.manager = PreloadManager(
            {"soak": self.provider},
            policy=self.policy,
            settings=Settings(
                budget_bytes=300_000, loaders=6, load_timeout_s=0.2, load_attempts=2, retry_wait_s=0.005,
                quarantine_s=0.5, pressure_interval_s=0.02, pressure_calm_s=0.1, waste_budget=0.5,
            ),
            listeners=[self._note],
            pressure_sources=[self.pressure],
        )  # fmt: skip

    async def run(self) -> None:
        """Drive the manager until the time is over."""
        self._halt = threading.Event()
        async with self.manager as manager:
            await self._fill_memories(manager)
            self._began_s = time.monotonic()
            manager.on_pressure(lambda level, before: self.levels.update([level.name]))
            hinters = [threading.Thread(target=self._hint, args=(seed,)) for seed in range(HINTERS)]
            for hinter in hinters:
                hinter.start()
            async with asyncio.TaskGroup() as tasks:
                for number in range(SESSIONS):
                    tasks.create_task(self._user(f"user{number}"))
                tasks.create_task(self._spikes())
                tasks.create_task(self._meddle())
                tasks.create_task(self._sample())
            self._halt.set()
            for hinter in hinters:
                await asyncio.to_thread(hinter.join)

    async def _fill_memories(self, manager: PreloadManager) -> None:
        for number in range(REMEMBERED):
            for at in range(CONTEXT_EVENTS):
                key = KEYS[(number + at) % len(KEYS)]
                manager.observe(Event(user="early", session=f"{number}", time_s=at, action="do", resources=(key,)))
            manager.end_session("early", f"{number}")
            await asyncio.sleep(0)

    def _left_s(self) -> float:
        return self.seconds - (time.monotonic() - self._began_s)

    def _note(self, ended: Need | Preload) -> None:
        self.ended[f"{type(ended).__name__.lower()} {ended.outcome}"] += 1

    async def _user(self, user: str) -> None:
        """Live through sessions, some of which end midway; times of events jump back and forth."""
        at = self.rng.randrange(len(KEYS))
        while self._left_s() > 0:
            self.sessions += 1
            session, time_s = f"session{self.sessions}", 1.75e9
            for _ in range(self.rng.randint(1, 60)):
                at = (at + self.rng.choice([1, 1, 1, 2])) % len(KEYS)
                time_s += self.rng.choice([1.0, 5.0, -3_600.0, 86_400.0])
                need = asyncio.create_task(self._need(KEYS[at], user, session))
                if self.rng.random() < 0.05:
                    await asyncio.sleep(self.rng.random() * 0.004)
                    need.cancel()
                await asyncio.wait([need])
                if not need.cancelled() and need.exception() is not None:
                    raise need.exception() or AssertionError
                self.manager.observe(
                    Event(user=user, session=session, time_s=time_s, action=f"do{at}", resources=(KEYS[at],))
                )
                await asyncio.sleep(0)
            self.manager.end_session(user, session)

    async def _need(self, key: str, user: str, session: str) -> None:
        self.asked += 1
        try:
            if self.rng.random() < 0.5:
                value = await self.manager.get(key, user=user, session=session)
                if value in self.provider.live:
                    self.handed.add(value)
                return
            async with self.manager.use(key, user=user, session=session) as value:
                await asyncio.sleep(self.rng.random() * 0.003)
                assert value in self.provider.live, f"{key} was unloaded while it was in use"
        except LoadError:
            pass  # injected

    async def _spikes(self) -> None:
        while self._left_s() > 0:
            await asyncio.sleep(self.rng.uniform(0.2, 1.5))
            self.pressure.reading = Reading(level=self.rng.choice(list(Pressure)))
            await asyncio.sleep(self.rng.uniform(0.02, 0.3))
            self.pressure.reading = Reading()

    async def _meddle(self) -> None:
        while self._left_s() > 0:
            await asyncio.sleep(self.rng.uniform(0.5, 2.0))
            self.manager.resize(self.rng.choice([100_000, 300_000]))
            if self.rng.random() < 0.3:
                await self.manager.clear()
            self.handed &= self.provider.live

    async def _sample(self) -> None:
        process = psutil.Process()
        while self._left_s() > 0:
            gc.collect()
            seconds = time.monotonic() - self._began_s
            self.samples.append(Sample(seconds, process.memory_info().rss / 1e6, len(gc.get_objects())))
            await asyncio.sleep(min(5.0, self.seconds / 40))

    def _hint(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._halt.wait(0.002):
            self.manager.hint(rng.choice(KEYS), rng.random(), rng.randint(1, 4), ttl_s=rng.choice([None, 0.003, 0.5]))


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold, and what was found."""

    what: str
    holds: bool
    found: str


def checks(soak: Soak, threads: int, tasks: int) -> list[Check]:
    """Return what must hold of a run that has ended.

    Args:
        soak: The run.
        threads: How many more run than before it.
        tasks: How many tasks are left.
    """
    totals = soak.manager.statistics().ledger
    needs = sum(count for what, count in soak.ended.items() if what.startswith("need"))
    preloads = sum(count for what, count in soak.ended.items() if what.startswith("preload"))
    balanced = (needs, preloads) == (sum(totals.needs.values()), sum(totals.preloads.values()))
    policy, provider = soak.policy, soak.provider
    left = provider.live - soak.handed
    rss, objects = slopes(soak)
    return [
        Check("every need ended once", needs == soak.asked and balanced, f"{needs:,} of {soak.asked:,}"),
        Check(
            "every preload ended once",
            preloads == policy.outcomes and not (policy.surplus or policy.outstanding or totals.open_preloads),
            f"{preloads:,} ended, {policy.surplus} twice, {len(policy.outstanding)} never",
        ),
        Check("resident memory is flat", rss < FLAT_MB_PER_MINUTE, f"{rss:+.3f} MB a minute after warm-up"),
        Check("objects are flat", objects < FLAT_OBJECTS_PER_MINUTE, f"{objects:+,.0f} a minute after warm-up"),
        Check(
            "every value was unloaded once",
            not left and not provider.unloaded_twice,
            f"{provider.loads:,} loaded, {provider.unloads:,} unloaded, {len(provider.live)} handed over unstored, "
            f"{len(left)} lost, {provider.unloaded_twice} twice",
        ),
        Check("no task is left", tasks == 0, str(tasks)),
        Check("no thread is left", threads <= 0, str(max(0, threads))),
        Check("the policy never failed", not soak.manager.statistics().counts.get("policy_errors"), ""),
    ]


def slopes(soak: Soak) -> tuple[float, float]:
    """Return the growth of resident memory (MB) and objects a minute after warm-up: Theil and Sen's median slope."""
    warm = [sample for sample in soak.samples if sample.seconds > WARM_UP * soak.seconds]
    pairs = [(one, other) for at, one in enumerate(warm) for other in warm[at + 1 :]]

    def slope(field: str) -> float:
        rises = [(getattr(b, field) - getattr(a, field)) / (b.seconds - a.seconds) for a, b in pairs]
        return 60.0 * statistics.median(rises) if rises else 0.0

    return slope("rss_mb"), slope("objects")


async def _soak(soak: Soak) -> int:
    """Run, and return how many tasks are left."""
    await soak.run()
    await asyncio.sleep(0.1)
    return len(asyncio.all_tasks()) - 1


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    soak, before = Soak(60.0 * args.minutes, args.seed), threading.active_count()
    tasks = asyncio.run(_soak(soak))
    time.sleep(0.5)  # threads that were told to leave
    found = checks(soak, threading.active_count() - before, tasks)
    report(soak, found, as_json=args.json)
    return 0 if all(check.holds for check in found) else 1


def report(soak: Soak, found: list[Check], *, as_json: bool) -> None:
    """Print what was done and what was found."""
    statistics_ = soak.manager.statistics()
    document: dict[str, Any] = {
        "benchmark": "soak",
        "machine": machine(),
        "seconds": soak.seconds,
        "sessions": soak.sessions,
        "ended": dict(sorted(soak.ended.items())),
        "faults": dict(sorted(soak.provider.faults.items())),
        "pressure": dict(soak.levels),
        "drops": statistics_.drops,
        "counts": dict(sorted(statistics_.counts.items())),
        "checks": [msgspec.to_builtins(check) for check in found],
        "verdict": "holds" if all(check.holds for check in found) else "FAILED",
    }
    if as_json:
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    print(f"soak on {document['machine']}: {soak.seconds:.0f} s, {soak.sessions:,} sessions")
    for name in ("ended", "faults", "pressure"):
        print(f"  {name}: " + ", ".join(f"{what} {count:,}" for what, count in document[name].items()))
    for check in found:
        print(f"  {'holds ' if check.holds else 'FAILED'}  {check.what:<32} {check.found}".rstrip())
    print(f"verdict: {document['verdict']}")


if __name__ == "__main__":
    raise SystemExit(main())
