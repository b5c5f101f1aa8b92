"""Which files are prepared step by step, and what comes of it: the rule that measures and thresholds go by."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from preloader.ndarray import NDArray

NEW_FILES_A_STEP = 5
"""The most files that are newly prepared between two calls."""

Floats = NDArray[np.float64]


class Step(msgspec.Struct, frozen=True, eq=False):
    """The moment before a call.

    Attributes:
        numbers: The candidates: files that no call named yet.
        scores: Of each: the likelier it is to be read soon, the higher.
        reads: The file that the call reads, if it reads one; -1 if that has no number.
        is_cold: Whether no earlier call named it.
    """

    numbers: NDArray[np.int64]
    scores: Floats
    reads: int | None = None
    is_cold: bool = False


class Prepared(msgspec.Struct):
    """What came of preparing the files of a session.

    Attributes:
        prepared: How many files were.
        used: How many of them were then read.
        cold: How many cold reads there were.
        ready: How many of them found their file ready.
        reads: How many reads there were.
    """

    prepared: int = 0
    used: int = 0
    cold: int = 0
    ready: int = 0
    reads: int = 0


def prepare(steps: Sequence[Step], threshold: float, limit: int = NEW_FILES_A_STEP) -> Prepared:
    """Prepare at each step the likeliest candidates that are not yet, if they reach the threshold."""
    result, held, used = Prepared(), set[int](), set[int]()
    for step in steps:
        held.update(chosen(step.numbers, step.scores, held, threshold, limit))
        if step.reads is None:
            continue
        result.reads += 1
        result.cold += step.is_cold
        if step.reads in held:
            result.ready += step.is_cold
            used.add(step.reads)
    result.prepared, result.used = len(held), len(used)
    return result


def offered(steps: Sequence[Step], threshold: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the score of each file at the moment when `prepare` prepares it, and whether it was then read."""
    last = {step.reads: number for number, step in enumerate(steps) if step.reads is not None}
    held = set[int]()
    scores, came = list[float](), list[bool]()
    for moment, step in enumerate(steps):
        new = chosen(step.numbers, step.scores, held, threshold)
        held.update(new)
        score = dict(zip(step.numbers.tolist(), step.scores.tolist(), strict=True))
        scores += [score[number] for number in new]
        came += [last.get(number, -1) >= moment for number in new]
    return np.array(scores), np.array(came, bool)


def chosen(
    numbers: NDArray[np.int64], scores: Floats, held: set[int], threshold: float, limit: int = NEW_FILES_A_STEP
) -> list[int]:
    """Return the likeliest candidates that are not held yet and reach the threshold, the likeliest first."""
    reaching = np.flatnonzero(scores >= threshold)
    ordered = numbers[reaching[np.argsort(-scores[reaching], kind="stable")]].tolist()
    return [number for number in ordered if number not in held][:limit]


def threshold_for(sessions: Sequence[Sequence[Step]], recall: float) -> float:
    """Return the highest threshold at which that share of the cold reads of all sessions finds its file ready.

    The lowest there is, if none suffices.
    """
    scores = np.concatenate([step.scores for steps in sessions for step in steps] or [np.zeros(1)])
    tried = np.unique(np.quantile(scores, 1 - np.geomspace(1e-5, 0.5, 60)))[::-1] if len(scores) else [0.0]
    for threshold in tried:
        came = [prepare(steps, float(threshold)) for steps in sessions]
        if sum(one.ready for one in came) >= recall * max(1, sum(one.cold for one in came)):
            return float(threshold)
    return float(tried[-1])
