"""Reads JavaScript, TypeScript and TSX: ES modules, CommonJS, definitions, and calls that block in async functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.javascript_calls import blocking_calls
from preloader.workspace.graph.parsing import Source, path_to, walk
from preloader.workspace.graph.reading import MAX_IMPORTS, Collector, end_of, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

# Where statements stand at a module's top, and members in its classes; bodies of functions are left out.
_BLOCKS = frozenset(
    [
        "ERROR",
        "abstract_class_declaration",
        "ambient_declaration",
        "class_body",
        "class_declaration",
        "else_clause",
        "export_statement",
        "expression_statement",
        "if_statement",
        "internal_module",
        "lexical_declaration",
        "module",
        "statement_block",
        "try_statement",
        "variable_declaration",
    ]
)
_KINDS = {
    "abstract_class_declaration": "class",
    "class_declaration": "class",
    "enum_declaration": "type",
    "function_declaration": "function",
    "function_signature": "function",
    "generator_function_declaration": "function",
    "interface_declaration": "interface",
    "internal_module": "module",
    "method_definition": "method",
    "type_alias_declaration": "type",
}
_FUNCTIONS = frozenset({"arrow_function", "function_expression", "generator_function"})
_CALLED_IMPORT = re.compile(rb"\b(?:require(?:\.resolve)?|import)\s*\(\s*(['\"`])([^'\"`\s]{1,512})\1")


def read_javascript(source: Source, language: str) -> FileFacts:
    """Return what a file in JavaScript or one of its kin says of itself.

    Raises:
        Interrupted: The budget was spent.
    """
    found = Collector()
    bound: dict[str, str] = {}  # the module, or its member, behind each name that an import binds
    for node in walk(source, _BLOCKS.__contains__):
        if node.type in ("import_statement", "export_statement"):
            _imported(source, node, found, bound)
        elif node.type == "variable_declarator":
            _variable(source, node, found, bound)
        elif node.type in _KINDS:
            name = source.field(node, "name")
            found.define(node, name, _KINDS[node.type])
            if _KINDS[node.type] == "class":
                found.open(node, name)
    _called_imports(source, found)
    return FileFacts(
        language=language,
        imports=tuple(found.imports),
        definitions=tuple(found.definitions),
        blocking=blocking_calls(source, bound),
        has_errors=source.tree.root_node.has_error,
    )


def _imported(source: Source, node: Node, found: Collector, bound: dict[str, str]) -> None:
    """Enter ``import … from``, ``export … from`` and ``import x = require(…)``."""
    clauses = [child for child in node.named_children if child.type in _CLAUSES]
    origin = node.child_by_field_name("source")
    if origin is None and clauses and clauses[0].type == "import_require_clause":
        origin = clauses[0].child_by_field_name("source")
    if origin is None:
        return
    module = source.text(origin)[1:-1]
    names: list[str] = []
    for clause in clauses:
        for name, alias in _CLAUSES[clause.type](source, clause):
            names.append(name)
            bound[alias or name] = module if name == "*" else f"{module}.{name}"
    if not clauses and node.type == "export_statement":
        names.append("*")
    exported = node.type == "export_statement"
    found.add(Import(module, tuple(names), line_of(node), end_of(node), exported=exported))


def _clause(source: Source, clause: Node) -> list[tuple[str, str]]:
    """Return the names that an import clause takes, each with the name it is bound to."""
    taken: list[tuple[str, str]] = []
    for child in clause.named_children:
        if child.type == "identifier":
            taken.append(("default", source.text(child)))
        elif child.type in _CLAUSES:
            taken.extend(_CLAUSES[child.type](source, child))
    return taken


def _specifiers(source: Source, clause: Node) -> list[tuple[str, str]]:
    specifiers = (child for child in clause.named_children if child.type in ("import_specifier", "export_specifier"))
    return [(source.field(one, "name"), source.field(one, "alias")) for one in specifiers]


def _whole(source: Source, clause: Node) -> list[tuple[str, str]]:
    return [("*", source.text(child)) for child in clause.named_children if child.type == "identifier"] or [("*", "")]


_CLAUSES = {
    "import_clause": _clause,
    "named_imports": _specifiers,
    "export_clause": _specifiers,
    "namespace_import": _whole,
    "namespace_export": _whole,
    "import_require_clause": _whole,
}


def _variable(source: Source, node: Node, found: Collector, bound: dict[str, str]) -> None:
    """Enter what a declaration at the top defines, and what it binds to a module that it requires."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None:
        return
    required = _CALLED_IMPORT.match(source.data, value.start_byte, value.end_byte) if value is not None else None
    if required:
        module = required[2].decode(errors="replace")
        if name.type == "identifier":
            bound[source.text(name)] = module
        for part in name.named_children:
            if part.type == "shorthand_property_identifier_pattern":
                bound[source.text(part)] = f"{module}.{source.text(part)}"
            elif part.type == "pair_pattern":
                bound[source.field(part, "value")] = f"{module}.{source.field(part, 'key')}"
    elif name.type == "identifier":
        kind = "function" if value is not None and value.type in _FUNCTIONS else "constant"
        found.define(node, source.text(name), kind)


def _called_imports(source: Source, found: Collector) -> None:
    """Enter ``require("x")`` and ``import("x")`` wherever they stand, but in comments and strings."""
    for number, call in enumerate(_CALLED_IMPORT.finditer(source.data)):
        if number >= MAX_IMPORTS:
            return
        source.budget.check()
        innermost = None
        for innermost in path_to(source, call.start()):  # noqa: B007 - the last is wanted
            pass
        if innermost is not None and innermost.type in ("identifier", "import"):
            found.add(Import(call[2].decode(errors="replace"), line=line_of(innermost), end_line=end_of(innermost)))
