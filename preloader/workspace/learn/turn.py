"""What an agent's next action depends on: its last words, and what it called and got back before them."""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import Any, Literal

import msgspec
import numpy as np

from preloader.ndarray import NDArray
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.memory import EDITING, READING, SEARCHING, SHELL
from preloader.workspace.learn.safe_calls import signature

Action = Literal["read", "edit", "search", "test", "run", "other", "done"]
"""What an agent does next; ``done``: it hands back to the user."""

ACTIONS: tuple[Action, ...] = ("read", "edit", "search", "test", "run", "other", "done")
WORD_BUCKETS = 1 << 15

_TESTS = re.compile(
    r"\b(?:(?:go|cargo|npm|mise|make|yarn|bun|pnpm|mvn|gradle|npx|dotnet)\b[^|;&]*\btests?\b|pytest|unittest|jest|vitest|"
    r"playwright|tox|nox)\b"
)
_SENTENCE = re.compile(r"(?<=[.:!?\n])\s+")
_TOKEN = re.compile(r"[a-z_']+|`[^`\n]*`|\d+")
_WORD = re.compile(r"[a-z']{2,}")
_CUES = tuple(
    re.compile(rf"\b(?:{words})\b")
    for words in (
        "read|look at|view|see|open|examine|review",
        "check|verify|confirm|investigate|explore",
        "edit|update|fix|add|change|remove|implement|replace|simplify|refactor",
        "write|create",
        "run|rerun",
        "tests?",
        "build|lint|compile|format|typecheck",
        "commit|push|pr|branch|git",
        "search|find|grep|where|locate|usages?|references?",
        "files|all|several|each|both",
        "now|next|then",
        "todo|task|mark|plan",
    )
)
_LAST_TEXT, _TEXT, _CUE_TEXT = 500, 800, 300
_MOST_SAID = 65_536  # characters kept of what is said without a call
_MOST_TOKENS = 40
_REMEMBERED = 8


def action_of(tool: str, arguments: dict[str, Any]) -> Action:
    """Return what sort of action a call is."""
    if tool in READING:
        return "read"
    if tool in EDITING:
        return "edit"
    if tool in SEARCHING:
        return "search"
    if tool != SHELL:
        return "other"
    command = arguments.get("command")
    return "test" if isinstance(command, str) and _TESTS.search(command[:2_000]) else "run"


