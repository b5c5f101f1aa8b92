"""What each sort of signal is worth to the file ranker: it is fitted again without it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.features import NAMES, Candidates, candidates
from preloader.workspace.learn.fitting import Fitters, note_candidates, reading
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item, Recording, Split
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.preparing import Step, prepare, threshold_for
from preloader.workspace.learn.ranker import Examples, first_reads, walk

RECALLS = (0.6, 0.7)
_HORIZON = 4

_NAMED: dict[str, tuple[str, ...]] = {
    "the user's words": ("_user",),
    "the assistant's words": ("_assistant",),
    "its thinking": ("_thinking",),
    "searches": ("_search",),
    "the shell": ("_shell",),
    "files read": ("_read",),
    "other tools' results": ("_result",),
    "calls": ("_call",),
    "a directory that holds it": ("_directory",),
}
_OTHER: dict[str, tuple[str, ...]] = {
    "earlier sessions": ("past_r", "past_e", "past_l", "follows", "together"),
    "directories and twins": (
        *(
            "same_directory",
            "near_directories",
            "directory_use",
            "common_parts",
            "tree_distance",
            "twin_",
            "shared_words",
        ),
    ),
    "words and identifiers": ("word_", "symbol_", "stem_", "covered_", "defines_"),
    "words before earlier uses": ("recalled", "past_used"),
    "order in lists": ("list_", "same_list", "used_from"),
    "wishes in words": ("wants_", "asked_", "distance_"),
    "last tools": ("tool", "since_user", "pending", "run", "spoke"),
}


class Without(msgspec.Struct, frozen=True):
    """The file ranker without one sort of signal; precision at the recalls `RECALLS` of the sessions it is seen on.

    Attributes:
        signal: What it lacks; empty for the whole.
        features: How many columns that are.
        precision: At each recall; thresholds are chosen for these recalls on the same sessions.
    """

    signal: str
    features: int
    precision: list[float]


def signals() -> dict[str, list[int]]:
    """Return the columns of each sort of signal."""
    mentions = NAMES[: NAMES.index("seconds")]
    found = {
        f"named in {source}": [n for n, name in enumerate(mentions) if name.endswith(channels)]
        for source, channels in _NAMED.items()
    }
    for signal, prefixes in _OTHER.items():
        found[signal] = [n for n, name in enumerate(NAMES) if name.startswith(prefixes)]
    return {"": [], **found}


def ablated(cut: Split, fitters: Fitters) -> list[Without]:
    """Fit the ranker without each sort of signal on the sessions to fit on, and look at those to choose by.

    Test sessions are left alone. Of each, one ensemble is fitted where `learn` averages several.
    """
    habits: defaultdict[str, Habits] = defaultdict(Habits)
    examples = Examples()
    for recording in cut.fit:
        steps: list[Candidates] = []
        memory = walk(recording, habits[recording.repository], partial(note_candidates, steps))
        examples.add(steps, first_reads(recording, memory))
        memory.taught(habits[recording.repository])
    rankers = {signal: _Blind(examples, columns, fitters) for signal, columns in signals().items()}
    sessions: dict[str, list[list[Step]]] = {signal: [] for signal in rankers}
    for recording in cut.validation:
        for signal, observed in _observed(recording, habits[recording.repository], rankers).items():
            sessions[signal].append(observed)
    return [
        Without(signal, len(signals()[signal]), [_precision(observed, recall) for recall in RECALLS])
        for signal, observed in sessions.items()
    ]


class _Blind:
    """A ranker that sees zeros in some columns."""

    def __init__(self, examples: Examples, columns: Sequence[int], fitters: Fitters) -> None:
        self._columns = list(columns)
        self._ranker = examples.fit(fitters.trees, horizons=(_HORIZON,), without=columns)

    def scores(self, found: Candidates) -> NDArray[np.float64]:
        features = found.features.copy()
        features[:, self._columns] = 0
        return self._ranker.scores(Candidates(found.numbers, features))


def _observed(recording: Recording, habits: Habits, rankers: dict[str, _Blind]) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = {signal: [] for signal in rankers}

    def look(memory: SessionMemory, call: Item) -> None:
        found = candidates(memory)
        for signal, ranker in rankers.items():
            steps[signal].append(reading(memory, call, Step(found.numbers, ranker.scores(found))))

    walk(recording, habits, look)
    return steps


def _precision(sessions: Sequence[Sequence[Step]], recall: float) -> float:
    threshold = threshold_for(sessions, recall)
    came = [prepare(steps, threshold) for steps in sessions]
    return sum(one.used for one in came) / max(1, sum(one.prepared for one in came))
