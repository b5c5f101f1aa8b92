"""What the latest words want done, and which of the paths in them they want read."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.evidence import Channel, Grown

INTENTS: dict[str, re.Pattern[str]] = {
    "read": re.compile(r"\b(?:read|look|view|see|open|examine|review|understand)\b"),
    "check": re.compile(r"\b(?:check|verify|confirm|investigate|explore)\b"),
    "edit": re.compile(r"\b(?:edit|update|fix|add|change|remove|implement|write|create|replace)\b"),
    "run": re.compile(r"\b(?:run|test|tests|build|lint|compile|commit|push)\b"),
    "search": re.compile(r"\b(?:search|find|grep|where|locate|usages?|references?)\b"),
    "several": re.compile(r"\b(?:files|all the|several|each)\b"),
}
SPEAKERS: tuple[Channel, ...] = ("user", "assistant", "thinking")

_READ_BEFORE = re.compile(r"\b(?:read|look|check|open|view|see|examine|review|start)\w*\b[^.\n]{0,60}$", re.IGNORECASE)
_TAIL = 400
_BEFORE = 90
_AFTER = 120


class Intent:
    """Flags of the latest words, which fade as others come, and of each path how it stood in them.

    Attributes:
        flags: How much each of `INTENTS` is wanted: (intents,).
    """

    def __init__(self) -> None:
        self.flags: NDArray[np.float64] = np.zeros(len(INTENTS))
        self._asked = Grown(len(SPEAKERS))
        self._distance = Grown(len(SPEAKERS))

    def asked(self, rows: int) -> NDArray[np.float64]:
        """Return whether words that mean reading stood just before each path: (paths, `SPEAKERS`)."""
        return self._asked.upto(rows)

    def distance(self, rows: int) -> NDArray[np.float64]:
        """Return how many characters from the text's end each path stood: (paths, `SPEAKERS`)."""
        return self._distance.upto(rows)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Forget all paths but these, which become the first."""
        self._asked.keep(rows)
        self._distance.keep(rows)

    def fade(self) -> None:
        """A call began: what was wanted is half done."""
        self.flags *= 0.5

    def hear(self, text: str, speaker: Channel, named: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """Take a text and the paths in it, each with its number.

        Returns:
            What stands around each of them.
        """
        self._flag(text, speaker)
        column = SPEAKERS.index(speaker)
        around: list[tuple[int, str]] = []
        for number, path in named:
            at = text.rfind(path.rsplit("/", 1)[-1])
            if at < 0:
                continue
            asked = self._asked.upto(number + 1)
            wanted = _READ_BEFORE.search(text, max(0, at - _BEFORE), at) is not None
            asked[number, column] = asked[number, column] * 0.5 + wanted
            self._distance.upto(number + 1)[number, column] = len(text) - at
            start = max(text.rfind("\n", max(0, at - _TAIL), at), at - _TAIL, 0)
            around.append((number, text[start : at + _AFTER]))
        return around

    def _flag(self, text: str, speaker: Channel) -> None:
        if speaker == "user":
            self.flags[:] = 0
            return
        tail = text[-_TAIL:].lower()
        for number, pattern in enumerate(INTENTS.values()):
            self.flags[number] = self.flags[number] * 0.3 + (pattern.search(tail) is not None)
