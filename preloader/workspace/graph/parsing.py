"""Parsing within bounds: a tree that took too long is given up, and walking it is linear whatever the file holds.

tree-sitter's own queries are not used: on a run of tokens without names (200 kB of ``(``) one takes over a minute, with
the interpreter locked and its progress callback never called. A cursor visits the same nodes in time that is linear,
can be stopped at each, and leaves out most of the tree where only statements matter.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from preloader.errors import PreloaderError, require

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Tree, TreeCursor

EXTRA = "workspace"
_CHUNK_BYTES = 1 << 16
_LOOK_EVERY = 256  # nodes between two looks at the clock
_HOLD_S = 0.001
GRAMMARS = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "java": ("tree_sitter_java", "language"),
}
"""By language: the module of its grammar, and the function in it."""


class Interrupted(PreloaderError):
    """A file was given up: the caller stopped the work, or the file took longer than it may."""


class Pace:
    """Lets other threads run: a thread that computes keeps the interpreter's lock for five milliseconds at a time."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()

    def keep(self) -> None:
        """Give the lock away if it was held for a while; the event loop may be waiting for it."""
        if time.monotonic() - self._since_s > _HOLD_S:
            time.sleep(0)
            self._since_s = time.monotonic()


class Budget:
    """How long one file may take, in CPU seconds of the thread, and whether anybody still waits for it.

    Args:
        seconds: CPU time of this thread from now.
        stop: Set when the work is no longer wanted.
    """

    def __init__(self, seconds: float, stop: threading.Event | None = None) -> None:
        self._ends_s = time.thread_time() + seconds
        self._stop = stop
        self._pace = Pace()

    @property
    def stopped(self) -> bool:
        """Whether the caller no longer wants the result."""
        return self._stop is not None and self._stop.is_set()

    @property
    def spent(self) -> bool:
        """Whether to give up; others may run meanwhile."""
        self._pace.keep()
        return self.stopped or time.thread_time() > self._ends_s

    def check(self) -> None:
        """Raise if it is spent.

        Raises:
            Interrupted: It is.
        """
        if self.spent:
            raise Interrupted("stopped" if self.stopped else "took too long")


def check_stop(stop: threading.Event | None) -> None:
    """Raise if the work is no longer wanted.

    Raises:
        Interrupted: ``stop`` is set.
    """
    if stop is not None and stop.is_set():
        raise Interrupted("stopped")


class Source(NamedTuple):
    """A parsed file.

    Attributes:
        data: Its bytes.
        tree: Its syntax tree.
        budget: What is left for reading it.
    """

    data: bytes
    tree: Tree
    budget: Budget

    def text(self, node: Node) -> str:
        """Return the text of a node; bytes that are no UTF-8 are replaced."""
        return self.data[node.start_byte : node.end_byte].decode(errors="replace")

    def field(self, node: Node, name: str) -> str:
        """Return the text of a node's field, empty where it has none."""
        child = node.child_by_field_name(name)
        return self.text(child) if child is not None else ""


@functools.cache
def grammar(language: str) -> Language:
    """Return a language's grammar.

    Raises:
        MissingExtraError: The grammar, or tree-sitter, is not installed.
    """
    module, function = GRAMMARS[language]
    tree_sitter = require("tree_sitter", EXTRA)
    loaded: Language = tree_sitter.Language(getattr(require(module, EXTRA), function)())
    return loaded


def parse(data: bytes, language: str, budget: Budget) -> Source:
    """Parse a file. Errors in it are nodes of the tree, never raised.

    Raises:
        Interrupted: The budget was spent before the end.
        MissingExtraError: The grammar is not installed.
    """
    budget.check()
    parser = require("tree_sitter", EXTRA).Parser(grammar(language))
    try:
        tree = parser.parse(
            lambda at, _point: data[at : at + _CHUNK_BYTES],
            progress_callback=lambda _offset, _has_error: budget.spent,  # it keeps the interpreter's lock in between
        )
    except ValueError as error:  # what the binding raises where there is no tree
        budget.check()
        raise Interrupted("could not be parsed") from error
    return Source(data, tree, budget)


def walk(source: Source, enters: Callable[[str], bool], top: Node | None = None) -> Iterator[Node]:
    """Yield named nodes beneath ``top`` in the order of the text: its children, and those of each node that it enters.

    Args:
        source: The parsed file.
        enters: Whether to go into nodes of a type.
        top: Where to begin; the whole file where ``None``.

    Raises:
        Interrupted: The budget was spent.
    """
    cursor = (top or source.tree.root_node).walk()
    seen = 0
    inside = cursor.goto_first_child()
    while inside:
        node = cursor.node
        assert node is not None
        seen += 1
        if seen % _LOOK_EVERY == 0:
            source.budget.check()
        if node.is_named:
            yield node
            if enters(node.type) and cursor.goto_first_child():
                continue
        inside = _onward(cursor)


def path_to(source: Source, byte: int) -> Iterator[Node]:
    """Yield the nodes around a byte, from the outermost in.

    Raises:
        Interrupted: The budget was spent.
    """
    cursor = source.tree.walk()
    depth = 0
    while cursor.goto_first_child_for_byte(byte) is not None:
        node = cursor.node
        assert node is not None
        depth += 1
        if depth % _LOOK_EVERY == 0:
            source.budget.check()
        if not node.start_byte <= byte < node.end_byte:
            return
        yield node


def _onward(cursor: TreeCursor) -> bool:
    """Move to the next node that is not beneath this one; return whether there is one."""
    while not cursor.goto_next_sibling():
        if not cursor.goto_parent():
            return False
    return True
