"""Finds the files that Python's imports mean: packages, namespace packages, ``src`` layouts, scripts, several projects.

A top-level name is looked for where the interpreter would find it when a program or a test of the workspace runs:
beside the importer and in each directory above that is no package itself, in their ``src`` and ``lib``, and beside the
``pyproject.toml`` of other projects. As in the interpreter, namespace packages come last and hide no standard module.
"""

from __future__ import annotations

import sys

from preloader.workspace.graph.edges import Edges
from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.layout import Probe, dirname, joined, nearest, up

_SOURCES = ("", "src", "lib", "python")
_MAX_ELSEWHERE = 256  # of files with a name that many have, as `utils`
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def resolve_python(importer: str, facts: FileFacts, probe: Probe) -> dict[str, tuple[str, ...]]:
    """Return the files that a Python file imports, each with the names taken out of it."""
    edges = Edges(importer)
    tops: dict[str, list[str]] = {}
    for found in facts.imports:
        if found.level:
            start = importer
            for _ in range(min(found.level, importer.count("/") + 2)):
                if not start:
                    break
                start = dirname(start)
            else:
                _enter([start], found.module.split(".") if found.module else [], found, probe, edges)
            continue
        top, *rest = found.module.split(".")
        if top not in tops:
            tops[top] = _top_level(importer, top, probe)
        if tops[top]:
            _enter(tops[top], rest, found, probe, edges)
    return edges.result()


def _enter(bases: list[str], rest: list[str], found: Import, probe: Probe, edges: Edges) -> None:
    """Enter what an import means.

    Args:
        bases: The module or package to begin at, without its suffix; more than one for a namespace package's portions.
        rest: The parts of the name beneath it.
        found: The import.
        probe: The workspace.
        edges: Where to enter it.
    """
    for part in rest:
        inner = [joined(base, part) for base in bases if probe.directory(base)]
        there = [base for base in inner if _module(base, probe) or probe.directory(base)]
        if not there:  # a module that is not of the workspace, as one that is compiled
            return
        bases = there
    if not found.names:
        edges.add(_module(bases[0], probe))
    for name in found.names:
        _enter_name(bases, name, probe, edges)


def _enter_name(bases: list[str], name: str, probe: Probe, edges: Edges) -> None:
    for base in bases:
        submodule = _module(joined(base, name), probe) if name != "*" and probe.directory(base) else None
        if submodule:
            edges.add(submodule)
            return
    edges.add(_module(bases[0], probe), None if name == "*" else [name])


def _module(base: str, probe: Probe) -> str | None:
    """Return the file that importing ``base`` runs, ``None`` for a namespace package and for what is missing."""
    inner = joined(base, "__init__.py")
    if not base:
        return probe.first(inner)
    return probe.first(inner, f"{base}.py", f"{base}.pyi", f"{inner}i")


def _top_level(importer: str, top: str, probe: Probe) -> list[str]:
    """Return where a top-level module or package is: one path without its suffix, or a namespace package's portions."""
    files, directories = probe.with_stem(top), probe.directories(top)
    if not files and not directories:
        return []
    roots = [joined(above, source) if source else above for above in up(importer) for source in _SOURCES]
    roots = [root for root in dict.fromkeys(roots) if not probe.file(joined(root, "__init__.py"))]
    for root in roots:
        if _module(joined(root, top), probe):
            return [joined(root, top)]
    elsewhere = [joined(dirname(place), top) for place in (*files, *directories)[:_MAX_ELSEWHERE]]
    projects = [place for place in dict.fromkeys(elsewhere) if _module(place, probe) and _in_project(place, probe)]
    if projects:
        return [nearest(importer, projects) or projects[0]]
    if top in sys.stdlib_module_names:
        return []
    return [joined(root, top) for root in roots if probe.directory(joined(root, top))]


def _in_project(base: str, probe: Probe) -> bool:
    """Return whether a top-level module lies where a project of the workspace keeps its own."""
    root = dirname(base)
    if probe.file(joined(root, "__init__.py")):
        return False
    homes = [root, dirname(root)] if root.rpartition("/")[2] in _SOURCES else [root]
    return any(probe.file(joined(home, name)) for home in homes for name in _PROJECT_FILES)
