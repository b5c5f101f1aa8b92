"""What an agent will do next, by rules: what it last did, and the verbs it announces it with.

For a workspace that has learned nothing yet; a learned model takes over once there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from preloader.history.commands import command_head

Action = Literal["edit", "read", "test", "search", "run", "done"]
"""What an agent does with a step; ``done`` hands over to the user."""

ACTIONS: tuple[Action, ...] = ("edit", "read", "test", "search", "run", "done")

_LOOKED_AT = 2_000
_TOOLS: dict[str, Action] = {
    "applypatch": "edit",
    "edit": "edit",
    "editfile": "edit",
    "multiedit": "edit",
    "notebookedit": "edit",
    "strreplacebasededittool": "edit",
    "write": "edit",
    "writefile": "edit",
    "read": "read",
    "readfile": "read",
    "view": "read",
    "glob": "search",
    "grep": "search",
    "ls": "search",
    "listdir": "search",
    "lsp": "search",
    "search": "search",
    "searchfiles": "search",
    "bash": "run",
    "execcommand": "run",
    "runterminalcmd": "run",
    "shell": "run",
    "task": "run",
    "webfetch": "run",
    "websearch": "run",
}
_TESTS = re.compile(
    r"\b(?:pytest|unittest|vitest|jest|mocha|playwright|ctest|tox|nox)\b"
    r"|\b(?:go|cargo|bun|deno|npm|pnpm|yarn|mvn|gradlew?|make|mise|just|rtk)\b[^&|;]{0,60}?\b(?:test|tests|e2e)\b"
)
_COMMANDS: dict[str, Action] = {
    **dict.fromkeys(("cat", "head", "tail", "less", "nl", "bat", "wc"), "read"),
    **dict.fromkeys(("ack", "ag", "fd", "find", "grep", "ls", "rg", "tree"), "search"),
    **dict.fromkeys(("apply_patch", "patch", "tee", "touch"), "edit"),
    **dict.fromkeys(("git grep", "git ls-files"), "search"),
}
_WRITES = re.compile(r"(?:^|\s)(?:cat|echo|printf)\b[^|;&\n]*?[^0-9&]>{1,2}\s*[^&\s]|\bsed\b[^|;&\n]*\s-i")


def action_of_call(tool: str, arguments: Mapping[str, Any] | str) -> Action | None:
    """Return what a call does, ``None`` if it neither touches the workspace nor runs anything (a list of tasks).

    Args:
        tool: The tool's name, in any spelling.
        arguments: Its arguments; a shell's command decides what a shell does.
    """
    action = _TOOLS.get(re.sub(r"[_\-\s]", "", tool).lower())
    if action != "run" or isinstance(arguments, str):
        return action
    command = arguments.get("command", arguments.get("cmd", ""))
    return action_of_command(" ".join(map(str, command)) if isinstance(command, list) else str(command))


def action_of_command(command: str) -> Action:
    """Return what a shell's command line does, judged by the first of its commands that does not only prepare."""
    command = command[:_LOOKED_AT]
    head = command_head(command) or ""
    if _TESTS.search(command):
        return "test"
    if _WRITES.search(command):
        return "edit"
    return "read" if head == "sed" else _COMMANDS.get(head.rpartition("/")[2], "run")


_AFTER: dict[Action | None, tuple[float, ...]] = {  # of ACTIONS, in their order
    None: (0.10, 0.32, 0.02, 0.21, 0.34, 0.01),
    "done": (0.10, 0.32, 0.02, 0.21, 0.34, 0.01),
    "edit": (0.48, 0.20, 0.12, 0.06, 0.11, 0.03),
    "read": (0.34, 0.38, 0.01, 0.18, 0.05, 0.04),
    "test": (0.05, 0.10, 0.25, 0.06, 0.37, 0.17),
    "search": (0.10, 0.39, 0.02, 0.40, 0.05, 0.04),
    "run": (0.04, 0.10, 0.09, 0.05, 0.59, 0.13),
}
"""How often each action follows another, in the earlier four fifths of a few hundred recorded sessions, rounded."""

