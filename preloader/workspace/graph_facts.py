"""Facts of the code graph: which files belong with one, and what a change means, as the files are now."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from preloader.errors import LoadError, RefusedPathError, UnknownResourceError
from preloader.workspace import git_facts
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.graph.diffs import Change, changes_of_diff
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.related import Related, related
from preloader.workspace.impact import Impact, impact
from preloader.workspace.reading import Reading

GRAPH_FACTS = ("related", "impact")
_MOST_RELATED = 20
_MOST_REACHED = 2_000


class GraphFacts:
    """Asks a code graph, which is brought up to the files that there are before.

    Attributes:
        graph: The graph; its owner sets it.
    """

    def __init__(self) -> None:
        self.graph: CodeGraph | None = None

    def related(self, reading: Reading, path: PurePosixPath) -> tuple[Related, ...]:
        """Return the files that belong with a file, the best first.

        Raises:
            UnknownResourceError: There is no such file, or no code graph.
            LoadError: It is not built yet, or the reading is over.
        """
        graph, index = self._current(reading)
        if str(path) not in index:
            raise UnknownResourceError(f"there is no file {str(path)!r} in the code graph")
        found = related(index, graph.changes(reading), str(path), _MOST_RELATED)
        return tuple(one for one in found if not reading.confined.refuses(one.path))

    def impact(self, reading: Reading, path: PurePosixPath | None) -> Impact:
        """Return what a change of a whole file means; of none in particular, what the uncommitted changes do.

        Raises:
            RefusedPathError: The file may not be looked at.
            UnknownResourceError: There is no code graph, or no repository to compare with.
            LoadError: The graph is not built yet, git fails, or the reading is over.
        """
        if path is not None and reading.confined.refuses(str(path)):
            raise RefusedPathError(f"the path {str(path)!r} is refused: it is ignored")
        changes = [Change(str(path))] if path is not None else uncommitted(reading)
        _, index = self._current(reading)
        if path is not None and index.beneath(str(path)):
            raise UnknownResourceError(f"{str(path)!r} is a directory: what is asked for is the impact of a file")
        found = impact(index, changes, _MOST_REACHED, reading.stop)
        refuses = reading.confined.refuses  # what it has read may have been ignored since
        return msgspec.structs.replace(
            found,
            dependents=tuple(one for one in found.dependents if not refuses(one.path)),
            tests=tuple(one for one in found.tests if not refuses(one.path)),
        )

    def _current(self, reading: Reading) -> tuple[CodeGraph, GraphIndex]:
        graph = self.graph
        if graph is None:
            raise UnknownResourceError("there is no code graph of this workspace: it was opened without one")
        index = graph.built()
        if index is None:
            raise LoadError("the code graph of this workspace is not built")
        files = [str(path) for path in reading.walk()]
        for file in files:
            reading.note(file)  # before it is read: whatever comes later shows
        index.refresh(files, reading.stop)
        return graph, index


def uncommitted(reading: Reading) -> list[Change]:
    """Return what differs from HEAD; a file of which the difference is too long to be shown changed as a whole.

    Raises:
        UnknownResourceError: The workspace's root is not that of a repository.
        LoadError: git failed, or not in time.
    """
    diff = git_facts.diff(reading)
    found = {} if diff.truncated else {change.path: change for change in changes_of_diff(diff.patch)}
    new = [change.path for change in git_facts.status(reading).changes if change.state == "??"]
    return [found.get(path) or Change(path) for path in (*diff.paths, *new)]
