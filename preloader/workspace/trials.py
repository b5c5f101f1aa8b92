"""What was expected and did not come: it is cancelled, and what expected it is believed less.

A call or a fact is expected because of a pattern: this sort of call after that one, or this file's check after an
edit. The pattern is on trial until what it expects is asked for, or its horizon of calls has passed.

Files are not on trial: they are meant for the rest of the query, and what of them is unused at its end is waste, which
the manager's own record of each key learns from.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Collection, Mapping

import msgspec

from preloader.events import kind_of
from preloader.logodds import LogOddsShifts
from preloader.workspace.expecting import Expected
from preloader.workspace.learn.safe_calls import signature

HORIZON = 5
"""Within how many of the agent's calls something must be asked for to have come."""

LEAST = 0.2
"""Below this corrected probability a pattern is heard no more; that it would have been right still speaks for it."""

_LIKELIEST = 0.97  # what is stated as certain could never be corrected
_MOST_OPEN, _MOST_TOLD = 512, 64
_SLOTS = ("⟦0⟧", "⟦1⟧")


class _Open(msgspec.Struct):
    """A pattern on trial.

    Attributes:
        pattern: It.
        stated: The probability that was stated.
        announced: Whether the agent has begun to say that call.
        calls: How many calls were made since.
    """

    pattern: str
    stated: float
    announced: bool
    calls: int = 0


class Trials:
    """Follows each expected call and fact until it comes, or does not.

    Args:
        record: What is known of patterns, and learns what comes of them.
        is_ready: Says of a key whether it is loaded.
        cancel: Withdraws what was prepared, for a reason.

    Attributes:
        unmet: How many expectations ended without having come.
    """

    def __init__(
        self,
        record: LogOddsShifts,
        is_ready: Callable[[str], bool],
        cancel: Callable[[Collection[str], str], None],
    ) -> None:
        self._record = record
        self._is_ready = is_ready
        self._cancel = cancel
        self._open: dict[str, _Open] = {}
        self._before = "^"
        self._recent: list[str] = []
        self._told: deque[str] = deque(maxlen=_MOST_TOLD)  # tools of calls that were told and not asked for
        self.unmet = 0

    def weighed(self, expected: Expected) -> Expected | None:
        """Return what is expected as its pattern's record corrects it; nothing where that speaks against it."""
        if kind_of(expected.key) == "file":
            return expected
        stated = min(expected.probability, _LIKELIEST)
        announced = expected.steps == 1
        pattern = self._pattern(expected.key, announced)
        if expected.key not in self._open or announced:
            self._open[expected.key] = _Open(pattern, stated, announced)
        if len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]
        corrected = self._record.shifted(pattern, stated)
        return msgspec.structs.replace(expected, probability=corrected) if corrected >= LEAST else None

    def called(self, tool: str, arguments: Mapping[str, object], key: str = "") -> None:
        """Take a call that the agent makes: what it contradicts, and what is out of its horizon, has not come.

        The same tool with other arguments contradicts what is not ready yet; what is ready harms nobody until then.

        Args:
            tool: The tool; nothing where a call is known to have been made and no more.
            arguments: The call's.
            key: Its key, if it may run ahead.
        """
        self._told.append(tool)
        self._came(key)
        self._step(tool)
        self._before = signature(tool, arguments)
        file = arguments.get("file_path") or arguments.get("path")
        if isinstance(file, str) and file:
            self._recent = [file, *(one for one in self._recent if one != file)][: len(_SLOTS)]

    def needed(self, key: str) -> None:
        """Take what the agent asks for; a call that nobody told of before is one, too."""
        self._came(key)
        if kind_of(key) != "tool":
            return
        tool = _tool(key)
        if tool in self._told:
            self._told.remove(tool)
        else:
            self._step(tool)
            self._before = tool

    def forget(self) -> None:
        """The query is over: what is on trial since before the last call has not come."""
        for key, one in list(self._open.items()):
            if one.calls:
                self._failed(key)
        self._open.clear()
        self._told.clear()
        self._before = "^"

    def _step(self, tool: str) -> None:
        late, contradicted = [], []
        for key, one in list(self._open.items()):
            one.calls += 1
            if one.calls > HORIZON:
                late.append(key)
            elif not one.announced and kind_of(key) == "tool" and _tool(key) == tool and not self._is_ready(key):
                contradicted.append(key)
        for key in late + contradicted:
            self._failed(key)
        for keys, reason in ((late, "did not come within its horizon"), (contradicted, "contradicted by a call")):
            if keys:
                self._cancel(keys, reason)

    def _came(self, key: str) -> None:
        one = self._open.pop(key, None)
        if one is not None:
            self._record.learn(one.pattern, one.stated, came=True)

    def _failed(self, key: str) -> None:
        one = self._open.pop(key)
        self._record.learn(one.pattern, one.stated, came=False)
        self.unmet += 1

    def _pattern(self, key: str, announced: bool) -> str:
        """Return what an expectation has in common with others: the call before, and the key but for recent files."""
        if announced and kind_of(key) == "tool":
            return f"announced {_tool(key)}"
        for slot, file in zip(_SLOTS, self._recent, strict=False):
            key = key.replace(json.dumps(file, ensure_ascii=False)[1:-1], slot)
        return hashlib.blake2b(f"{self._before} > {key}".encode(errors="replace"), digest_size=16).hexdigest()


def _tool(key: str) -> str:
    return key.partition(":")[2].partition(" ")[0]
