"""The languages that the graph reads: by suffix, how a file is read and how its imports are resolved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from posixpath import basename
from typing import NamedTuple

from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.golang import read_go
from preloader.workspace.graph.java import read_java
from preloader.workspace.graph.javascript import read_javascript
from preloader.workspace.graph.layout import Probe
from preloader.workspace.graph.parsing import Source
from preloader.workspace.graph.python import read_python
from preloader.workspace.graph.resolve_go import resolve_go
from preloader.workspace.graph.resolve_java import resolve_java
from preloader.workspace.graph.resolve_javascript import resolve_javascript
from preloader.workspace.graph.resolve_python import resolve_python
from preloader.workspace.graph.resolve_rust import resolve_rust
from preloader.workspace.graph.rust import read_rust

Reader = Callable[[Source], FileFacts]
Resolver = Callable[[str, FileFacts, Probe], dict[str, tuple[str, ...]]]


class Support(NamedTuple):
    """What is known of a language.

    Attributes:
        language: Its name, which names the grammar too.
        read: Reads one parsed file.
        resolve: Finds the files that its imports mean.
    """

    language: str
    read: Reader
    resolve: Resolver


def _of_javascript(language: str) -> Support:
    return Support(language, partial(read_javascript, language=language), resolve_javascript)


_LANGUAGES = {
    ".py": Support("python", read_python, resolve_python),
    ".pyi": Support("python", read_python, resolve_python),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), _of_javascript("javascript")),
    **dict.fromkeys((".ts", ".mts", ".cts"), _of_javascript("typescript")),
    ".tsx": _of_javascript("tsx"),
    ".go": Support("go", read_go, resolve_go),
    ".rs": Support("rust", read_rust, resolve_rust),
    ".java": Support("java", read_java, resolve_java),
}
SUFFIXES = tuple(_LANGUAGES)


def support_for(path: str) -> Support | None:
    """Return what is known of a file's language, by its suffix; ``None`` where it is none of those."""
    name = basename(path)
    dot = name.rfind(".")
    return _LANGUAGES.get(name[dot:]) if dot > 0 else None


def same_language(path: str, other: str) -> bool:
    """Return whether two files are of one known language; JavaScript and its kin are one."""
    here, there = support_for(path), support_for(other)
    return here is not None and there is not None and here.resolve is there.resolve
