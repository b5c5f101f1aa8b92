"""A file by its definitions: which of them lines belong to, and which mention a name.

A mention is a word of a definition's text, comments and strings included, so more is taken to change than does. Names
that the text does not show (``getattr``, plug-ins, configuration) are seen by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from preloader.workspace.graph.facts import FileFacts

Names = frozenset[str] | None
"""Names that changed; ``None`` for all of a file."""

_WORD = re.compile(r"\w+")
_ALIAS = re.compile(r"(\*|\b\w+)\s+as\s+(\w+)|\b(\w+)\s*:\s*(\w+)")
# Docstrings and comments between definitions: they run nothing.
_REMARK = re.compile(r"(\"\"\"|''').*?(?:\1|\Z)|/\*.*?(?:\*/|\Z)|(?:#|//)[^\n]*", re.DOTALL)
_ABOVE = ("@", "#[")  # decorators and attributes belong to what follows


class _Region(NamedTuple):
    """A definition at the top of a file, with the words in it."""

    name: str
    first: int
    last: int
    words: frozenset[str]


class Regions:
    """The definitions at the top of a file, and what is between them.

    Args:
        data: The file's bytes.
        facts: What it says of itself, as it is now.
    """

    def __init__(self, data: bytes, facts: FileFacts) -> None:
        lines = data.decode(errors="replace").split("\n")
        self._imports = {line for one in facts.imports for line in range(one.line, one.end_line + 1)}
        self._regions = _regions(lines, facts)
        self._lines = lines
        covered = self._imports | {line for one in self._regions for line in range(one.first, one.last + 1)}
        between = "\n".join("" if number in covered else line for number, line in enumerate(lines, 1))
        self._between = _REMARK.sub(lambda match: "\n" * match[0].count("\n"), between).split("\n")
        self._outside = _words(self._between)
        self._aliases = _aliases(lines[line - 1] for line in sorted(self._imports) if line <= len(lines))
        self._offers_all = any(one.exported and "*" in one.names for one in facts.imports)
        self.words = frozenset().union(*(one.words for one in self._regions), self._outside, self._aliases.values())

    def touched(self, ranges: Iterable[tuple[int, int]]) -> Names:
        """Return the definitions that lines belong to, and those that use them; ``None`` where lines are in none.

        Docstrings and comments between definitions run nothing. A changed import changes what uses its names.
        """
        names: set[str] = set()
        for first, last in ranges:
            for number in range(max(1, first), min(last, len(self._lines)) + 1):
                if self._between[number - 1].strip():
                    return None
                names.update(one.name for one in self._regions if one.first <= number <= one.last)
                if number in self._imports:
                    names.update(_WORD.findall(self._lines[number - 1]))
        return self.using(frozenset(names))

    def taking(self, changed: frozenset[str]) -> Names:
        """Return what changes where the file imports another as a whole in which names changed: what mentions them.

        Where it offers on all of another (``export * from``, Python's ``import *``), it need not mention them for that.
        """
        if self._offers_all:
            names = self.using(changed | {"*"})
            return None if names is None else names - {"*"}
        mentioned = changed & self.words
        return self.using(mentioned) if mentioned else frozenset()

    def using(self, names: frozenset[str]) -> Names:
        """Return ``names``, and the definitions that mention them or each other; ``None`` where other code does."""
        changed = set(names)
        changed.update(alias for name, alias in self._aliases.items() if name in names)
        grows = True
        while grows:
            more = {one.name for one in self._regions if not changed.isdisjoint(one.words)} - changed
            changed |= more
            grows = bool(more)
        return None if not changed.isdisjoint(self._outside) else frozenset(changed)


def _regions(lines: list[str], facts: FileFacts) -> list[_Region]:
    regions: list[_Region] = []
    for one in sorted(facts.definitions, key=lambda one: (one.line, -one.end_line)):
        if regions and one.line <= regions[-1].last and one.end_line <= regions[-1].last:
            continue  # within the one before
        first = one.line
        while first > 1 and lines[first - 2].lstrip().startswith(_ABOVE):
            first -= 1
        words = _words(lines[first - 1 : one.end_line])
        regions.append(_Region(one.name, first, one.end_line, words - {one.name}))
    return regions


def _words(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in _WORD.findall(line))


def _aliases(lines: Iterable[str]) -> dict[str, str]:
    """Return the names that imports bind others to: ``a as b``, and JavaScript's ``{a: b}``."""
    found = (match.groups() for line in lines for match in _ALIAS.finditer(line))
    return {first or third: second or fourth for first, second, third, fourth in found}
