"""Which files belong with one: what it imports, what imports it, tests, siblings, what changes along with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePosixPath

from msgspec import Struct

from preloader.workspace.graph.cochange import CoChanges
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.languages import SUFFIXES, same_language
from preloader.workspace.graph.layout import basename, dirname, joined
from preloader.workspace.test_names import own_stem, tested_stems

_IMPORT, _IMPORTER, _NAMED_TEST, _TEST, _SIBLING = 0.6, 0.5, 0.8, 0.4, 0.25
_MAX_SIBLINGS = 32


class Reason(Struct, frozen=True):
    """Why a file belongs with another.

    Attributes:
        kind: ``imports``, ``importer``, ``test``, ``tested``, ``sibling`` or ``co-changed``.
        score: What that alone says, from 0 to 1.
        text: The same in words.
    """

    kind: str
    score: float
    text: str


class Related(Struct, frozen=True):
    """A file that belongs with another.

    Attributes:
        path: The file.
        score: How much, from 0 to 1: its reasons taken together, as if each alone could be right.
        reasons: Why, the best first.
    """

    path: str
    score: float
    reasons: tuple[Reason, ...]


def related(index: GraphIndex, changes: CoChanges, path: str, limit: int) -> list[Related]:
    """Return the files that belong with ``path``, best first; the scores order them, they are no probabilities."""
    reasons: dict[str, list[Reason]] = {}
    for other, reason in (*_of_imports(index, path), *_of_tests(index, path), *_of_place(index, path)):
        reasons.setdefault(other, []).append(reason)
    for other, share in changes.together(path).items():
        if other in index:
            text = f"changed together: {share:.0%} of its changes, weighted"
            reasons.setdefault(other, []).append(Reason("co-changed", share, text))
    reasons.pop(path, None)
    found = [_summed(other, why) for other, why in reasons.items()]
    return sorted(found, key=lambda one: (-one.score, one.path))[:limit]


def _summed(path: str, reasons: list[Reason]) -> Related:
    missed = math.prod(1.0 - min(reason.score, 0.99) for reason in reasons)
    return Related(path, 1.0 - missed, tuple(sorted(reasons, key=lambda reason: -reason.score)))


def _of_imports(index: GraphIndex, path: str) -> Iterator[tuple[str, Reason]]:
    """Yield what it imports and what imports it; what half the workspace imports says little."""
    for other in index.imports(path):
        shared = len(index.importers(other))
        yield other, Reason("imports", _IMPORT / (1.0 + math.log2(max(1, shared)) / 4.0), "it imports this")
    importers = [other for other in index.importers(path) if not index.is_test(other)]
    for other in importers:
        yield other, Reason("importer", _IMPORTER / math.sqrt(max(1.0, len(importers) / 2.0)), "this imports it")


def _of_tests(index: GraphIndex, path: str) -> Iterator[tuple[str, Reason]]:
    """Yield its tests, by name and by import; where it is a test, what it tests."""
    if index.is_test(path):
        for other in _tested(index, path):
            if same_language(path, other):
                yield other, Reason("tested", _NAMED_TEST, "its name says that it tests this")
        return
    for other in index.tests_named(own_stem(PurePosixPath(path))):
        if same_language(path, other):
            yield other, Reason("test", _NAMED_TEST, "a test that is named after it")
    tests = [other for other in index.importers(path) if index.is_test(other)]
    for other in tests:
        yield other, Reason("test", _TEST / math.sqrt(max(1.0, len(tests) / 4.0)), "a test that imports it")


def _tested(index: GraphIndex, test: str) -> Iterator[str]:
    for stem in sorted(tested_stems(PurePosixPath(test))):
        first = stem.partition(".")[0]
        for other in (*index.with_stem(first), *index.with_stem(f"_{first}")):
            if own_stem(PurePosixPath(other)) == stem and not index.is_test(other):
                yield other


def _of_place(index: GraphIndex, path: str) -> Iterator[tuple[str, Reason]]:
    """Yield the files beside it; the more there are, the less each says."""
    directory = dirname(path)
    names = [name for name in index.names(directory) if joined(directory, name) != path]
    worth = _SIBLING / math.sqrt(max(1, len(names)))
    stem = basename(path).partition(".")[0]
    alike = sorted(names, key=lambda name: (name.partition(".")[0] != stem, not name.endswith(SUFFIXES), name))
    for name in alike[:_MAX_SIBLINGS]:
        same = name.partition(".")[0] == stem
        text = "beside it, of the same name" if same else "beside it"
        yield joined(directory, name), Reason("sibling", _IMPORTER if same else worth, text)
