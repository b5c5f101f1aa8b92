"""A study: one configuration against its comparators, over several size seeds, with what a report shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from preloader.decision import make_policy
from preloader.errors import ConfigurationError
from preloader.history.annotations import without_annotations
from preloader.history.splits import Session
from preloader.ports import Predictor, Provider
from preloader.replay.calibration import CalibrationWatcher
from preloader.replay.comparators import PRELOADER, RUNS, Contender, compare, contending, measure_all
from preloader.replay.metrics import Metrics, average, measure, savings, spread
from preloader.replay.outcome_file import outcome_file
from preloader.replay.outcomes import OutcomeRecorder
from preloader.replay.plots import FrontierPoint
from preloader.replay.rehearsal import Rehearsal
from preloader.replay.report import ReportData
from preloader.replay.run import Cache, Casting, Progress, Recording, World, play
from preloader.replay.script import Repeats, vocabulary, write_script
from preloader.replay.sizes import SimulatedProvider, drawn_cost, mean_bytes
from preloader.replay.timeline import choose
from preloader.replay.watch import MemoryTrace, Watcher, watched

FRONTIER_BUDGETS = (0.02, 0.05, 0.10, 0.20, 0.40)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is replayed, and how. Annotations of other kinds are taken out of its sessions: no assistant sees them.

    Attributes:
        kind: The resource kind that is needed and predicted.
        fit: Sessions that may be learned from before.
        test: Sessions that are replayed, in order.
        per_user: Whether each user is a stream; otherwise all sessions are one.
        budget: The store's capacity, in mean sizes of the kind's vocabulary (with dependencies).
        cache: Whether the store is emptied after each session.
        repeats: Whether consecutive repeats are needs.
        seeds: Size seeds; each is a replay of its own.
        policy: Name of the decision policy.
        waste: The share of preloads that may be wasted; ``None`` sets no budget.
        eviction: Name of the contender's eviction policy.
        provider: What resources cost, where that is declared; drawn from the seed unless given.
    """

    kind: str
    fit: Sequence[Session]
    test: Sequence[Session]
    per_user: bool = True
    budget: float = 5.0
    cache: Cache = "cold"
    repeats: Repeats = "dropped"
    seeds: Sequence[int] = (0,)
    policy: str = "thresholds"
    waste: float | None = 0.10
    eviction: str = "predictive"
    provider: Provider | None = None

    def __post_init__(self) -> None:
        for part in ("fit", "test"):
            sessions = [without_annotations(session, self.kind) for session in getattr(self, part)]
            msgspec.structs.force_setattr(self, part, [session for session in sessions if session.events])


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a report shows beyond the metrics, all of the first seed."""

    recordings: dict[str, Recording]
    calibration: CalibrationWatcher
    memory: MemoryTrace


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        rows: Metrics by run, means over the seeds.
        spreads: Their standard deviations; empty for one seed.
        frontier: The contender under other waste budgets, under the first seed, where that was asked for.
        sessions: How many sessions were replayed.
        events: How many events they have.
        resources: Size of the kind's vocabulary.
        capacity_bytes: The budget under the first seed.
        events_per_second: Events that the contender observed by second of processor time, in its first run: the one
            whose predictions are not repeated, but which is also watched where evidence or outcomes are asked for.
        evidence: What a report shows, where it was asked for.
    """

    rows: dict[str, Metrics]
    spreads: dict[str, Metrics]
    frontier: list[FrontierPoint]
    sessions: int
    events: int
    resources: int
    capacity_bytes: int
    events_per_second: float
    evidence: Evidence | None


