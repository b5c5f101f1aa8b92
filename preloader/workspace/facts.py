"""The provider of facts: what git and the tests say of a workspace, by name.

| key | value |
|---|---|
| ``fact:git status`` | `git_facts.Status` |
| ``fact:git diff``, ``fact:git diff src/app.py`` | `git_facts.Diff` |
| ``fact:git blame src/app.py:10-40`` | `git_facts.BlamedLine` for each line |
| ``fact:git recent`` | `git_facts.RecentFile`, the latest first |
| ``fact:test setup``, ``fact:test setup packages/web/x.ts`` | `frameworks.Framework`, the surest first |
| ``fact:test files src/app.py`` | the paths of its tests, the likeliest first |
| ``fact:test failures`` | `test_output.RunReport`, of the output fed in last |
| ``fact:dependencies`` | `dependencies.Dependencies`, for each manifest |
| ``fact:syntax src/app.py`` | `syntax.SyntaxCheck` |
| ``fact:related src/app.py`` | `graph.related.Related`, the best first |
| ``fact:impact``, ``fact:impact src/app.py`` | `impact.Impact`, of the uncommitted changes or of one file |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from preloader.checks import shown
from preloader.errors import RefusedPathError, UnknownResourceError
from preloader.ports import Executor
from preloader.workspace import git_facts
from preloader.workspace.dependencies import dependencies
from preloader.workspace.derived import DerivedProvider, Work
from preloader.workspace.files import SourceFiles
from preloader.workspace.frameworks import setups
from preloader.workspace.graph_facts import GraphFacts
from preloader.workspace.syntax import check_syntax
from preloader.workspace.test_facts import LAST_OUTPUT, LastOutput, test_files_of

_LINES = re.compile(r"(.+):([1-9]\d{0,8})(?:-([1-9]\d{0,8}))?")
_AROUND = 20  # lines before and after one that is named alone
_GIT_S, _WALK_S, _CHECK_S, _GRAPH_S = 0.05, 0.05, 0.03, 0.2


class FactProvider(DerivedProvider):
    """Makes the facts of a workspace ready; the value of each is a `Derived`.

    Args:
        files: Which files may be read, and how.
        executor: Where blocking calls run; ``None`` takes the manager's.

    Attributes:
        of_graph: Asks the code graph, where it has one.
    """

    def __init__(self, files: SourceFiles, executor: Executor | None = None) -> None:
        super().__init__("fact", files, executor)
        self.of_graph = GraphFacts()
        self._output = LastOutput()
        self._makers: dict[str, Callable[[str], Work]] = {
            "git status": self._plain(Work(git_facts.status, _GIT_S)),
            "git diff": self._git_diff,
            "git blame": self._git_blame,
            "git recent": self._plain(Work(git_facts.recent_files, _GIT_S)),
            "test setup": self._test_setup,
            "test files": self._test_files,
            "test failures": self._plain(Work(self._output.parsed, 0.001)),
            "dependencies": self._plain(Work(dependencies, _WALK_S)),
            "syntax": self._syntax,
            "related": self._related,
            "impact": self._impact,
        }

    def feed_test_output(self, text: str) -> None:
        """Take note of what a test run has said: ``fact:test failures`` is about it from now on."""
        self._output.feed(text)
        self.versions[LAST_OUTPUT] = self.versions.get(LAST_OUTPUT, 0) + 1

    def work(self, name: str) -> Work:
        """Return how a fact is found out.

        Raises:
            RefusedPathError: It is about a path that may not be looked at.
            UnknownResourceError: There is no such fact.
        """
        for head, maker in self._makers.items():
            if name == head or name.startswith(head + " "):
                return maker(name[len(head) + 1 :])
        raise UnknownResourceError(f"there is no fact {shown(name)}: known are {', '.join(self._makers)}")

    @staticmethod
    def _plain(work: Work) -> Callable[[str], Work]:
        def maker(argument: str) -> Work:
            if argument:
                raise UnknownResourceError(f"this fact is about the whole workspace, not about {shown(argument)}")
            return work

        return maker

    def _path(self, text: str) -> PurePosixPath:
        path = self.files.confined.check(text)
        if str(path) != text:
            raise RefusedPathError(f"the path {shown(text)} is refused: as a key it is spelled {str(path)!r}")
        return path

    def _git_diff(self, argument: str) -> Work:
        path = self._path(argument) if argument else None
        return Work(lambda reading: git_facts.diff(reading, path), _GIT_S)

    def _git_blame(self, argument: str) -> Work:
        lines = _LINES.fullmatch(argument)
        if lines is None:
            raise UnknownResourceError(f"blame is about lines of a file, as in src/app.py:10-40, not {shown(argument)}")
        path, first = self._path(lines[1]), int(lines[2])
        last = int(lines[3]) if lines[3] else first + _AROUND
        first = first if lines[3] else max(1, first - _AROUND)
        return Work(lambda reading: git_facts.blame(reading, path, first, last), 2 * _GIT_S)

    def _test_setup(self, argument: str) -> Work:
        directory = self._path(argument) if argument else PurePosixPath()
        return Work(lambda reading: setups(reading, directory), _CHECK_S)

    def _test_files(self, argument: str) -> Work:
        path = self._path(argument)
        return Work(lambda reading: test_files_of(reading, path), _WALK_S)

    def _syntax(self, argument: str) -> Work:
        path = self._path(argument)
        return Work(lambda reading: check_syntax(reading, path), _CHECK_S)

    def _related(self, argument: str) -> Work:
        path = self._path(argument)
        return Work(lambda reading: self.of_graph.related(reading, path), _GRAPH_S)

    def _impact(self, argument: str) -> Work:
        path = self._path(argument) if argument else None
        return Work(lambda reading: self.of_graph.impact(reading, path), _GRAPH_S)
