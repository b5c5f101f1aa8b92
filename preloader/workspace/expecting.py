"""Which files a session's words make likely, by rules: for a workspace that has no learned ranker.

Every mention is a chance that the file is needed, by who says it and how surely the words mean that file; chances of
one file are added as independent ones, and fade as steps pass.
"""

from __future__ import annotations

import heapq

import msgspec

from preloader.workspace.learn.preparing import NEW_FILES_A_STEP
from preloader.workspace.learn.ranker import Ranked
from preloader.workspace.mentions import Mention, Source
from preloader.workspace.resolve import Match, Resolution

LEAST = 0.3
"""From which chance a file is prepared."""

_SAID: dict[Source, float] = {"tool_call": 0.6, "user": 0.5, "assistant": 0.45, "tool_output": 0.4, "thinking": 0.35}
_FORM = {"bare": 0.8, "quoted": 1.0, "code": 1.0, "frame": 1.4, "argument": 1.5}
_MEANT: dict[Match, float] = {
    "exact": 1.0,
    "relative": 1.0,
    "inner": 1.0,
    "suffix": 0.9,
    "name": 0.9,
    "module": 0.7,
    "symbol": 0.6,
    "glob": 0.5,
    "directory": 0.3,
}
_MOST, _FADES, _FORGOTTEN = 0.95, 0.6, 0.02
_MOST_FILES = 2_048  # of one step; what comes after them is named in too long a list to mean much


class Expected(msgspec.Struct, frozen=True):
    """A resource that will probably be needed.

    Attributes:
        key: It.
        probability: How likely.
        steps: How many items ahead.
    """

    key: str
    probability: float
    steps: int = 2


class ColdRules:
    """Adds up what is said of files, and says which are likely."""

    def __init__(self) -> None:
        self._chances: dict[str, float] = {}
        self._likely: set[str] = set()  # reach LEAST

    def step(self) -> None:
        """A call was made: what was said before it counts less from now on."""
        faded = {path: _FADES * chance for path, chance in self._chances.items()}
        self._chances = {path: chance for path, chance in faded.items() if chance > _FORGOTTEN}
        self._likely = {path for path in self._likely if self._chances.get(path, 0.0) >= LEAST}

    def forget(self) -> None:
        """Begin anew."""
        self._chances.clear()
        self._likely.clear()

    def mentioned(self, mention: Mention, found: Resolution) -> None:
        """Note what a mention may mean; of several files the first gets most."""
        chance = _SAID[mention.source] * _FORM[mention.form] * _MEANT.get(found.match, 0.0)
        if found.match not in ("exact", "relative", "inner"):
            chance /= max(1, found.total) ** 0.5
        for place, path in enumerate(found.paths[:NEW_FILES_A_STEP]):
            self.note(path, chance / (1 + place))

    def note(self, path: str, chance: float) -> None:
        """Add a chance that a file is needed."""
        if path not in self._chances and len(self._chances) >= _MOST_FILES:
            return
        missed = (1.0 - self._chances.get(path, 0.0)) * (1.0 - min(chance, _MOST))
        self._chances[path] = min(_MOST, 1.0 - missed)
        if self._chances[path] >= LEAST:
            self._likely.add(path)

    def likely(self, limit: int) -> list[Ranked]:
        """Return the files that are worth preparing, the likeliest first."""
        best = heapq.nsmallest(limit, self._likely, key=lambda path: (-self._chances[path], path))
        return [Ranked(path, self._chances[path]) for path in best]
