"""How much of an agent's next step is ready: the workspace's measures on recorded sessions, per repository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from preloader.evaluation.ratios import ratio_interval
from preloader.ndarray import NDArray
from preloader.workspace.learn.fitting import Fitters, Learned, learn
from preloader.workspace.learn.items import Split
from preloader.workspace.learn.preparing import Step, offered, prepare
from preloader.workspace.observed import Baselines, Observed, observe

ALL = "all"
_CURVE_POINTS = 24
_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

Ratio = tuple[float, float]


class Row(msgspec.Struct, frozen=True):
    """One figure.

    Attributes:
        measure: What is measured.
        repository: Where; `ALL` for all of them together.
        value: The share; ``None`` where there was nothing to measure.
        low: The lower end of its 95 % interval.
        high: The upper end.
        n: How much the share is of: reads, calls or seconds.
        baseline: The same of what it is compared with.
    """

    measure: str
    repository: str
    value: float | None
    low: float | None
    high: float | None
    n: float
    baseline: float | None = None


class CurvePoint(msgspec.Struct, frozen=True):
    """What one threshold gives.

    Attributes:
        threshold: From which probability a file is prepared.
        recall: Of the cold reads, the share whose file was ready.
        precision: Of the files prepared, the share that was then read.
        reads_warm: Of all reads, the share whose file was named before or ready.
        prepared: How many files.
    """

    threshold: float
    recall: float
    precision: float
    reads_warm: float
    prepared: int


class Reliability(msgspec.Struct, frozen=True):
    """What stated probabilities came to.

    Attributes:
        stated: The mean of those between two bounds.
        came: Of their files, the share that was then read.
        files: How many were prepared.
    """

    stated: float
    came: float
    files: int


class Report(msgspec.Struct, frozen=True):
    """All figures of one evaluation.

    Attributes:
        rows: The measures.
        curve: Of the file ranker on the test sessions, the strictest threshold first.
        sessions: How many were fitted on, chosen by, and tested on.
        reliability: Of the probabilities of the files prepared, the lowest first.
    """

    rows: list[Row]
    curve: list[CurvePoint]
    sessions: dict[str, int]
    reliability: list[Reliability]


def evaluate_workspace(
    cut: Split, fitters: Fitters, *, seed: int = 0, bootstraps: int = 1_000, progress: Callable[[], None] = lambda: None
) -> tuple[Report, Learned]:
    """Fit on the first sessions, choose by the next, and measure on the last.

    Args:
        cut: The sessions.
        fitters: What fits the models.
        seed: Of the intervals' draws.
        bootstraps: How many resamples they are made of.
        progress: Called after each session and each fitted model.
    """
    learned = learn(cut.fit, cut.validation, fitters, progress)
    baselines = Baselines([*cut.fit, *cut.validation])
    observed = []
    for recording in cut.test:
        observed.append(observe(recording, learned, baselines))
        progress()
    report = Report(
        rows=list(_rows(observed, learned, seed, bootstraps)),
        curve=curve([one.steps for one in observed]),
        sessions={"fit": len(cut.fit), "validation": len(cut.validation), "test": len(cut.test)},
        reliability=reliability([one.steps for one in observed], learned),
    )
    return report, learned


def curve(sessions: Sequence[Sequence[Step]]) -> list[CurvePoint]:
    """Return what thresholds from strict to lax give: recall and precision of the prepared files."""
    points = []
    for number in range(_CURVE_POINTS):
        threshold = 0.85 * 0.72**number
        came = [prepare(steps, threshold) for steps in sessions]
        cold, ready = sum(one.cold for one in came), sum(one.ready for one in came)
        prepared, used = sum(one.prepared for one in came), sum(one.used for one in came)
        reads = sum(one.reads for one in came)
        if prepared and cold:
            points.append(
                CurvePoint(threshold, ready / cold, used / prepared, (reads - cold + ready) / reads, prepared)
            )
    return points


def reliability(sessions: Sequence[Sequence[Step]], learned: Learned) -> list[Reliability]:
    """Return what the probabilities came to that prepared files are said to have."""
    found = [offered(steps, learned.models.thresholds.usual) for steps in sessions]
    stated: NDArray[np.float64] = learned.models.likelihood.of(np.concatenate([scores for scores, _ in found]))
    came = np.concatenate([read for _, read in found])
    among = np.digitize(stated, _BOUNDS)
    groups = [among == number for number in np.unique(among)]
    return [Reliability(float(stated[one].mean()), float(came[one].mean()), int(one.sum())) for one in groups]


def _rows(observed: Sequence[Observed], learned: Learned, seed: int, bootstraps: int) -> Iterable[Row]:
    by_repository: dict[str, list[Observed]] = defaultdict(list)
    for one in observed:
        by_repository[ALL].append(one)
        by_repository[one.repository].append(one)
    for repository, sessions in by_repository.items():
        tallies = [_tally(one, learned) for one in sessions]
        for measure in tallies[0]:
            ratios = [tally[measure] for tally in tallies]
            other = [tally[_BASELINES[measure]] for tally in tallies] if measure in _BASELINES else None
            yield _row(measure, repository, ratios, other, seed, bootstraps)


_BASELINES = {
    "cold_reads_ready": "cold_reads_said",
    "reads_warm": "reads_touched",
    "exact_call_top1": "paste_call_top1",
    "exact_call_top3": "paste_call_top3",
    "time_saved": "paste_time_saved",
    "next_tool_top1": "order1_tool_top1",
    "next_tool_top2": "order1_tool_top2",
}
"""What a measure is compared with."""


def _tally(one: Observed, learned: Learned) -> dict[str, Ratio]:
    usual = prepare(one.steps, learned.models.thresholds.usual)
    precise = prepare(one.steps, learned.models.thresholds.precise)
    ratios: dict[str, Ratio] = {
        "cold_reads_ready": (usual.ready, usual.cold),
        "cold_reads_ready_precise": (precise.ready, precise.cold),
        "cold_reads_said": (one.said, usual.cold),
        "reads_warm": (usual.reads - usual.cold + usual.ready, usual.reads),
        "reads_touched": (usual.reads - usual.cold, usual.reads),
        "prepared_then_read": (usual.used, usual.prepared),
        "prepared_then_read_precise": (precise.used, precise.prepared),
    }
    for name, hits, of in (
        ("next_tool_top1", one.tool_hits[0], one.calls),
        ("next_tool_top2", one.tool_hits[1], one.calls),
        ("order1_tool_top1", one.habit_hits[0], one.calls),
        ("order1_tool_top2", one.habit_hits[1], one.calls),
        ("exact_call_top1", one.call_hits[0], one.safe_calls),
        ("exact_call_top3", one.call_hits[1], one.safe_calls),
        ("paste_call_top1", one.paste_hits[0], one.safe_calls),
        ("paste_call_top3", one.paste_hits[1], one.safe_calls),
        ("exact_call_proposed", one.proposed, one.safe_calls),
        ("time_saved", one.saved_s, one.waited_s),
        ("paste_time_saved", one.paste_saved_s, one.waited_s),
        ("clairvoyant_time_saved", one.clairvoyant_saved_s, one.waited_s),
        ("time_saved_of_clairvoyant", one.saved_s, one.clairvoyant_saved_s),
    ):
        ratios[name] = (hits, of)
    return ratios


def _row(
    measure: str, repository: str, ratios: Sequence[Ratio], other: Sequence[Ratio] | None, seed: int, bootstraps: int
) -> Row:
    above, below = [one[0] for one in ratios], [one[1] for one in ratios]
    interval = ratio_interval(above, below, seed, bootstraps)
    low, high = interval if interval else (None, None)
    return Row(measure, repository, _share(ratios), low, high, sum(below), _share(other) if other else None)


def _share(ratios: Sequence[Ratio]) -> float | None:
    below = sum(one[1] for one in ratios)
    return sum(one[0] for one in ratios) / below if below else None