class Laboratory:
    """Conducts one plan.

    Args:
        plan: What is replayed, and how.
        predictor: Returns a new predictor that has learned what may be learned before the replay.

    Raises:
        ConfigurationError: The history does not use the kind, or a policy or its waste is wrong.
    """

    def __init__(self, plan: Plan, predictor: Callable[[], Predictor]) -> None:
        self._plan = plan
        self._script = write_script(plan.test, plan.kind, plan.repeats, plan.per_user)
        self._learned = vocabulary(plan.fit, plan.kind)
        self._vocabulary = self._learned | vocabulary(plan.test, plan.kind)
        rehearsal = Rehearsal(predictor, self.events)
        self._contender = Contender(rehearsal.predictor, lambda: make_policy(plan.policy, plan.waste), plan.eviction)
        self._contender.policy()  # so that a mistake is told now
        if not any(step.needs for session in self._script for step in session.steps):
            raise ConfigurationError(f"the part to be replayed uses no resource of kind {plan.kind!r}")

    @property
    def events(self) -> int:
        """How many events one run observes."""
        return sum(len(session.steps) for session in self._script)

    def runs(self, frontier: bool) -> int:
        """Return how many runs `conduct` plays, the frontier's included if there is one."""
        return len(RUNS) * len(self._plan.seeds) + (len(FRONTIER_BUDGETS) if frontier else 0)

    def conduct(
        self,
        *,
        outcomes: Path | None = None,
        evidence: bool = False,
        frontier: bool = False,
        progress: Progress | None = None,
    ) -> Study:
        """Play all runs.

        Args:
            outcomes: Where to write counterfactual outcomes of the contender's first run.
            evidence: Whether to gather what a report shows.
            frontier: Whether to play the contender under other waste budgets, too.
            progress: Called after each session with its number of events.

        Raises:
            ConfigurationError: ``outcomes`` cannot be written.
            MissingExtraError: ``outcomes`` is to be Parquet and pyarrow is not installed.
        """
        first, *others = self._plan.seeds
        with outcome_file(outcomes) if outcomes else nullcontext() as emit:
            world = self._world(first)
            calibration, memory = CalibrationWatcher(world.provider), MemoryTrace()
            watchers: list[Watcher] = [calibration] if evidence else []
            if emit:
                watchers.append(OutcomeRecorder(emit, world.provider, self._learned))
            recordings = self._compare(world, progress, watchers, memory if evidence else None)
        seeds = [recordings, *(self._compare(self._world(seed), progress) for seed in others)]
        measured = [measure_all(runs) for runs in seeds]
        return Study(
            rows={run: average([rows[run] for rows in measured]) for run in RUNS} if others else measured[0],
            spreads={run: spread([rows[run] for rows in measured]) for run in RUNS} if others else {},
            frontier=self._frontier(world, recordings, progress) if frontier else [],
            sessions=len(self._script),
            events=self.events,
            resources=len(self._vocabulary),
            capacity_bytes=world.capacity_bytes,
            events_per_second=recordings[PRELOADER].events / max(recordings[PRELOADER].cpu_s, 1e-9),
            evidence=Evidence(recordings=recordings, calibration=calibration, memory=memory) if evidence else None,
        )

    def _world(self, seed: int) -> World:
        provider = self._plan.provider or SimulatedProvider(lambda key: drawn_cost(key, seed))
        capacity_bytes = round(self._plan.budget * mean_bytes(self._vocabulary, provider))
        return World(provider, self._plan.kind, capacity_bytes, self._plan.cache)

    def _compare(
        self,
        world: World,
        progress: Progress | None,
        watchers: Sequence[Watcher] = (),
        memory: MemoryTrace | None = None,
    ) -> dict[str, Recording]:
        def watch(run: str, casting: Casting) -> Casting:
            return watched(casting, watchers, memory) if run == PRELOADER else casting

        return compare(self._script, world, self._contender, progress, watch)

    def _frontier(
        self, world: World, recordings: Mapping[str, Recording], progress: Progress | None
    ) -> list[FrontierPoint]:
        """Play the contender under several waste budgets."""
        points = []
        for waste in FRONTIER_BUDGETS:
            contender = msgspec.structs.replace(
                self._contender, policy=lambda waste=waste: make_policy(self._plan.policy, waste)
            )
            recording = play(PRELOADER, self._script, world, contending(contender), progress)
            lru, clairvoyant = recordings["lru"].needs, recordings["clairvoyant"].needs
            points.append(
                FrontierPoint(waste, measure(PRELOADER, recording.needs, recording.preloads, lru, clairvoyant))
            )
        return points


def report_data(title: str, facts: dict[str, str], study: Study) -> ReportData:
    """Return what a report of ``study`` shows.

    Args:
        title: What was replayed.
        facts: Name and value of what a reader must know to repeat it.
        study: Conducted with ``evidence``.

    Raises:
        ValueError: It was conducted without.
    """
    if study.evidence is None:
        raise ValueError("the study gathered no evidence: conduct it with evidence=True")
    evidence = study.evidence
    ours = evidence.recordings[PRELOADER]
    return ReportData(
        title=title,
        facts=facts,
        rows=study.rows,
        spreads=study.spreads,
        frontier=study.frontier,
        savings=savings(ours.needs, evidence.recordings["lru"].needs),
        next_item=evidence.calibration.next_item,
        use_if_loaded=evidence.calibration.use_if_loaded,
        memory=evidence.memory.points,
        end_s=ours.spans[-1].end_s,
        capacity_bytes=study.capacity_bytes,
        excerpt=choose(ours),
    )
