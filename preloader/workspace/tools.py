"""The provider of tool results: ``tool:grep {"path": "src", "pattern": "TODO"}``, run ahead and served only while true.

A call's key is the tool's name and its arguments as canonical JSON, so that a call is served the result of exactly that
call and of no other. Several guesses at the next call may be prepared; the one that comes is a hit, and the others are
waste in the manager's ledger as any preload is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from preloader.checks import shown
from preloader.errors import RefusedCallError
from preloader.ports import Executor
from preloader.workspace.arguments import canonical, filled
from preloader.workspace.catalogue import Tool, ToolCatalogue
from preloader.workspace.derived import DerivedProvider, Work
from preloader.workspace.files import SourceFiles

_MAX_KEY = 20_000


class ToolProvider(DerivedProvider):
    """Makes results of listed tools ready; the value of each is a `Derived`.

    Args:
        catalogue: The tools that may run ahead.
        files: Which files may be read, and how.
        executor: Where blocking calls run; ``None`` takes the manager's.
    """

    def __init__(self, catalogue: ToolCatalogue, files: SourceFiles, executor: Executor | None = None) -> None:
        super().__init__("tool", files, executor)
        self.catalogue = catalogue

    def key(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return the key of a call, equal for every spelling of the same call.

        Raises:
            RefusedCallError: The tool is not listed, its calls have side effects, or its arguments are not as listed.
            RefusedPathError: An argument is a path that may not be looked at.
        """
        return f"tool:{self._name(self.catalogue.ahead(name), arguments)}"

    def work(self, name: str) -> Work:
        """Return how a call's result is made.

        Raises:
            RefusedCallError: It may not run ahead, or the key is not as `key` writes it.
            RefusedPathError: An argument is a path that may not be looked at.
        """
        tool, arguments = self._parsed(name)
        told = canonical(tool.name, tool.arguments, arguments, self.files.confined)
        if self._name(tool, arguments) != name:
            raise RefusedCallError(f"the call {shown(name)} is refused: as a key it is spelled otherwise")
        given = filled(tool.arguments, told)
        return Work(lambda reading: tool.run(reading, given), tool.cost_s, tool.timeout_s)

    def _name(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        if not isinstance(arguments, Mapping):
            raise RefusedCallError(f"the arguments of {tool.name} must be a table, not {shown(arguments)}")
        told = canonical(tool.name, tool.arguments, arguments, self.files.confined)
        return f"{tool.name} {json.dumps(told, sort_keys=True, ensure_ascii=False)}"

    def _parsed(self, name: str) -> tuple[Tool, dict[str, Any]]:
        if len(name) > _MAX_KEY:
            raise RefusedCallError(f"the call {shown(name)} is refused: it is too long")
        head, _, text = name.partition(" ")
        tool = self.catalogue.ahead(head)
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RefusedCallError(f"the call {shown(name)} is refused: its arguments are no JSON") from error
        if not isinstance(arguments, dict):
            raise RefusedCallError(f"the call {shown(name)} is refused: its arguments are no table")
        return tool, arguments
