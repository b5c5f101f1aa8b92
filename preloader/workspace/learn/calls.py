"""Predicts the next call exactly: its tool and every argument, among calls that have no side effects."""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.prediction.trees import BoostedTrees, averaged
from preloader.workspace.learn.call_habits import CallHabits, Template
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.ranker import Ranked, TreeFitter
from preloader.workspace.learn.safe_calls import IGNORED, call_key, is_safe, signature
from preloader.workspace.learn.tokens import words
from preloader.workspace.learn.turn import ACTIONS, Action, Turn, action_of

ORIGINS = ("cold", "reread", "onward", "again", "habit", "after", "pattern", "part")
"""What proposes a call: a file that may be read for the first time; one used before; the next part of one; a call of
this session; one that the repository's sessions often make, or make after such a call; a search for a name just said;
a part of a file that earlier sessions read."""

_RECENT = 6
_MOST_CALLS, _MOST_FILES = 2_048, 2_048  # that are remembered of one session: those made and named last
_LONG = 4_096  # characters of a call that is not remembered
_REPEATED = 25
_HABITS = 20
_TOOLS = ("Read", "Grep", "Glob", "Bash")
_QUOTED_NAME = re.compile(r"`([^`\n]{3,80})`")
_SAMPLED = 0.3
_SAID = 400

T = TypeVar("T")


class Proposal(msgspec.Struct):
    """A call that may come next.

    Attributes:
        tool: The tool.
        arguments: Its arguments.
        origins: What proposed it, with how much: columns of `ORIGINS`.
        probability: How likely it is to come next.
    """

    tool: str
    arguments: dict[str, Any]
    origins: dict[str, float]
    probability: float = 0.0

    @property
    def key(self) -> str:
        """What it shares with a call that does the same."""
        return call_key(self.tool, self.arguments)


class _Made(msgspec.Struct):
    tool: str
    arguments: dict[str, Any]
    step: int
    times: int = 1
    edits: int = 0


class CallMemory:
    """The safe calls of a session so far, and the files that they used."""

    def __init__(self, habits: CallHabits | None = None) -> None:
        self.habits = habits or CallHabits()
        self.turn = Turn()
        self.made: OrderedDict[str, _Made] = OrderedDict()
        self.recent: list[str] = []
        self.read_step: OrderedDict[str, int] = OrderedDict()
        self.edit_step: OrderedDict[str, int] = OrderedDict()
        self.ranges: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.last_search: dict[str, Any] = {}
        self.text = ""
        self.said: set[str] = set()
        self.characters: OrderedDict[str, int] = OrderedDict()
        self.wholes = self.parts = self.edits = 0
        self._whole: OrderedDict[str, str] = OrderedDict()

    def feed(self, item: Item) -> None:
        """Take the next item."""
        self.turn.feed(item)
        if item.type in ("assistant_text", "thinking"):
            self.text = f"{self.text[-2_000:]}\n{item.text}"
            self.said = words(self.text[-_SAID:])
        elif item.type == "tool_call":
            self._call(item)
            self.text, self.said = "", set()
        elif item.type == "tool_result" and item.id in self._whole:
            _remember(self.characters, self._whole.pop(item.id), item.characters, _MOST_FILES)

    def _call(self, item: Item) -> None:
        step = self.turn.steps
        arguments = {name: value for name, value in item.arguments.items() if name not in IGNORED}
        if is_safe(item.tool, arguments) and len(key := call_key(item.tool, arguments)) <= _LONG:
            made = self.made.get(key)
            times = made.times + 1 if made else 1
            _remember(self.made, key, _Made(item.tool, arguments, step, times, self.edits), _MOST_CALLS)
        if item.tool == "Grep":
            self.last_search = arguments
        file = arguments.get("file_path")
        if not isinstance(file, str) or not file:
            return
        self.recent = [file, *(one for one in self.recent if one != file)][:_RECENT]
        _remember(self.read_step if item.tool == "Read" else self.edit_step, file, step, _MOST_FILES)
        self._note_whole(item, file)
        offset, limit = arguments.get("offset"), arguments.get("limit")
        if item.tool == "Read" and isinstance(offset, int) and isinstance(limit, int):
            _remember(self.ranges, file, (offset, limit), _MOST_FILES)

    def _note_whole(self, item: Item, file: str) -> None:
        if item.tool != "Read":
            self.edits += 1
        elif "offset" in item.arguments or "limit" in item.arguments:
            self.parts += 1
        else:
            self.wholes += 1
            _remember(self._whole, item.id, file, _MOST_FILES)


