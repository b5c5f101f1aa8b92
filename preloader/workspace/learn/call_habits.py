"""Which safe calls a repository's earlier sessions made, and after which others: whole, or with a file left open."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from preloader.workspace.learn.safe_calls import IGNORED, signature

_SLOTS = ("\u27e60\u27e7", "\u27e61\u27e7", "\u27e62\u27e7")
"""What stands in a template for the file used last, the one before it, and the directory of the first."""


MOST_TEMPLATES, MOST_FILES = 16_384, 4_096
"""How many calls, and files of which parts were read, are known; of more, the half that came least is forgotten."""


class Template(msgspec.Struct, frozen=True):
    """A call whose arguments may have slots for files."""

    tool: str
    arguments: str

    def filled(self, recent: Sequence[str]) -> dict[str, Any] | None:
        """Return the arguments with the files used last; nothing if there are too few."""
        text = self.arguments
        for slot, value in zip(_SLOTS, _values(recent), strict=True):
            if slot in text:
                if not value:
                    return None
                text = text.replace(slot, json.dumps(value, ensure_ascii=False)[1:-1])
        return msgspec.json.decode(text, type=dict[str, Any])


def template_of(tool: str, arguments: Mapping[str, Any], recent: Sequence[str]) -> Template:
    """Return a call with slots where the files used last stand.

    Args:
        tool: The tool.
        arguments: The call's.
        recent: The files used last, the last one first.
    """
    kept = {name: value for name, value in arguments.items() if name not in IGNORED}
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    for slot, value in zip(_SLOTS, _values(recent), strict=True):
        if value:
            text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], slot)
    return Template(tool, text)


def _values(recent: Sequence[str]) -> tuple[str, str, str]:
    first = recent[0] if recent else ""
    return first, recent[1] if len(recent) > 1 else "", first.rpartition("/")[0]


class CallHabits:
    """Counts over the safe calls of one repository's sessions.

    Attributes:
        calls: How many were learned.
        made: How often each template was called.
        after: How often each template followed what sort of call.
        reads: How often each part of a file was read: the arguments besides the path, as JSON, by path.
        sorts: How often each sort of call followed another.
        characters: How long what each file's last whole read gave was.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.made: Counter[Template] = Counter()
        self.after: dict[str, Counter[Template]] = defaultdict(Counter)
        self.reads: dict[str, Counter[str]] = defaultdict(Counter)
        self.sorts: dict[str, Counter[str]] = defaultdict(Counter)
        self.characters: dict[str, int] = {}

    def learn(self, before: str, tool: str, arguments: Mapping[str, Any], recent: Sequence[str]) -> None:
        """Take one call.

        Args:
            before: What sort of call came before it (`safe_calls.signature`).
            tool: The tool.
            arguments: Its arguments.
            recent: The files used last, the last one first.
        """
        template = template_of(tool, arguments, recent)
        self.calls += 1
        self.made[template] += 1
        self.after[before][template] += 1
        self.sorts[before][signature(tool, arguments)] += 1
        file = arguments.get("file_path")
        if tool == "Read" and isinstance(file, str):
            rest = {name: value for name, value in arguments.items() if name != "file_path"}
            self.reads[file][json.dumps(rest, sort_keys=True)] += 1
        if len(self.made) > MOST_TEMPLATES:
            self._forget_templates()
        if len(self.reads) > MOST_FILES:
            often = sorted(self.reads.items(), key=lambda one: -one[1].total())
            self.reads = defaultdict(Counter, often[: MOST_FILES // 2])

    def _forget_templates(self) -> None:
        self.made = Counter(dict(self.made.most_common(MOST_TEMPLATES // 2)))
        left = {
            before: Counter({template: count for template, count in following.items() if template in self.made})
            for before, following in self.after.items()
        }
        self.after = defaultdict(Counter, {before: following for before, following in left.items() if following})
