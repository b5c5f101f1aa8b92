"""What the readers of all languages share: collecting facts up to a limit, and knowing which class is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from preloader.workspace.graph.facts import Definition, Import

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_IMPORTS = 4_000
MAX_NAMES = 10_000
MAX_DEFINITIONS = 20_000
MAX_NAME = 512
"""Characters of a name or a module; what is longer was not written by anybody to be found."""


class Collector:
    """Collects what a reader finds in one file, in the order of the text."""

    def __init__(self) -> None:
        self.imports: list[Import] = []
        self.definitions: list[Definition] = []
        self._names_left = MAX_NAMES
        self._open: list[tuple[int, str]] = []  # end and name of each class around the current node, innermost last

    def add(self, found: Import) -> None:
        """Keep an import, unless there are too many or its name is too long."""
        if len(self.imports) < MAX_IMPORTS and len(found.module) <= MAX_NAME:
            names = tuple(name for name in found.names[: self._names_left] if len(name) <= MAX_NAME)
            self._names_left -= len(names)
            self.imports.append(replace(found, names=names))

    def define(self, node: Node, name: str, kind: str) -> None:
        """Keep the definition that ``node`` is, with the class around it."""
        if not name or len(name) > MAX_NAME or len(self.definitions) >= MAX_DEFINITIONS:
            return
        line, end_line = node.start_point.row + 1, node.end_point.row + 1
        self.definitions.append(Definition(name, kind, line, end_line, self.parent(node)))

    def open(self, node: Node, name: str) -> None:
        """Take what follows, up to the end of ``node``, for the members of ``name``."""
        self._close(node)
        self._open.append((node.end_byte, name[:MAX_NAME]))

    def parent(self, node: Node) -> str:
        """Return the class around ``node``, empty where there is none."""
        self._close(node)
        return self._open[-1][1] if self._open else ""

    def _close(self, node: Node) -> None:
        while self._open and self._open[-1][0] <= node.start_byte:
            self._open.pop()


def line_of(node: Node) -> int:
    """Return the line that a node begins in, from 1."""
    return node.start_point.row + 1


def end_of(node: Node) -> int:
    """Return the line that a node ends in, from 1."""
    return node.end_point.row + 1