class Turn(msgspec.Struct):
    """The state that the next action is predicted from; `feed` advances it.

    Attributes:
        actions: The last actions, oldest first.
        signatures: What sort of calls the last two were.
        said: What the assistant said since the last call.
        thought: What it thought since then.
        asked: What the user said last.
        texts: How many texts came since the last call.
        pending: Calls without a result.
        since_user: Calls since the user spoke.
        batch: Calls in a row without words between.
        steps: Calls so far.
        failed: Whether the last result was an error.
        characters: Its length.
        files: The last two files or directories that calls named.
        counts: How often each of `ACTIONS` was done.
    """

    actions: list[Action] = []
    signatures: list[str] = []
    said: str = ""
    thought: str = ""
    asked: str = ""
    texts: int = 0
    pending: int = 0
    since_user: int = 0
    batch: int = 0
    steps: int = 0
    failed: bool = False
    characters: int = 0
    files: list[str] = []
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * len(ACTIONS))

    def feed(self, item: Item) -> None:
        """Take the next item."""
        if item.type == "tool_call":
            self._call(item)
        elif item.type == "tool_result":
            self.pending -= 1
            self.failed, self.characters = item.failed, item.characters
        elif item.type == "user_text":
            self.asked, self.said, self.thought = item.text, "", ""
            self.since_user = self.texts = 0
        else:
            self.texts += 1
            if item.type == "thinking":
                self.thought = item.text
            else:
                self.said = (f"{self.said} {item.text}" if self.said else item.text)[-_MOST_SAID:]

    def _call(self, item: Item) -> None:
        action = action_of(item.tool, item.arguments)
        self.actions = [*self.actions[1 - _REMEMBERED :], action]
        self.signatures = [*self.signatures[-1:], signature(item.tool, item.arguments)]
        self.counts[ACTIONS.index(action)] += 1
        file = item.arguments.get("file_path") or item.arguments.get("path")
        self.files = [*self.files[-1:], str(file or "")]
        self.batch = self.batch + 1 if not self.texts else 0
        self.pending += 1
        self.since_user += 1
        self.steps += 1
        self.texts = 0
        self.said = self.thought = ""

    @property
    def same_file(self) -> bool:
        """Whether the last two calls named the same file."""
        return len(self.files) == 2 and bool(self.files[0]) and self.files[0] == self.files[1]

    def buckets(self) -> NDArray[np.int64]:
        """Return its words and recent actions, hashed: distinct, ascending."""
        hashed = {zlib.crc32(word.encode()) % WORD_BUCKETS for word in [*_words_of(self), *_circumstances(self)]}
        return np.array(sorted(hashed), np.int64)

    def numbers(self) -> NDArray[np.float32]:
        """Return what was done and said, as numbers."""
        last = [ACTIONS.index(action) for action in reversed(self.actions[-4:])]
        run = next((n for n, one in enumerate(reversed(self.actions)) if one != self.actions[-1]), len(self.actions))
        sentence, thought = last_sentence(self.said), self.thought[-_CUE_TEXT:].lower()
        total = max(1, self.steps)
        row = [
            *last,
            *([-1] * (4 - len(last))),
            *(run, self.texts, self.pending, self.failed, np.log1p(self.characters), self.since_user, self.batch),
            *(self.same_file, self.steps, len(self.said), len(self.thought)),
            *(count / total for count in self.counts),
            *(cue.search(sentence) is not None for cue in _CUES),
            *(cue.search(thought) is not None for cue in _CUES),
            *(sentence.endswith(":"), self.said.rstrip().endswith("?")),
        ]
        return np.array(row, np.float32)


def dense(margins: NDArray[np.float64], numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a row for trees: what a model of the words gave each action, and a turn's numbers.

    Args:
        margins: (`ACTIONS`,).
        numbers: What `Turn.numbers` returns.
    """
    return np.concatenate([(margins - margins.max()).astype(np.float32), numbers])


def last_sentence(text: str) -> str:
    """Return the last sentence of a text in lower case, or its last characters."""
    return _SENTENCE.split(text.strip()[-_LAST_TEXT:])[-1].lower()


def _words_of(turn: Turn) -> list[str]:
    words: list[str] = []
    for mark, text in (("s", turn.said), ("t", turn.thought)):
        named = {"`": "<code>"}
        ordered = [
            named.get(word[0], "<number>" if word.isdigit() else word) for word in _TOKEN.findall(last_sentence(text))
        ][:_MOST_TOKENS]
        words += [f"{mark}1 {word}" for word in ordered]
        words += [f"{mark}2 {one} {two}" for one, two in pairwise(ordered)]
        words += [f"{mark}0 {' '.join(ordered[:3])}"] if ordered else []
        words += [f"{mark}a {word}" for word in _WORD.findall(text[-_TEXT:].lower())]
    if turn.since_user < 2:
        words += [f"u {word}" for word in _WORD.findall(turn.asked[:_TEXT].lower())]
    return words


def _circumstances(turn: Turn) -> list[str]:
    last = turn.actions[-1] if turn.actions else "^"
    two, three, four = (">".join(turn.actions[-length:]) for length in (2, 3, 4))
    spoke = turn.texts > 0
    pending = min(turn.pending, 2)
    return [
        f"1 {last}",
        f"2 {two}",
        f"3 {three}",
        f"4 {four}",
        f"call {turn.signatures[-1] if turn.signatures else '^'}",
        f"calls {'|'.join(turn.signatures)}",
        f"texts {min(turn.texts, 3)} {last}",
        f"pending {last} {pending} {spoke}",
        f"failed {turn.failed} {last}",
        f"user {min(turn.since_user, 4)}",
        f"batch {min(turn.batch, 4)} {last}",
        f"same {turn.same_file} {last}",
        f"size {int(np.log2(1 + turn.characters)) // 2} {last}",
        f"two {two} {spoke} {pending}",
    ]
