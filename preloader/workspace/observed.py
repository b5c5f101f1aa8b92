"""Follows a recorded session as the workspace would have, and keeps what its predictions came to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from preloader.evaluation.paste import WINDOW, PasteMiner, ToolEvent
from preloader.workspace.learn.calls import CallMemory, proposals
from preloader.workspace.learn.features import candidates
from preloader.workspace.learn.fitting import Learned, cold_files, reading
from preloader.workspace.learn.items import Item, Recording
from preloader.workspace.learn.memory import READING, SessionMemory
from preloader.workspace.learn.preparing import NEW_FILES_A_STEP, Step, chosen
from preloader.workspace.learn.ranker import Ranked
from preloader.workspace.learn.safe_calls import IGNORED, call_key, is_safe, signature
from preloader.workspace.learn.turn import Action, action_of

_MOMENTS = frozenset(("tool_result", "user_text"))  # and the last before a call
_MINED = 12  # guesses of the miner, of which the first three safe ones count

LONGEST_WAIT_S = 30.0
"""A call without side effects that took longer waited for a person's permission: `git log` does not take minutes."""

RUN_AHEAD = 3
"""How many calls are run ahead at each moment."""

_OUTPUT = 20_000


class Observed(msgspec.Struct):
    """What the predictions of one session came to.

    Attributes:
        repository: Whose session.
        steps: The moments before its calls, for preparing files.
        said: Cold reads whose file an earlier text of the assistant had named by its whole path or name.
        calls: How many calls there were.
        tool_hits: How often the sort of call was the first predicted, and among the first two.
        habit_hits: The same, by the call before alone.
        safe_calls: How many had no side effects.
        call_hits: How often the exact call was the first predicted, and among the first three.
        paste_hits: The same, of the pattern miner.
        proposed: How often it was among all proposals, wherever.
        waited_s: How long the safe calls took.
        saved_s: How much of that would not have been waited.
        paste_saved_s: The same, of the pattern miner.
        clairvoyant_saved_s: The same, had each call been known as soon as the one before it began.
    """

    repository: str
    steps: list[Step] = []
    said: int = 0
    calls: int = 0
    tool_hits: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    habit_hits: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    safe_calls: int = 0
    call_hits: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    paste_hits: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    proposed: int = 0
    waited_s: float = 0.0
    saved_s: float = 0.0
    paste_saved_s: float = 0.0
    clairvoyant_saved_s: float = 0.0


class Baselines:
    """What the predictions are compared with: a pattern miner for each repository, and which action follows which.

    Args:
        sessions: To learn from.
    """

    def __init__(self, sessions: Iterable[Recording]) -> None:
        self.miners: defaultdict[str, PasteMiner] = defaultdict(PasteMiner)
        self._after: defaultdict[str, Counter[Action]] = defaultdict(Counter)
        for recording in sessions:
            self.miners[recording.repository].learn(tool_events(recording.items))
            calls = [item for item in recording.items if item.type == "tool_call"]
            actions: list[Action | Literal[""]] = ["", *(action_of(call.tool, call.arguments) for call in calls)]
            for before, after in pairwise(actions):
                if after:
                    self._after[before][after] += 1

    def followers(self, actions: Sequence[Action]) -> dict[Action, float]:
        """Return how often each action followed the last of these."""
        return {action: float(count) for action, count in self._after[actions[-1] if actions else ""].items()}


class Past:
    """The events of a session so far, as the pattern miner sees them: an output counts once it is there."""

    def __init__(self) -> None:
        self.events: list[ToolEvent] = []
        self._open: dict[str, int] = {}

    def feed(self, item: Item) -> None:
        """Take the next item."""
        if item.type == "tool_call":
            self._open[item.id] = len(self.events)
            kept = {name: value for name, value in item.arguments.items() if name not in IGNORED}
            self.events.append(ToolEvent(signature(item.tool, item.arguments), item.tool, kept))
        elif item.type == "tool_result" and item.id in self._open:
            place = self._open.pop(item.id)
            self.events[place] = msgspec.structs.replace(self.events[place], output=item.text[:_OUTPUT])

    def latest(self) -> list[ToolEvent]:
        """Return as many events as patterns reach back."""
        return self.events[-WINDOW:]


def tool_events(items: Sequence[Item]) -> list[ToolEvent]:
    """Return the calls of a session with their outputs."""
    past = Past()
    for item in items:
        past.feed(item)
    return past.events


def observe(recording: Recording, learned: Learned, baselines: Baselines) -> Observed:
    """Follow a session: predict at every moment by what was known then, and compare with what came.

    Args:
        recording: The session; nothing is learned from it.
        learned: The models, and what earlier sessions taught.
        baselines: What it is compared with, fitted on the same sessions.
    """
    return _Follower(recording, learned, baselines).run()


class _View(msgspec.Struct, frozen=True, eq=False):
    """What is predicted at one moment: after which item, the files, the sort of call, and the calls of both sides."""

    item: int
    step: Step
    cold: list[Ranked]
    actions: Mapping[Action, float]
    calls: list[str]
    mined: list[str]