_ANNOUNCES = re.compile(r"\b(?:let me|let's|i'll|i will|i'm going to|i need to|now|next|first|then)\b")
_SENTENCES = re.compile(r"(?<=[.!?:;\n])\s+")
_VERB_LISTS: dict[Action, str] = {
    "edit": "add apply change clean create delete edit extract fix implement insert integrate make modify move "
    "refactor remove rename replace rewrite simplify update wire write",
    "read": "check examine inspect investigate look open read review see trace understand view",
    "search": "callers explore find grep list locate references search usage usages where",
    "run": "build commit compile compiles dispatch execute format install launch lint merge push rebase reply run "
    "spawn start status typecheck",
}
_VERBS: dict[Action, re.Pattern[str]] = {
    "test": re.compile(r"\b(?:re-?run|run|execute|verify|try)\b[^.;]{0,40}\btests?\b|\btests? (?:again|suite)\b"),
    **{action: re.compile(rf"\b(?:{verbs.replace(' ', '|')})(?:n?ing)?\b") for action, verbs in _VERB_LISTS.items()},
}
_ENDS = re.compile(
    r"\b(?:done|complete|completed|finished|summary|would you like|let me know|should i|shall i|all set)\b"
)
_FIRST_VERB, _LATER_VERB, _UNANNOUNCED = 1.8, 0.3, 0.4
_ENDING, _MAY_END, _GOES_ON = 2.5, 2.0, -1.5
_HABIT_WHEN_SAID = 0.4  # how much its habits count, as an exponent, where words speak for an action
_TAIL = 600


class NextAction:
    """Predicts an agent's next action while its answer streams. Holds the end of the answer and the last action."""

    def __init__(self) -> None:
        self._text = ""
        self._previous: Action | None = None

    def said(self, text: str) -> None:
        """Add to what the agent says."""
        self._text = (self._text + text)[-_TAIL:]

    def acted(self, action: Action) -> None:
        """Note what it did; what it said before is about that."""
        self._previous = action
        self._text = ""

    def predict(self) -> list[tuple[Action, float]]:
        """Return every action with its probability, the likeliest first."""
        evidence = self._evidence()
        trust = _HABIT_WHEN_SAID if evidence.keys() - {"done"} else 1.0
        weights = {
            action: usual**trust * math.exp(evidence.get(action, 0.0))
            for action, usual in zip(ACTIONS, _AFTER[self._previous], strict=True)
        }
        total = sum(weights.values())
        ranked = sorted(weights.items(), key=lambda pair: -pair[1])
        return [(action, weight / total) for action, weight in ranked]

    def _evidence(self) -> dict[Action, float]:
        """Return by how much the words speak for each action, as logarithms of odds."""
        sentences = [one for one in _SENTENCES.split(self._text.lower().replace("\u2019", "'")) if one.strip()]
        if not sentences:
            return {"done": _GOES_ON}
        last = sentences[-1].rstrip()
        announced = _ANNOUNCES.search(last)
        evidence = _of_verbs(last[announced.end() :] if announced else last, announced=announced is not None)
        if last.endswith("?") or _ENDS.search(last):
            evidence["done"] = _ENDING
        else:
            evidence["done"] = _GOES_ON if announced or last.endswith(":") else _MAY_END
        return evidence


def _of_verbs(clause: str, *, announced: bool) -> dict[Action, float]:
    found = {action: match.start() for action, verbs in _VERBS.items() if (match := verbs.search(clause))}
    if found.get("test") == found.get("run"):
        found.pop("run", None)  # of ``run the tests`` both are found
    first = min(found.values(), default=0)
    share = 1.0 if announced else _UNANNOUNCED
    return {action: share * (_FIRST_VERB if at == first else _LATER_VERB) for action, at in found.items()}
