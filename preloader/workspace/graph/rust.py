"""Reads Rust: ``mod``, ``use`` and paths that begin at the crate, definitions, and whether a file tests itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.golang import used_names
from preloader.workspace.graph.parsing import Source, path_to, walk
from preloader.workspace.graph.reading import MAX_IMPORTS, Collector, end_of, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

_BLOCKS = frozenset({"ERROR", "declaration_list", "foreign_mod_item", "impl_item", "mod_item", "trait_item"})
_KINDS = {
    "const_item": "constant",
    "enum_item": "type",
    "function_item": "function",
    "function_signature_item": "function",
    "macro_definition": "macro",
    "static_item": "constant",
    "struct_item": "class",
    "trait_item": "interface",
    "type_item": "type",
    "union_item": "class",
}
_PATH_ATTRIBUTE = re.compile(rb'#\s*\[\s*path\s*=\s*"([^"\n]{1,512})"')
_TESTS = re.compile(rb"#\s*\[\s*(?:cfg\s*\(\s*test\s*\)|(?:\w{1,64}::)?test\b)")
_INLINE_PATH = re.compile(rb"\b(?:crate|super|self)(?:::[A-Za-z_]\w{0,127}){2,16}")
# A path that does not begin at the crate, but where it is taken in; written as in golang.py.
_USED = re.compile(
    rb"(?<![\w:])(?!(?:alloc|core|crate|self|std|super)::)((?:[a-z_]\w{0,127}::){1,16}\w{1,128})"
    rb"|//[^\n]*|/\*.*?(?:\*/|\Z)|\br(#*)\".*?(?:\"\2|\Z)|\"(?:[^\"\\]|\\.)*+\"?|'(?:[^'\\\n]|\\.)'|\buse\s[^;]*+",
    re.DOTALL,
)
_NO_CODE = frozenset({"block_comment", "line_comment", "raw_string_literal", "string_literal", "use_declaration"})
_MAX_DEPTH = 32  # of a path; a file that nests braces deeper means harm


def read_rust(source: Source) -> FileFacts:
    """Return what a Rust file says of itself.

    Raises:
        Interrupted: The budget was spent.
    """
    found = Collector()
    inner: list[tuple[int, str]] = []  # end and name of each module written out around the current node
    attribute: Node | None = None
    for node in walk(source, _BLOCKS.__contains__):
        while inner and inner[-1][0] <= node.start_byte:
            inner.pop()
        if node.type == "attribute_item":
            attribute = node
            continue
        if node.type == "mod_item":
            _module(source, node, attribute, found, inner)
        elif node.type == "extern_crate_declaration":
            found.add(Import(source.field(node, "name"), line=line_of(node), end_line=end_of(node)))
        elif node.type == "use_declaration":
            _used(source, node, found, len(inner))
        elif node.type == "impl_item":
            found.open(node, source.field(node, "type"))
        elif node.type in _KINDS:
            name = source.field(node, "name")
            method = _KINDS[node.type] == "function" and found.parent(node)
            found.define(node, name, "method" if method else _KINDS[node.type])
            if node.type == "trait_item":
                found.open(node, name)
        attribute = None
    _inline_paths(source, found)
    return FileFacts(
        language="rust",
        imports=tuple(found.imports),
        definitions=tuple(found.definitions),
        uses=used_names(source, _USED, frozenset()),
        has_errors=source.tree.root_node.has_error,
        has_tests=_TESTS.search(source.data) is not None,
    )


def _module(source: Source, node: Node, attribute: Node | None, found: Collector, inner: list[tuple[int, str]]) -> None:
    name = source.field(node, "name")
    found.define(node, name, "module")
    if node.child_by_field_name("body") is not None:
        inner.append((node.end_byte, name))
        return
    path = _PATH_ATTRIBUTE.match(source.data, attribute.start_byte, attribute.end_byte) if attribute else None
    module = path[1].decode(errors="replace") if path else "/".join([*(part for _, part in inner), name])
    found.add(
        Import(module, names=("#[path]",) if path else (), line=line_of(node), end_line=end_of(node), module_file=True)
    )


def _used(source: Source, node: Node, found: Collector, depth: int) -> None:
    argument = node.child_by_field_name("argument")
    exported = any(child.type == "visibility_modifier" for child in node.named_children)
    for path in _expanded(source, argument) if argument is not None else ():
        module, _, name = _seen_from_file(path, depth).rpartition("::")
        found.add(Import(module or name, (name,) if module else (), line_of(node), end_of(node), exported=exported))


def _seen_from_file(path: str, depth: int) -> str:
    """Return a path as it would be written outside of the ``depth`` modules that are written out around it."""
    rest = path
    supers = 0
    while rest.startswith("super::"):
        rest = rest.removeprefix("super::")
        supers += 1
    if not supers:
        return path
    return "super::" * (supers - depth) + rest if supers > depth else f"self::{rest}"


def _expanded(source: Source, argument: Node) -> Iterator[str]:
    """Yield each path that a ``use`` names: ``a::{b, c::{self, d as e}}`` names ``a::b``, ``a::c`` and ``a::c::d``."""
    waiting = [("", argument, 0)]
    produced = 0
    while waiting and produced < MAX_IMPORTS:
        prefix, node, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            continue
        if node.type == "use_as_clause":
            node = node.child_by_field_name("path") or node
        if node.type == "scoped_use_list":
            path, names = node.child_by_field_name("path"), node.child_by_field_name("list")
            prefix += f"{source.text(path)}::" if path is not None else ""
            waiting.extend((prefix, child, depth + 1) for child in reversed(names.named_children if names else []))
        elif node.type == "use_list":
            waiting.extend((prefix, child, depth + 1) for child in reversed(node.named_children))
        else:
            produced += 1
            text = prefix + "".join(source.text(node).split())
            yield text.removesuffix("::self")


def _inline_paths(source: Source, found: Collector) -> None:
    """Enter paths in the code that begin at the crate, or at a module beside this one."""
    seen: set[bytes] = set()
    for match in _INLINE_PATH.finditer(source.data):
        if match[0] in seen:
            continue
        seen.add(match[0])
        source.budget.check()
        if len(seen) > MAX_IMPORTS:
            return
        around = list(path_to(source, match.start()))
        kinds = {node.type for node in around}
        if around and not kinds & _NO_CODE:
            module, _, name = match[0].decode().rpartition("::")
            found.add(Import(module, (name,), line_of(around[-1]), end_of(around[-1])))