class _Follower:
    """The state of `observe`."""

    def __init__(self, recording: Recording, learned: Learned, baselines: Baselines) -> None:
        known = learned.known[recording.repository]
        self._items = recording.items
        self._models = learned.models
        self._miner = baselines.miners[recording.repository]
        self._followers = baselines.followers
        self._memory = SessionMemory(recording.repository, known.files)
        self._calls = CallMemory(known.calls)
        self._past = Past()
        self._result = Observed(recording.repository)
        self._took_s = _durations(recording.items)
        self._held: set[int] = set()
        self._new_files = 0
        self._ahead: dict[str, float] = {}
        self._paste_ahead: dict[str, float] = {}
        self._step_began_s = recording.items[0].time_s
        self._assistant = ""
        self._view: _View | None = None

    def run(self) -> Observed:
        for number, item in enumerate(self._items):
            if item.type == "tool_call":
                self._before(item)
            self._memory.feed(item)
            self._calls.feed(item)
            self._past.feed(item)
            if item.type == "tool_call":
                self._ahead, self._paste_ahead = {}, {}
                self._new_files, self._step_began_s = 0, item.time_s
            elif item.type == "assistant_text":
                self._assistant += "\n" + item.text
            following = self._items[number + 1] if number + 1 < len(self._items) else None
            if following is not None and (item.type in _MOMENTS or following.type == "tool_call"):
                self._speculate(item.time_s)
        return self._result

    def _look(self) -> _View:
        """Return what is predicted now; once, while nothing new is known."""
        if self._view is None or self._view.item != self._memory.item:
            found = candidates(self._memory)
            step = Step(found.numbers, self._models.ranker.scores(found))
            cold = cold_files(self._memory, step)
            actions = self._models.actions.predict(self._calls.turn)
            calls = [one.key for one in self._models.calls.predict(self._calls, cold, actions, RUN_AHEAD)]
            guesses = self._miner.predict(self._past.latest(), _MINED)
            mined = [call_key(one.tool, one.arguments) for one in guesses if is_safe(one.tool, one.arguments)]
            self._view = _View(self._memory.item, step, cold, actions, calls, mined[:RUN_AHEAD])
        return self._view

    def _speculate(self, now_s: float) -> None:
        """Prepare files and run calls ahead, by what is known now."""
        view = self._look()
        room = NEW_FILES_A_STEP - self._new_files
        threshold = self._models.thresholds.usual
        new = chosen(view.step.numbers, view.step.scores, self._held, threshold, room)
        self._held.update(new)
        self._new_files += len(new)
        for ahead, keys in ((self._ahead, view.calls), (self._paste_ahead, view.mined)):
            for key in keys:
                ahead.setdefault(key, now_s)

    def _before(self, call: Item) -> None:
        view = self._look()
        step = reading(self._memory, call, view.step)
        self._result.steps.append(step)
        self._result.said += int(step.is_cold and self._was_said(call))
        self._score_tool(view.actions, call)
        if is_safe(call.tool, call.arguments):
            self._score_call(call, view)
            self._score_time(call, step)

    def _was_said(self, call: Item) -> bool:
        return str(call.arguments.get("file_path", "")).rsplit("/", 1)[-1] in self._assistant

    def _score_tool(self, actions: Mapping[Action, float], call: Item) -> None:
        came = _sort(action_of(call.tool, call.arguments))
        self._result.calls += 1
        for hits, predicted in (
            (self._result.tool_hits, actions),
            (self._result.habit_hits, self._followers(self._calls.turn.actions)),
        ):
            ranks = _sorts(predicted)
            hits[0] += came == ranks[0]
            hits[1] += came in ranks[:2]

    def _score_call(self, call: Item, view: _View) -> None:
        key = call_key(call.tool, call.arguments)
        self._result.safe_calls += 1
        self._result.proposed += key in {one.key for one in proposals(self._calls, view.cold)}
        for hits, guesses in ((self._result.call_hits, view.calls), (self._result.paste_hits, view.mined)):
            hits[0] += key in guesses[:1]
            hits[1] += key in guesses[:3]

    def _score_time(self, call: Item, step: Step) -> None:
        took_s = self._took_s.get(call.id)
        if took_s is None or took_s > LONGEST_WAIT_S:
            return
        key = call_key(call.tool, call.arguments)
        is_warm = call.tool in READING and (not step.is_cold or step.reads in self._held)
        began_s = self._ahead.get(key)
        self._result.waited_s += took_s
        self._result.saved_s += took_s if is_warm else _gained(began_s, call.time_s, took_s)
        self._result.paste_saved_s += _gained(self._paste_ahead.get(key), call.time_s, took_s)
        self._result.clairvoyant_saved_s += _gained(self._step_began_s, call.time_s, took_s)


def _gained(began_s: float | None, now_s: float, took_s: float) -> float:
    """Return how many seconds of a call need not be waited that began earlier."""
    return 0.0 if began_s is None else min(took_s, now_s - began_s)


def _durations(items: Sequence[Item]) -> dict[str, float]:
    ended = {item.id: item.time_s for item in items if item.type == "tool_result"}
    return {
        item.id: max(0.0, ended[item.id] - item.time_s)
        for item in items
        if item.type == "tool_call" and item.id in ended
    }


def _sort(action: Action) -> str:
    """Return which of the five sorts that figures tell apart an action is of."""
    return "shell" if action in ("run", "test") else action


def _sorts(actions: Mapping[Action, float]) -> list[str]:
    """Return the five sorts, the likeliest first: that the agent stops is no call."""
    totals: dict[str, float] = {}
    for action, probability in actions.items():
        if action != "done":
            totals[_sort(action)] = totals.get(_sort(action), 0.0) + probability
    return sorted(totals, key=lambda one: -totals[one])
