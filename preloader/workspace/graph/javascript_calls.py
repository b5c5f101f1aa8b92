"""Calls of Node's ``…Sync`` functions within async functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import BlockingCall
from preloader.workspace.graph.parsing import Source, path_to
from preloader.workspace.graph.reading import MAX_NAME, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

_SYNC = re.compile(rb"\b([A-Za-z]{2,64}Sync)\s*\(")
_MODULES = frozenset({"child_process", "crypto", "fs", "fs-extra", "zlib"})
_FUNCTIONS = frozenset(
    [
        "arrow_function",
        "function_declaration",
        "function_expression",
        "generator_function",
        "generator_function_declaration",
        "method_definition",
    ]
)
MAX_CALLS = 1_000


def blocking_calls(source: Source, bound: Mapping[str, str]) -> tuple[BlockingCall, ...]:
    """Return the ``…Sync`` calls whose innermost function is async, in the order of the text.

    Args:
        source: The file.
        bound: The module, or its member, behind each name that an import binds.

    Raises:
        Interrupted: The budget was spent.
    """
    found: list[BlockingCall] = []
    for match in _SYNC.finditer(source.data):
        source.budget.check()
        function, callee = _around(source, match.start())
        if function is not None and callee is not None and _is_async(function):
            name, certain = _full_name(source.text(callee), bound)
            found.append(BlockingCall(line_of(callee), name, _name_of(source, function), certain))
            if len(found) >= MAX_CALLS:
                break
    return tuple(found)


def _around(source: Source, byte: int) -> tuple[Node | None, Node | None]:
    """Return the innermost function around a byte, and what is called there if a call begins or has its name there."""
    function = callee = None
    for node in path_to(source, byte):
        if node.type in _FUNCTIONS:
            function, callee = node, None
        elif node.type == "call_expression":
            called = node.child_by_field_name("function")
            if called is not None and called.start_byte <= byte < called.end_byte:
                callee = called
        elif node.type in ("comment", "string", "template_string"):
            callee = None
    if callee is None or callee.end_byte - callee.start_byte > MAX_NAME or callee.type not in _CALLABLE:
        return function, None
    return function, callee


_CALLABLE = ("identifier", "member_expression")


def _is_async(function: Node) -> bool:
    return any(child.type == "async" for child in function.children[:4])  # static override async name


def _name_of(source: Source, function: Node) -> str:
    """Return a function's name; that of the variable where it is the value of one."""
    name = source.field(function, "name")
    if not name and function.parent is not None and function.parent.type == "variable_declarator":
        name = source.field(function.parent, "name")
    return name[:MAX_NAME] or "(anonymous)"


def _full_name(dotted: str, bound: Mapping[str, str]) -> tuple[str, bool]:
    first, dot, rest = dotted.partition(".")
    full = bound.get(first, first) + dot + rest
    full = full.removeprefix("node:").replace(".default.", ".")
    return full, first in bound and full.partition(".")[0] in _MODULES
