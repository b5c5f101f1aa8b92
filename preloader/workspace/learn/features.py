"""The numbers by which a ranker tells which files the agent reads next."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.activation import SYMBOL_CHANNELS, WORD_CHANNELS, top
from preloader.workspace.learn.evidence import CHANNELS, NEVER
from preloader.workspace.learn.intent import INTENTS, SPEAKERS
from preloader.workspace.learn.kinship import TRAITS
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.recall import RECALLED

MOST_CANDIDATES = 150
RECENT_FILES = 6

_TOOLS = ("Read", "Edit", "Write", "Grep", "Glob", "Bash", "Task")
_LISTINGS = ("user", "search", "shell", "result")
_PLACED = CHANNELS[:8]
_COUNTED = CHANNELS[3:7]
_NUMBERED = CHANNELS[1:5]

Matrix = NDArray[np.float64]


class Candidates(NamedTuple):
    """The files that may be prepared, and their features.

    Attributes:
        numbers: Of the paths, in the session's book: (candidates,).
        features: (candidates, `NAMES`), float32.
    """

    numbers: NDArray[np.int64]
    features: NDArray[np.float32]


def _each(prefix: str, names: tuple[str, ...]) -> list[str]:
    return [f"{prefix}_{name}" for name in names]


NAMES: tuple[str, ...] = (
    *_each("age", CHANNELS),
    *_each("steps", CHANNELS),
    *_each("times", CHANNELS),
    *_each("place", _PLACED),
    *_each("beside", _PLACED),
    *_each("certainty", _PLACED),
    *_each("lines", _COUNTED),
    *_each("numbered", _NUMBERED),
    *("seconds", "youngest", "channels", "mentions", "defined"),
    *_each("word", WORD_CHANNELS),
    *_each("symbol", SYMBOL_CHANNELS),
    *("symbol_top_assistant", "symbol_top_thinking", "symbol_top_returned", "word_top", "stem_age", "stem_times"),
    *_each("asked", SPEAKERS),
    *_each("distance", SPEAKERS),
    *TRAITS,
    *("same_directory", "near_directories", "directory_use", "common_parts", "tree_distance"),
    *("twin_recent", "twin_any", "shared_words", "follows", "together"),
    *("list_distance", "list_next", "same_list"),
    *_each("used_from", _LISTINGS),
    *("tool", "tool_before", "since_user", "cold_share", "pending", "candidates", "fresh"),
    *_each("wants", tuple(INTENTS)),
    *_each("covered", WORD_CHANNELS),
    *_each("recalled", RECALLED),
    *("recalled_top", "recalled_lift", "defines_said", "defines_returned"),
    *("run", "spoke", "run_reads"),
)
"""What each column is; ages are in items, steps in calls."""


def candidates(memory: SessionMemory, limit: int = MOST_CANDIDATES) -> Candidates:
    """Return the files that no call named yet and that something points at, with their features.

    Args:
        memory: The session.
        limit: The most candidates: those named last, or pointed at most.
    """
    numbers = _chosen(memory, limit)
    if not len(numbers):
        return Candidates(numbers, np.zeros((0, len(NAMES)), np.float32))
    blocks = [
        _mentions(memory, numbers),
        _pointed_at(memory, numbers),
        _words_around(memory, numbers),
        memory.kinship.traits()[numbers],
        _neighbourhood(memory, numbers),
        _lists(memory, numbers),
        _moment(memory, numbers),
        _recalled(memory, numbers),
        np.repeat(np.array([[memory.run, memory.spoke, memory.reads_in_a_row]], np.float64), len(numbers), axis=0),
    ]
    return Candidates(numbers, np.concatenate(blocks, axis=1).astype(np.float32))


def _chosen(memory: SessionMemory, limit: int) -> NDArray[np.int64]:
    count = len(memory.book)
    last = memory.evidence.of("item", count).max(axis=1, initial=NEVER)
    pointed = memory.activation.words(count)
    past = memory.kinship.traits()[:, TRAITS.index("past_reads")]
    is_file = np.fromiter((facts.is_file for facts in memory.book.facts), bool, count)
    free = is_file & (memory.touched_step(count)[:, 0] == NEVER)
    numbers = np.flatnonzero(free & ((last > NEVER) | (pointed[:, :2].sum(axis=1) > 4) | (past >= 2)))
    if len(numbers) <= limit:
        return numbers
    weight = np.where(last > NEVER, last, -1e6) + 3 * (past > 0) + pointed.sum(axis=1)
    return np.sort(numbers[np.argpartition(-weight[numbers], limit)[:limit]])


def _mentions(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    count = len(memory.book)

    def column(name: str) -> Matrix:
        return memory.evidence.of(name, count)[numbers]

    times = column("times")
    named = times > 0
    age = np.minimum(memory.item - column("item"), 2_000)
    placed = named[:, :8]
    blocks = [
        np.log1p(age),
        np.clip(memory.step - column("step"), 0, 1_000),
        np.log1p(times),
        np.where(placed, np.log1p(column("place")[:, :8]), 9.0),
        np.where(placed, np.log1p(column("beside")[:, :8]), -1.0),
        np.where(placed, column("certainty")[:, :8], -1.0),
        np.where(named, np.log1p(column("lines")), -1.0)[:, 3:7],
        column("numbered")[:, 1:5],
        np.log1p(np.clip(memory.now_s - column("second").max(axis=1), 0, 1e5))[:, None],
        age.min(axis=1, keepdims=True),
        named.sum(axis=1, keepdims=True),
        times.sum(axis=1, keepdims=True),
        np.minimum(memory.item - memory.defined.upto(count)[numbers], 300),
    ]
    return np.concatenate(blocks, axis=1)


def _pointed_at(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    count = len(memory.book)
    said = memory.activation.words(count)[numbers]
    symbols = memory.activation.identifiers(count)[numbers]
    stem_item, stem_times = memory.activation.stems(count)
    ranks = [top(symbols[:, column], 3) for column in (1, 2, 3)] + [top(said[:, 1], 5)]
    stem_age = np.minimum(memory.item - stem_item[numbers], 500)
    return np.concatenate([said, symbols, np.stack(ranks, axis=1), stem_age, stem_times[numbers]], axis=1)


def _words_around(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    count = len(memory.book)
    named = memory.evidence.of("times", count)[numbers][:, :3] > 0
    distance = np.where(named, np.log1p(memory.intent.distance(count)[numbers]), 12.0)
    return np.concatenate([memory.intent.asked(count)[numbers], distance], axis=1)


def _neighbourhood(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    """How a candidate is related to the files used lately: columns from ``same_directory`` to ``together``."""
    book, kinship = memory.book, memory.kinship
    recent = list(dict.fromkeys(reversed(memory.used[-200:])))[:RECENT_FILES]
    rows = np.zeros((len(numbers), 10))
    used = set(memory.used)
    directories = Counter(book.facts[number].directory for number in used)
    cores = {book.facts[number].core for number in used}
    rows[:, 2] = [directories[book.facts[number].directory] for number in numbers.tolist()]
    rows[:, 6] = [book.facts[number].core in cores for number in numbers.tolist()]
    if recent:
        kin = np.stack([kinship.to(number)[numbers] for number in recent])  # (recent, candidates, KINSHIP)
        rows[:, 0], rows[:, 1] = kin[0, :, 0], kin[:, :, 0].sum(axis=0)
        rows[:, 3], rows[:, 4] = kin[0, :, 1], kin[0, :, 2]
        rows[:, 5], rows[:, 7] = kin[:, :, 3].max(axis=0), kin[:, :, 4].max(axis=0)
        rows[:, 8] = kinship.followers(recent[0])[numbers]
        rows[:, 9] = np.stack([kinship.companions(number)[numbers] for number in recent]).max(axis=0)
    return rows


def _lists(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    """Where a candidate stands in the lists that named the file used last, and how much of its own lists was used."""
    count = len(memory.book)
    items, places = memory.evidence.of("item", count), memory.evidence.of("place", count)
    rows = np.zeros((len(numbers), 3 + len(_LISTINGS)))
    rows[:, :2] = 99.0
    if memory.used:
        last = memory.used[-1]
        same = (items[numbers] == items[last]) & (items[last] > NEVER)
        apart = np.where(same, places[numbers] - places[last], 99.0)
        rows[:, 0] = np.abs(apart).min(axis=1)
        rows[:, 1] = np.where(apart > 0, apart, 99.0).min(axis=1)
        rows[:, 2] = same.any(axis=1)
    touched = memory.touched_step(count)[:, 0] > NEVER
    for column, channel in enumerate(_LISTINGS, 3):
        when = items[:, CHANNELS.index(channel)]
        used = Counter(when[touched].tolist())
        rows[:, column] = [used[one] if one > NEVER else -1 for one in when[numbers].tolist()]
    return rows


def _moment(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    age = memory.item - memory.evidence.of("item", len(memory.book))[numbers].max(axis=1)
    tools = [_TOOLS.index(tool) if tool in _TOOLS else len(_TOOLS) for tool in memory.tools[-2:]]
    row = [
        tools[-1] if tools else -1,
        tools[0] if len(tools) > 1 else -1,
        memory.step - memory.user_step,
        memory.cold_reads / max(1, memory.reads),
        len(memory.pending),
        len(numbers),
        (age <= 3).sum(),
        *memory.intent.flags,
    ]
    return np.repeat(np.array([row], np.float64), len(numbers), axis=0)


def _recalled(memory: SessionMemory, numbers: NDArray[np.int64]) -> Matrix:
    """How much of a candidate's name was said, and which words or names point at it by what was seen before."""
    count = len(memory.book)
    shares = memory.recall.shares(count)[numbers]
    used = memory.kinship.traits()[numbers, TRAITS.index("past_used")]
    extra = np.stack([top(shares[:, 1], 5), np.log((shares[:, 1] + 1e-3) / (used + 1e-3))], axis=1)
    return np.concatenate(
        [memory.activation.covered(count)[numbers], shares, extra, memory.activation.defines(count)[numbers]], axis=1
    )
