"""Ranks the files that an agent may read next, by what its session and its repository's earlier ones showed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.trees import BoostedTrees, averaged
from preloader.workspace.learn.features import Candidates, candidates
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item, Recording
from preloader.workspace.learn.memory import READING, SessionMemory

NEVER_READ = 1_000_000

HORIZONS = (2, 4, 12, NEVER_READ)
"""Within how many calls a file is to be read: one ensemble each, whose margins are averaged."""

_SOON = 4
_HOPEFUL = 0.1  # of all candidates: a wider sieve ranked worse, for trees spend themselves on what is easy
_SEED = 7


class TreeFitter(Protocol):
    """Fits boosted trees, as `preloader.learning.boosting.fit_trees` does."""

    def __call__(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[np.int64],
        weights: NDArray[np.float64] | None = None,
        *,
        classes: int = 2,
        trees: int = 120,
        leaves: int = 15,
        rate: float = 0.06,
        seed: int = 0,
    ) -> BoostedTrees:
        """Return trees that tell the labels of rows apart."""
        ...


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """A file that may be read next.

    Attributes:
        path: The file.
        probability: From `StepPredictor.files`: that it is read later in this session, calibrated
            (`preloader.workspace.learn.likelihood`). Elsewhere: its score.
    """

    path: str
    probability: float


class Ranker:
    """Scores candidates with boosted trees: the likelier each is to be read within a few calls, the higher.

    Nearly all candidates are hopeless, and a few trees tell; the others are told apart by many, fitted on such alone.

    Args:
        sieve: Few trees of one output, over `preloader.workspace.learn.features.NAMES`.
        least: The margin of the sieve from which a candidate is not hopeless.
        trees: Many trees, likewise.
    """

    def __init__(self, sieve: BoostedTrees, least: float, trees: BoostedTrees) -> None:
        self.sieve = sieve
        self.least = least
        self.trees = trees

    def scores(self, found: Candidates) -> NDArray[np.float64]:
        """Return the score of each candidate, from 0 to 1; a hopeless one has 0: (candidates,)."""
        hopeful = np.flatnonzero(self.sieve.margins(found.features)[:, 0] >= self.least)
        scores = np.zeros(len(found.numbers))
        scores[hopeful] = 1 / (1 + np.exp(-self.trees.margins(found.features[hopeful])[:, 0]))
        return scores

    def rank(self, memory: SessionMemory, limit: int = 5) -> list[Ranked]:
        """Return the likeliest files that no call named yet, the likeliest first."""
        found = candidates(memory)
        return likeliest(memory, found, self.scores(found), limit)


def likeliest(memory: SessionMemory, found: Candidates, scores: NDArray[np.float64], limit: int) -> list[Ranked]:
    """Return the candidates with the highest scores, the highest first."""
    best = np.argsort(-scores, kind="stable")[:limit]
    return [Ranked(memory.book.paths[found.numbers[one]], float(scores[one])) for one in best]


class Examples:
    """Rows to fit a ranker on: candidates at the moment before each call, sampled; weights make up for it.

    Args:
        seed: Of the sample.
    """

    def __init__(self, seed: int = _SEED) -> None:
        self._random = np.random.default_rng(seed)
        self._rows: list[NDArray[np.float32]] = []
        self._until: list[NDArray[np.int64]] = []
        self._weights: list[NDArray[np.float64]] = []

    def add(self, steps: Sequence[Candidates], reads: dict[int, int]) -> None:
        """Take a session.

        Args:
            steps: The candidates before each of its calls.
            reads: When each file, by number, was first read: which call.
        """
        for step, found in enumerate(steps):
            if not len(found.numbers):
                continue
            when = np.array([reads.get(number, NEVER_READ) for number in found.numbers.tolist()])
            until = np.where((when >= step) & (when < NEVER_READ), when - step, NEVER_READ)
            share = np.where(until < _SOON, 1.0, np.where(until < NEVER_READ, 0.3, 0.1))
            kept = self._random.random(len(share)) < share
            self._rows.append(found.features[kept])
            self._until.append(until[kept])
            self._weights.append(1 / share[kept])

    def fit(self, fitter: TreeFitter, horizons: Iterable[int] = HORIZONS, without: Sequence[int] = ()) -> Ranker:
        """Return a ranker fitted on what was added; it sees zeros in the columns ``without``."""
        rows, until = np.concatenate(self._rows), np.concatenate(self._until)
        weights = np.concatenate(self._weights)
        if without:
            rows[:, list(without)] = 0
        sieve = self._sieve(fitter, rows, until, weights)
        margins = sieve.margins(rows)[:, 0]
        least = _from_top(margins, weights, _HOPEFUL)
        hard = margins >= least
        fitted = [
            fitter(rows[hard], (until[hard] < horizon).astype(np.int64), weights[hard], trees=100, seed=number)
            for number, horizon in enumerate(horizons)
        ]
        return Ranker(sieve, least, averaged(fitted))

    @staticmethod
    def _sieve(
        fitter: TreeFitter, rows: NDArray[np.float32], until: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> BoostedTrees:
        """Return few trees, fitted on all that is read soon and every fourth of the rest."""
        soon = until < _SOON
        some = soon | (np.arange(len(rows)) % 4 == 0)
        again = np.where(soon, 1.0, 4.0) * weights
        return fitter(rows[some], soon[some].astype(np.int64), again[some], trees=30, rate=0.12, seed=_SEED)


def _from_top(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Return from which value on a share of the weights lies."""
    order = np.argsort(-values, kind="stable")
    reached = np.cumsum(weights[order]) >= share * weights.sum()
    return float(values[order[int(np.argmax(reached))]])


def first_reads(recording: Recording, memory: SessionMemory) -> dict[int, int]:
    """Return, for each file that was read before any call named it, which call read it.

    Args:
        recording: The session.
        memory: It, fed with all of the session.
    """
    reads: dict[int, int] = {}
    for step, call in enumerate(item for item in recording.items if item.type == "tool_call"):
        file = call.arguments.get("file_path", "")
        number = memory.book.find(memory.book.plain(file)) if call.tool in READING and isinstance(file, str) else None
        if number is not None:
            reads.setdefault(number, step)
    return reads


def walk(
    recording: Recording, habits: Habits | None, before_call: Callable[[SessionMemory, Item], None]
) -> SessionMemory:
    """Feed a session to a new memory, and look at it before each call; return it."""
    memory = SessionMemory(recording.repository, habits)
    for item in recording.items:
        if item.type == "tool_call":
            before_call(memory, item)
        memory.feed(item)
    return memory
