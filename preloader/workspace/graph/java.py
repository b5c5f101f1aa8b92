"""Reads Java: imports, definitions, and the type names that need no import because they are of the same package."""

from __future__ import annotations

import re

from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.golang import used_names
from preloader.workspace.graph.parsing import Source, walk
from preloader.workspace.graph.reading import Collector, end_of, line_of

_BLOCKS = frozenset(
    [
        "ERROR",
        "annotation_type_body",
        "annotation_type_declaration",
        "class_body",
        "class_declaration",
        "enum_body",
        "enum_body_declarations",
        "enum_declaration",
        "interface_body",
        "interface_declaration",
        "record_declaration",
    ]
)
_KINDS = {
    "annotation_type_declaration": "interface",
    "class_declaration": "class",
    "constructor_declaration": "method",
    "enum_declaration": "type",
    "interface_declaration": "interface",
    "method_declaration": "method",
    "record_declaration": "class",
}
_OPENING = frozenset(_KINDS) - {"constructor_declaration", "method_declaration"}
_NAMES = ("identifier", "scoped_identifier")
# A type's name by custom begins with a capital letter, and so does a static member's holder. Written as in golang.py.
_USED = re.compile(
    rb"//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?(?:\"\"\"|\Z)|\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?"
    rb"|(?<![\w.])([A-Z]\w{0,127})",
    re.DOTALL,
)


def read_java(source: Source) -> FileFacts:
    """Return what a Java file says of itself.

    Raises:
        Interrupted: The budget was spent.
    """
    found = Collector()
    package = ""
    for node in walk(source, _BLOCKS.__contains__):
        named = [child for child in node.named_children if child.type in _NAMES] if node.type in _HEADS else []
        if named and node.type == "package_declaration":
            package = source.text(named[0])[:512]
        elif named:
            everything = any(child.type == "asterisk" for child in node.named_children)
            found.add(Import(source.text(named[0]), ("*",) if everything else (), line_of(node), end_of(node)))
        elif node.type in _KINDS:
            name = source.field(node, "name")
            found.define(node, name, _KINDS[node.type])
            if node.type in _OPENING:
                found.open(node, name)
    return FileFacts(
        language="java",
        imports=tuple(found.imports),
        definitions=tuple(found.definitions),
        uses=used_names(source, _USED, frozenset()),
        package=package,
        has_errors=source.tree.root_node.has_error,
    )


_HEADS = ("package_declaration", "import_declaration")
