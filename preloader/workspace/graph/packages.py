"""Which file of a Go package defines which name, since its other files use that without an import."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.layout import asked_definitions, dirname, discard_from


class Packages:
    """The names that the files of each directory define at their top."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}  # path → what it defines
        self._files: dict[str, dict[str, set[str]]] = {}  # directory → name → paths

    def has(self, path: str) -> bool:
        """Return whether files like this share names within their directory."""
        return path.endswith(".go")

    def defined(self, package: str) -> Mapping[str, Collection[str]]:
        """Return which files of a directory define each name."""
        return self._files.get(package, {})

    def put(self, path: str, facts: FileFacts | None) -> set[str]:
        """Enter what a file defines, ``None`` for nothing; return the names of the questions that this answers anew."""
        now = frozenset(one.name for one in facts.definitions if one.kind != "method") if facts else frozenset()
        before = self._names.pop(path, frozenset())
        directory = dirname(path)
        names = self._files.setdefault(directory, {})
        for name in before - now:
            discard_from(names, name, path)
        for name in now - before:
            names.setdefault(name, set()).add(path)
        if now:
            self._names[path] = now
        if not names:
            del self._files[directory]
        return {asked_definitions(directory)} if now != before else set()