def _remember(kept: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    """Keep a value as the latest, and drop the one that was kept longest ago where there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def taught(items: Iterable[Item], habits: CallHabits) -> None:
    """Teach a session's safe calls to the habits of its repository."""
    memory = CallMemory()
    for item in items:
        if item.type == "tool_call" and is_safe(item.tool, item.arguments):
            before = memory.turn.signatures[-1] if memory.turn.signatures else "^"
            habits.learn(before, item.tool, item.arguments, memory.recent)
        memory.feed(item)
    habits.characters.update(memory.characters)


def proposals(memory: CallMemory, cold: Sequence[Ranked]) -> list[Proposal]:
    """Return the calls that may come next, each once.

    Args:
        memory: The session.
        cold: The files that are likeliest to be read for the first time.
    """
    merged: dict[str, Proposal] = {}
    for tool, arguments, origin, strength in _proposed(memory, cold):
        if not is_safe(tool, arguments):
            continue
        one = merged.setdefault(call_key(tool, arguments), Proposal(tool, arguments, {}))
        one.origins[origin] = max(strength, one.origins.get(origin, 0.0))
    return list(merged.values())


_Proposed = Iterator[tuple[str, dict[str, Any], str, float]]


def _proposed(memory: CallMemory, cold: Sequence[Ranked]) -> _Proposed:
    for ranked in cold:
        yield "Read", {"file_path": ranked.path}, "cold", ranked.probability
    for place, file in enumerate(memory.recent):
        yield "Read", {"file_path": file}, "reread", 1 / (1 + place)
    for file, (offset, limit) in memory.ranges.items():
        if file in memory.recent[:3]:
            yield "Read", {"file_path": file, "limit": limit, "offset": offset + limit}, "onward", 1.0
    for made in itertools.islice(reversed(memory.made.values()), _REPEATED):
        yield made.tool, made.arguments, "again", float(made.times)
    yield from _habitual(memory)
    yield from _parts(memory, cold)
    if memory.last_search:
        for name in list(dict.fromkeys(_QUOTED_NAME.findall(memory.text[-600:])))[-3:]:
            yield "Grep", {**memory.last_search, "pattern": name.rstrip("()")}, "pattern", 1.0


def _habitual(memory: CallMemory) -> _Proposed:
    habits = memory.habits
    before = memory.turn.signatures[-1] if memory.turn.signatures else "^"
    following = habits.after.get(before)
    total = sum(following.values()) if following else 0
    for template, count in following.most_common(_HABITS) if following else ():
        yield from _filled(template, memory, "after", count / total)
    for template, count in habits.made.most_common(_HABITS):
        yield from _filled(template, memory, "habit", count / max(1, habits.calls))


def _filled(template: Template, memory: CallMemory, origin: str, share: float) -> _Proposed:
    arguments = template.filled(memory.recent)
    if arguments is not None:
        yield template.tool, arguments, origin, share


def _parts(memory: CallMemory, cold: Sequence[Ranked]) -> _Proposed:
    for file in (*(one.path for one in cold[:3]), *memory.recent[:3]):
        counts = memory.habits.reads.get(file)
        for rest, count in counts.most_common(2) if counts else ():
            yield "Read", {"file_path": file, **msgspec.json.decode(rest, type=dict[str, Any])}, "part", float(count)


def features(memory: CallMemory, proposed: Sequence[Proposal], actions: Mapping[Action, float]) -> NDArray[np.float32]:
    """Return what tells which proposal comes: (proposals, features).

    Args:
        memory: The session.
        proposed: The calls.
        actions: How likely each sort of action is.
    """
    turn = memory.turn
    step = turn.steps
    said = memory.text[-800:]
    moment = [
        *(actions.get(action, 0.0) for action in ACTIONS),
        *(turn.texts, turn.pending, turn.since_user, step, turn.failed, turn.batch),
        ACTIONS.index(turn.actions[-1]) if turn.actions else -1,
    ]
    rows = [[*_own(memory, one, said, step, actions), *moment] for one in proposed]
    return np.array(rows, np.float32)


def _own(memory: CallMemory, one: Proposal, said: str, step: int, actions: Mapping[Action, float]) -> list[float]:
    made = memory.made.get(one.key)
    template = one.arguments.get("file_path") or one.arguments.get("path") or ""
    file = template if isinstance(template, str) else ""
    name = file.rsplit("/", 1)[-1]
    read, edited = memory.read_step.get(file, -1), memory.edit_step.get(file, -1)
    return [
        *(one.origins.get(origin, -1.0) for origin in ORIGINS),
        len(one.origins),
        _TOOLS.index(one.tool) if one.tool in _TOOLS else len(_TOOLS),
        actions.get(action_of(one.tool, one.arguments), 0.0),
        made.times if made else 0,
        min(step - made.step, 200) if made else 999,
        memory.recent.index(file) if file in memory.recent else _RECENT,
        min(step - read, 200) if read >= 0 else 999,
        min(step - edited, 200) if edited >= 0 else 999,
        edited > read,
        bool(name) and name in said,
        "offset" in one.arguments,
        "limit" in one.arguments,
        len(one.arguments),
        file in memory.ranges,
        *_wordings(memory, one),
        *_habit_of(memory, one, file),
        memory.edits - made.edits if made else -1,
    ]


def _wordings(memory: CallMemory, one: Proposal) -> tuple[float, float]:
    """Return how many of a call's words were said since the last call, and which share."""
    own = words(" ".join(value for value in one.arguments.values() if isinstance(value, str)))
    common = len(own & memory.said)
    return common, common / max(1, len(own))


def _habit_of(memory: CallMemory, one: Proposal, file: str) -> list[float]:
    """Return how usual such a call is now; of a read, whether files are read whole, and how long this one was."""
    habits = memory.habits
    before = memory.turn.signatures[-1] if memory.turn.signatures else "^"
    following: Mapping[str, int] = habits.sorts.get(before, {})
    reads: Mapping[str, int] = habits.reads.get(file, {})
    total = sum(reads.values())
    return [
        following.get(signature(one.tool, one.arguments), 0) / max(1, sum(following.values())),
        reads.get("{}", 0) / total if total else -1,
        total,
        memory.wholes / max(1, memory.wholes + memory.parts),
        memory.characters.get(file, habits.characters.get(file, -1)),
    ]


class CallPredictor:
    """Orders proposals with boosted trees.

    Args:
        trees: One output, over what `features` gives.
    """

    def __init__(self, trees: BoostedTrees) -> None:
        self.trees = trees

    def predict(
        self, memory: CallMemory, cold: Sequence[Ranked], actions: Mapping[Action, float], limit: int = 3
    ) -> list[Proposal]:
        """Return the likeliest calls, the likeliest first, if the next one is safe.

        Args:
            memory: The session.
            cold: The files that are likeliest to be read for the first time.
            actions: How likely each sort of action is.
            limit: The most calls.
        """
        proposed = proposals(memory, cold)
        if not proposed:
            return []
        margins = self.trees.margins(features(memory, proposed, actions))[:, 0]
        for one, margin in zip(proposed, margins.tolist(), strict=True):
            one.probability = float(1 / (1 + np.exp(-margin)))
        return sorted(proposed, key=lambda one: -one.probability)[:limit]


class CallExamples:
    """Proposals before safe calls, and which of them came: all that came, and a sample of the rest.

    Args:
        seed: Of the sample.
    """

    def __init__(self, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        self._rows: list[NDArray[np.float32]] = []
        self._came: list[NDArray[np.int64]] = []

    def add(self, memory: CallMemory, cold: Sequence[Ranked], actions: Mapping[Action, float], call: Item) -> None:
        """Take the moment before a call."""
        if not is_safe(call.tool, call.arguments):
            return
        proposed = proposals(memory, cold)
        if not proposed:
            return
        key = call_key(call.tool, call.arguments)
        came = np.array([one.key == key for one in proposed])
        kept = came | (self._random.random(len(came)) < _SAMPLED)
        self._rows.append(features(memory, proposed, actions)[kept])
        self._came.append(came[kept].astype(np.int64))

    def fit(self, fitter: TreeFitter) -> CallPredictor:
        """Return a predictor fitted on what was added."""
        rows, came = np.concatenate(self._rows), np.concatenate(self._came)
        return CallPredictor(averaged([fitter(rows, came, trees=100, leaves=12, seed=seed) for seed in range(3)]))
