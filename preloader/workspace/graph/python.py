"""Reads Python: imports anywhere a statement may stand, definitions, and calls that block in coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.parsing import Source, walk
from preloader.workspace.graph.python_calls import blocking_calls, may_block
from preloader.workspace.graph.reading import Collector, end_of, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

# Where statements stand; expressions hold no import and no definition.
_BLOCKS = frozenset(
    [
        "ERROR",
        "block",
        "case_clause",
        "class_definition",
        "decorated_definition",
        "elif_clause",
        "else_clause",
        "except_clause",
        "except_group_clause",
        "finally_clause",
        "for_statement",
        "function_definition",
        "if_statement",
        "match_statement",
        "try_statement",
        "while_statement",
        "with_statement",
    ]
)


def read_python(source: Source) -> FileFacts:
    """Return what a Python file says of itself.

    Raises:
        Interrupted: The budget was spent.
    """
    found = Collector()
    bound: dict[
        str, str
    ] = {}  # the full name behind each name that an import binds; it begins with dots in this package
    coroutines: list[Node] = []
    functions: list[Node] = []
    for node in walk(source, _BLOCKS.__contains__):
        match node.type:
            case "import_statement":
                _imported(source, node, found, bound)
            case "import_from_statement":
                _imported_from(source, node, found, bound)
            case "class_definition":
                name = source.field(node, "name")
                found.define(node, name, "class")
                found.open(node, name)
            case "function_definition":
                _function(source, node, found, bound)
                is_coroutine = node.child_count and node.child(0).type == "async"
                (coroutines if is_coroutine else functions).append(node)
            case "expression_statement" if not node.start_point.column:
                _constant(source, node, found)
    blocking, calls = blocking_calls(source, coroutines, bound)
    helpers, _ = blocking_calls(source, (one for one in functions if may_block(source, one, bound)), bound)
    return FileFacts(
        language="python",
        imports=tuple(found.imports),
        definitions=tuple(found.definitions),
        blocking=tuple(blocking),
        helpers=tuple(helpers),
        calls=tuple(calls),
        has_errors=source.tree.root_node.has_error,
    )


def _function(source: Source, node: Node, found: Collector, bound: dict[str, str]) -> None:
    name = source.field(node, "name")
    found.define(node, name, "method" if found.parent(node) else "function")
    if not node.start_point.column:
        bound[name] = f".{name}"  # no longer the builtin of that name


def _imported(source: Source, node: Node, found: Collector, bound: dict[str, str]) -> None:
    for name, alias in _names(source, node):
        bound[alias or name.partition(".")[0]] = name if alias else name.partition(".")[0]
        found.add(Import(name, line=line_of(node), end_line=end_of(node), exported=True))


def _imported_from(source: Source, node: Node, found: Collector, bound: dict[str, str]) -> None:
    written = "".join(source.field(node, "module_name").split())
    module = written.lstrip(".")
    level = len(written) - len(module)
    names = _names(source, node)
    bound.update((alias or name, f"{written}.{name}") for name, alias in names)
    taken = tuple(name for name, _ in names)
    if not names and any(child.type == "wildcard_import" for child in node.named_children):
        taken = ("*",)
    if written:
        found.add(Import(module, taken, line_of(node), end_of(node), level, exported=True))


def _names(source: Source, node: Node) -> list[tuple[str, str]]:
    """Return the names that an import statement takes, each with its alias, empty where it has none."""
    return [
        (source.field(name, "name"), source.field(name, "alias"))
        if name.type == "aliased_import"
        else (source.text(name), "")
        for name in node.children_by_field_name("name")
    ]


def _constant(source: Source, statement: Node, found: Collector) -> None:
    assignment = statement.named_child(0) if statement.named_child_count else None
    if assignment is not None and assignment.type == "assignment":
        left = assignment.child_by_field_name("left")
        if left is not None and left.type == "identifier":
            found.define(statement, source.text(left), "constant")
