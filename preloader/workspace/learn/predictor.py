"""The learned models at work in one session: fed as the agent goes, asked what to get ready."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from preloader.workspace.learn.calls import CallMemory, Proposal
from preloader.workspace.learn.calls import taught as teach_calls
from preloader.workspace.learn.features import Candidates, candidates
from preloader.workspace.learn.fitting import COLD_FILES, Known
from preloader.workspace.learn.forgetting import make_room
from preloader.workspace.learn.items import Item, without_long_arguments
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.models import Models
from preloader.workspace.learn.preparing import Floats
from preloader.workspace.learn.ranker import Ranked, likeliest
from preloader.workspace.learn.safe_calls import is_safe
from preloader.workspace.learn.turn import Action

_MOST_TAUGHT, _LONG = 4_096, 4_096  # calls from which habits are learned, and characters of their arguments


class StepPredictor:
    """Predicts an agent's next step from its session so far.

    `feed` may take a millisecond, `files` and `calls` take several: all belong off the event loop, one at a time.

    Args:
        repository: What the habits are kept by; its last part is the workspace's directory.
        models: What was learned; `preloader.workspace.learn.models.load_models` opens it.
        known: What the repository's earlier sessions taught; nothing by default.
    """

    def __init__(self, repository: str, models: Models, known: Known | None = None) -> None:
        self._known = known or Known()
        self._models = models
        self._memory = SessionMemory(repository, self._known.files)
        self._calls = CallMemory(self._known.calls)
        self._taught: deque[Item] = deque(maxlen=_MOST_TAUGHT)
        self._ranked: tuple[Candidates, Floats] | None = None

    def feed(self, item: Item) -> None:
        """Take the next thing that was said, called or returned."""
        make_room(self._memory)
        self._ranked = None
        self._memory.feed(item)
        time.sleep(0)  # on a thread, this lets the loop have the interpreter's lock
        self._calls.feed(item)
        if item.type == "tool_call":
            brief = without_long_arguments(item, _LONG)
            if brief is item or not is_safe(brief.tool, brief.arguments):  # else another call would be learned
                self._taught.append(brief)

    def files(self, limit: int) -> list[Ranked]:
        """Return the likeliest files that no call named yet, the likeliest first.

        The probability of each is that it is read later in this session.
        """
        found, scores = self._ranking()
        ranked = likeliest(self._memory, found, scores, limit)
        likelihoods = self._models.likelihood.of(np.array([one.probability for one in ranked]))
        return [Ranked(one.path, likely) for one, likely in zip(ranked, likelihoods.tolist(), strict=True)]

    def actions(self) -> dict[Action, float]:
        """Return how likely each sort of action is to come next; they sum to 1."""
        return self._models.actions.predict(self._calls.turn)

    def calls(self, limit: int = 3) -> list[Proposal]:
        """Return the calls without side effects that are likeliest to come next exactly so, the likeliest first."""
        found, scores = self._ranking()
        cold = likeliest(self._memory, found, scores, COLD_FILES)
        return self._models.calls.predict(self._calls, cold, self.actions(), limit)

    def _ranking(self) -> tuple[Candidates, Floats]:
        """Return the files that no call named yet, with their scores: found out once after each item."""
        if self._ranked is None:
            found = candidates(self._memory)
            time.sleep(0)
            self._ranked = found, self._models.ranker.scores(found)
        return self._ranked

    def end(self) -> None:
        """Teach the session to what is known of the repository."""
        self._memory.taught(self._known.files)
        teach_calls(self._taught, self._known.calls)
        self._known.calls.characters.update(self._calls.characters)
