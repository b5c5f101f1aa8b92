"""Fits the learned models on recorded sessions, and chooses thresholds by sessions that they were not fitted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from preloader.logodds import LogOddsShifts
from preloader.workspace.learn.action_model import ActionExamples, ActionModel, WordFitter
from preloader.workspace.learn.call_habits import CallHabits
from preloader.workspace.learn.calls import CallExamples, CallMemory, taught
from preloader.workspace.learn.features import Candidates, candidates
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item, Recording
from preloader.workspace.learn.likelihood import fit_likelihood
from preloader.workspace.learn.memory import READING, SessionMemory
from preloader.workspace.learn.models import Models, Thresholds
from preloader.workspace.learn.patterns import pattern_record
from preloader.workspace.learn.preparing import Step, threshold_for
from preloader.workspace.learn.ranker import Examples, Ranked, Ranker, TreeFitter, first_reads, walk

COLD_FILES = 8
"""How many of the likeliest files are proposed as calls."""

PRECISE_RECALL, USUAL_RECALL = 0.6, 0.7


class Fitters(NamedTuple):
    """What fits the parts: `preloader.learning.boosting`, which the runtime never imports."""

    trees: TreeFitter
    words: WordFitter


class Known(msgspec.Struct):
    """What the earlier sessions of one repository teach."""

    files: Habits = msgspec.field(default_factory=Habits)
    calls: CallHabits = msgspec.field(default_factory=CallHabits)
    patterns: LogOddsShifts = msgspec.field(default_factory=pattern_record)


KnownBy = defaultdict[str, Known]
"""By repository."""


class Learned(NamedTuple):
    """Models, and what is known of each repository."""

    models: Models
    known: KnownBy


def learn(
    fit: Sequence[Recording],
    validation: Sequence[Recording],
    fitters: Fitters,
    progress: Callable[[], None] = lambda: None,
) -> Learned:
    """Fit everything.

    Thresholds, what scores are worth, and the predictor of calls come from the sessions of ``validation``, with a
    ranker and habits from ``fit`` alone; then the ranker and the predictor of actions are fitted on all.

    Args:
        fit: Sessions, by start.
        validation: Later ones.
        fitters: What fits the parts.
        progress: Called after each session and each fitted model.
    """
    known: KnownBy = defaultdict(Known)
    files, actions = Examples(), ActionExamples()
    _add(fit, known, files, actions, progress)
    ranker, action = _fitted(files, actions, fitters, progress)
    observed, calls = _validated(validation, known, ranker, action, progress)
    thresholds = Thresholds(threshold_for(observed, PRECISE_RECALL), threshold_for(observed, USUAL_RECALL))
    likelihood = fit_likelihood(observed)
    predictor = calls.fit(fitters.trees)
    _add(validation, known, files, actions, progress)
    ranker, action = _fitted(files, actions, fitters, progress)
    return Learned(Models(ranker, action, predictor, thresholds, likelihood), known)


def _add(
    sessions: Sequence[Recording],
    known: KnownBy,
    files: Examples,
    actions: ActionExamples,
    progress: Callable[[], None],
) -> None:
    for recording in sessions:
        here = known[recording.repository]
        steps: list[Candidates] = []
        memory = walk(recording, here.files, partial(note_candidates, steps))
        files.add(steps, first_reads(recording, memory))
        actions.add(recording)
        memory.taught(here.files)
        taught(recording.items, here.calls)
        progress()


def note_candidates(steps: list[Candidates], memory: SessionMemory, _: Item) -> None:
    """Add the candidates before a call to a list."""
    steps.append(candidates(memory))


def _fitted(
    files: Examples, actions: ActionExamples, fitters: Fitters, progress: Callable[[], None]
) -> tuple[Ranker, ActionModel]:
    ranker = files.fit(fitters.trees)
    progress()
    action = actions.fit(fitters.words, fitters.trees)
    progress()
    return ranker, action


def _validated(
    sessions: Sequence[Recording], known: KnownBy, ranker: Ranker, action: ActionModel, progress: Callable[[], None]
) -> tuple[list[list[Step]], CallExamples]:
    observed: list[list[Step]] = []
    examples = CallExamples()
    for recording in sessions:
        here = known[recording.repository]
        calls = CallMemory(here.calls)
        steps: list[Step] = []
        memory = SessionMemory(recording.repository, here.files)
        for item in recording.items:
            if item.type == "tool_call":
                found = candidates(memory)
                step = reading(memory, item, Step(found.numbers, ranker.scores(found)))
                steps.append(step)
                examples.add(calls, cold_files(memory, step), action.predict(calls.turn), item)
            memory.feed(item)
            calls.feed(item)
        observed.append(steps)
        progress()
    return observed, examples


def reading(memory: SessionMemory, call: Item, step: Step) -> Step:
    """Return a moment with what the call after it turns out to read."""
    file = call.arguments.get("file_path")
    if call.tool not in READING or not isinstance(file, str):
        return step
    number = memory.book.find(memory.book.plain(file))
    return Step(step.numbers, step.scores, -1 if number is None else number, not memory.is_touched(file))


def cold_files(memory: SessionMemory, step: Step) -> list[Ranked]:
    """Return the likeliest files that no call named yet."""
    best = (-step.scores).argsort(kind="stable")[:COLD_FILES].tolist()
    return [Ranked(memory.book.paths[step.numbers[one]], float(step.scores[one])) for one in best]
