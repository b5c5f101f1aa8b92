"""Finds the files that Java's imports mean: a class is where its package and its name lead, under any source root."""

from __future__ import annotations

from preloader.workspace.graph.edges import Edges
from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.layout import Probe, dirname, joined, nearest


def resolve_java(importer: str, facts: FileFacts, probe: Probe) -> dict[str, tuple[str, ...]]:
    """Return the files that a Java file depends on; those of its own package by the types that it uses."""
    edges = Edges(importer)
    for found in facts.imports:
        parts = found.module.split(".")
        if found.names and (package := _package(parts, probe)):
            _used(package, facts, probe, edges)
        else:
            edges.add(_class(importer, parts, probe))
    _used([dirname(importer), *_package(facts.package.split("."), probe)], facts, probe, edges)
    return edges.result()


def _used(package: list[str], facts: FileFacts, probe: Probe, edges: Edges) -> None:
    """Enter the classes of a package that the file uses; it may lie in several source roots, as its tests do."""
    there = {directory: set(probe.names(directory)) for directory in package}
    for name in facts.uses:
        homes = [joined(directory, f"{name}.java") for directory in there if f"{name}.java" in there[directory]]
        edges.add(nearest(edges.importer, homes), [name])


def _class(importer: str, parts: list[str], probe: Probe) -> str | None:
    """Return the file of a class, or of the class around what is imported: a member, or an inner class."""
    for size in range(len(parts), max(1, len(parts) - 3), -1):
        path = "/".join(parts[:size]) + ".java"
        places = [place for place in probe.with_stem(parts[size - 1]) if place == path or place.endswith(f"/{path}")]
        if places:
            return nearest(importer, places)
    return None


def _package(parts: list[str], probe: Probe) -> list[str]:
    """Return the directories of a package."""
    path = "/".join(parts)
    return [place for place in probe.directories(parts[-1]) if place == path or place.endswith(f"/{path}")]
