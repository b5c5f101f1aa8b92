"""The pattern miner that speculative tool calls are compared with: what PASTE describes (arXiv 2603.18897).

It mines two things from recorded sessions. *Control flow*: contexts of events, whose order counts but between which
others may lie, and the tool that followed. *Data flow*: for each argument of that tool, a rule that derives its value
from what came before: an argument of an earlier call, a path in an earlier output, or a constant. A prediction is the
tool of a matching context with every argument derived; its confidence is the product of the parts'.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import msgspec

WINDOW = 4
"""How many events back a context or a rule reaches."""

_LONGEST_CONTEXT = 3
_LEAST_SUPPORT = 3
_RULES_KEPT = 3
_TOOLS_KEPT = 4
_CONSTANTS_KEPT = 8
_PATHS_KEPT = 5
_PATH = re.compile(r"[\w.@+~-]*(?:/[\w.@+\[\]-]+)+|\b[\w-]+\.\w{1,5}\b")

Context = tuple[str, ...]
Rule = tuple[str, ...]


class ToolEvent(msgspec.Struct, frozen=True):
    """One call of a session.

    Attributes:
        signature: What sort of call; contexts are made of these.
        tool: The tool.
        arguments: Its arguments, without those that do not change what it does.
        output: What had come back when the next call began; empty if nothing had.
    """

    signature: str
    tool: str
    arguments: Mapping[str, Any]
    output: str = ""


class Speculation(msgspec.Struct, frozen=True):
    """A call that may come next, and how likely."""

    tool: str
    arguments: dict[str, Any]
    confidence: float


class PasteMiner:
    """Learns patterns from sessions and predicts the next call from the events so far."""

    def __init__(self) -> None:
        self._following: dict[Context, Counter[str]] = defaultdict(Counter)
        self._shapes: dict[str, Counter[tuple[str, tuple[str, ...]]]] = defaultdict(Counter)
        self._applied: dict[tuple[str, str], Counter[Rule]] = defaultdict(Counter)
        self._right: dict[tuple[str, str], Counter[Rule]] = defaultdict(Counter)
        self._constants: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def learn(self, events: Sequence[ToolEvent]) -> None:
        """Take one session."""
        for number, event in enumerate(events):
            before = events[max(0, number - WINDOW) : number]
            for context in contexts(before):
                self._following[context][event.signature] += 1
            self._shapes[event.signature][event.tool, tuple(sorted(event.arguments))] += 1
            derived = dict(_derivations(before))
            for name, value in event.arguments.items():
                self._learn_rules((event.signature, name), value, derived)

    def _learn_rules(self, place: tuple[str, str], value: Any, derived: Mapping[Rule, Any]) -> None:
        self._applied[place].update(derived.keys())
        self._right[place].update(rule for rule, found in derived.items() if found == value)
        self._constants[place][json.dumps(value)] += 1

    def predict(self, before: Sequence[ToolEvent], limit: int = 3) -> list[Speculation]:
        """Return the likeliest next calls, the likeliest first."""
        before = before[-WINDOW:]
        derived = dict(_derivations(before))
        found = [
            speculation
            for signature, confidence in self._next(before)
            for speculation in self._calls(signature, confidence, derived)
        ]
        found.sort(key=lambda one: -one.confidence)
        distinct = {json.dumps([one.tool, one.arguments], sort_keys=True): one for one in reversed(found)}
        return sorted(distinct.values(), key=lambda one: -one.confidence)[:limit]

    def _next(self, before: Sequence[ToolEvent]) -> list[tuple[str, float]]:
        """Return the signatures that may follow: of each, the confidence of the context that says so most surely."""
        best: dict[str, float] = {}
        for context in contexts(before):
            counts = self._following.get(context)
            total = sum(counts.values()) if counts else 0
            if counts is None or total < _LEAST_SUPPORT:
                continue
            for signature, count in counts.items():
                best[signature] = max(best.get(signature, 0.0), count / (total + 1))
        return sorted(best.items(), key=lambda one: -one[1])[: 4 * _TOOLS_KEPT]

    def _calls(self, signature: str, confidence: float, derived: Mapping[Rule, Any]) -> Iterator[Speculation]:
        shapes = self._shapes[signature]
        total = sum(shapes.values())
        for (tool, names), count in shapes.most_common(2):
            values = [self._values((signature, name), derived) for name in names]
            for chosen in product(*values):
                sure = confidence * count / total
                for _, share in chosen:
                    sure *= share
                arguments = {name: value for name, (value, _) in zip(names, chosen, strict=True)}
                yield Speculation(tool, arguments, sure)

    def _values(self, place: tuple[str, str], derived: Mapping[Rule, Any]) -> list[tuple[Any, float]]:
        """Return an argument's likeliest values, each with how often its rule was right."""
        applied, right = self._applied[place], self._right[place]
        shares: dict[str, tuple[Any, float]] = {}
        for rule, value in derived.items():
            if applied[rule] >= _LEAST_SUPPORT and right[rule]:
                _keep(shares, value, right[rule] / (applied[rule] + 1))
        constants = self._constants[place]
        total = constants.total() + 1
        for text, count in constants.most_common(_CONSTANTS_KEPT):
            _keep(shares, json.loads(text), count / total)
        return sorted(shares.values(), key=lambda one: -one[1])[:_RULES_KEPT]


def contexts(before: Sequence[ToolEvent]) -> Iterator[Context]:
    """Yield each way to pick up to three of the last events in their order, the last one always among them."""
    if not before:
        yield ("^",)
        return
    *earlier, last = [event.signature for event in before[-WINDOW:]]
    seen = {
        (*picked, last)
        for length in range(min(_LONGEST_CONTEXT, len(earlier) + 1))
        for picked in combinations(earlier, length)
    }
    yield from sorted(seen)


def _derivations(before: Sequence[ToolEvent]) -> Iterator[tuple[Rule, Any]]:
    """Yield what can be derived from the last events: each rule with the value that it gives."""
    for back, event in enumerate(reversed(before), 1):
        for name, value in event.arguments.items():
            yield ("argument", str(back), event.signature, name), value
        paths = _paths(event.output)
        for number, path in enumerate(paths[:_PATHS_KEPT]):
            yield ("output", str(back), event.signature, str(number)), path
        if paths:
            yield ("output", str(back), event.signature, "last"), paths[-1]


def _paths(output: str) -> list[str]:
    return list(dict.fromkeys(match.group() for match in _PATH.finditer(output[:20_000])))


def _keep(shares: dict[str, tuple[Any, float]], value: Any, share: float) -> None:
    key = json.dumps(value, sort_keys=True)
    if key not in shares or shares[key][1] < share:
        shares[key] = (value, share)
