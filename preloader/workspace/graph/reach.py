"""How far a change reaches: from the names that changed to the files that take them, and on to what these define.

An importer is reached where it takes one of the names, or imports the whole file and mentions one of them. Of what it
defines itself, that changes which uses them (`preloader.workspace.graph.regions`); a file that only passes names on
passes those on that changed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from preloader.workspace.graph.diffs import Change
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.regions import Names, Regions

_ANY = frozenset({"*", "default"})  # what these names stand for is not known
_MAX_VISITS = 6  # of one file, each with more names; after that all of it counts as changed


class Reached(NamedTuple):
    """A file that a change reaches.

    Attributes:
        distance: Imports between it and the change; 0 for what changed itself.
        via: The file that it imports on the way.
        names: What changed of it.
    """

    distance: int
    via: str
    names: Names


def reach(
    index: GraphIndex,
    changes: Iterable[Change],
    read: Callable[[str], bytes],
    limit: int,
    check: Callable[[], None],
) -> dict[str, Reached]:
    """Return the files that changes reach, the nearest first, with those that changed.

    Args:
        index: The graph, as it is after the change.
        changes: What changed.
        read: A file's bytes, empty where it cannot be read.
        limit: The most files.
        check: Raises to give up; called for each file.
    """
    files = _Files(index, read)
    reached = {change.path: Reached(0, "", files.changed(change)) for change in changes}
    visits: Counter[str] = Counter()
    waiting = deque(reached)
    while waiting:
        check()
        path = waiting.popleft()
        here = reached[path]
        importers = index.importers(path) if path in index else index.importers_before(path, check)
        for importer, taken in importers.items():
            before = reached.get(importer)
            names = files.passed_on(importer, here.names, taken) if before or len(reached) < limit else frozenset()
            after = _together(before, names)
            if names == frozenset() or (before is not None and after == before.names):
                continue
            visits[importer] += 1
            after = after if visits[importer] < _MAX_VISITS else None
            reached[importer] = before._replace(names=after) if before else Reached(here.distance + 1, path, after)
            waiting.append(importer)
    return reached


def _together(before: Reached | None, names: Names) -> Names:
    """Return what changes of a file when ``names`` do too."""
    if before is None or names is None:
        return names
    return None if before.names is None else before.names | names


class _Files:
    """What changes within files, each read once."""

    def __init__(self, index: GraphIndex, read: Callable[[str], bytes]) -> None:
        self._index = index
        self._read = read
        self._regions: dict[str, Regions | None] = {}

    def changed(self, change: Change) -> Names:
        """Return what a change changes of its own file."""
        regions = self._of(change.path)
        if regions is None or change.deleted or not change.lines:
            return None
        touched = regions.touched(change.lines)
        return None if touched is None else touched | frozenset(change.removed)

    def passed_on(self, importer: str, changed: Names, taken: tuple[str, ...]) -> Names:
        """Return what changes of an importer that takes names out of a file; the empty set where it is not reached."""
        if not _ANY.isdisjoint(taken) or (changed is None and not taken):
            return None
        names = frozenset(taken) if changed is None else changed.intersection(taken or changed)
        regions = self._of(importer)
        if regions is None or not names:
            return None if names else frozenset()
        return regions.using(names) if taken else regions.taking(names)

    def _of(self, path: str) -> Regions | None:
        if path not in self._regions:
            facts = self._index.facts(path)
            data = self._read(path) if facts is not None else b""
            self._regions[path] = Regions(data, facts) if facts is not None and data else None
        return self._regions[path]
