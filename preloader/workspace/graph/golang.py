"""Reads Go: imports, definitions, and the names that other files of the package may define."""

from __future__ import annotations

import re

from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.parsing import Source, walk
from preloader.workspace.graph.reading import Collector, end_of, line_of

_BLOCKS = frozenset(
    [
        "ERROR",
        "const_declaration",
        "import_declaration",
        "import_spec_list",
        "type_declaration",
        "var_declaration",
        "var_spec_list",
    ]
)
_KINDS = {
    "const_spec": "constant",
    "function_declaration": "function",
    "method_declaration": "method",
    "type_alias": "type",
    "type_spec": "type",
    "var_spec": "constant",
}
# A name that is no member of something else; comments and strings are matched so that what is in them is not. Their
# ends are optional and their repetitions possessive: each byte is looked at once, whatever is left open.
_USED = re.compile(
    rb"//[^\n]*|/\*.*?(?:\*/|\Z)|\"(?:[^\"\\\n]|\\.)*+\"?|`[^`]*+`?|'(?:[^'\\\n]|\\.)*+'?|(?<![\w.])([A-Za-z_]\w{0,127})",
    re.DOTALL,
)
_KEYWORDS = frozenset(
    b"break case chan const continue default defer else fallthrough for func go goto if import interface map package "
    b"range return select struct switch type var nil true false string int error bool byte len make append".split()
)
MAX_USES = 5_000


def read_go(source: Source) -> FileFacts:
    """Return what a Go file says of itself.

    Raises:
        Interrupted: The budget was spent.
    """
    found = Collector()
    package = ""
    for node in walk(source, _BLOCKS.__contains__):
        if node.type == "package_clause" and node.named_child_count:
            package = source.text(node.named_children[0])[:128]
        elif node.type == "import_spec":
            found.add(Import(source.field(node, "path")[1:-1], line=line_of(node), end_line=end_of(node)))
        elif node.type in _KINDS:
            for name in node.children_by_field_name("name"):
                if name.is_named:
                    found.define(node, source.text(name), _KINDS[node.type])
    return FileFacts(
        language="go",
        imports=tuple(found.imports),
        definitions=tuple(found.definitions),
        uses=used_names(source, _USED, _KEYWORDS | {package.encode()}),
        package=package,
        has_errors=source.tree.root_node.has_error,
    )


def used_names(source: Source, pattern: re.Pattern[bytes], leave_out: frozenset[bytes]) -> tuple[str, ...]:
    """Return the names in the first group of a pattern that matches comments, strings and names, sorted.

    Raises:
        Interrupted: The budget was spent.
    """
    names: set[bytes] = set()
    for number, match in enumerate(pattern.finditer(source.data)):
        if number % 1024 == 0:
            source.budget.check()
        if match[1] and match[1] not in leave_out and len(names) < MAX_USES:
            names.add(match[1])
    return tuple(sorted(name.decode(errors="replace") for name in names))
