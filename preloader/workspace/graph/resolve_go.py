"""Finds the files that Go's imports mean: the packages of the workspace's modules, and a package's other files.

An import means a package, which is a directory: all its files but tests. Files of one package need no import of each
other: a name that is defined in another file is the edge.
"""

from __future__ import annotations

from preloader.workspace.graph.edges import Edges
from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.layout import Probe, dirname, inside, joined, nearest, up


def resolve_go(importer: str, facts: FileFacts, probe: Probe) -> dict[str, tuple[str, ...]]:
    """Return the files that a Go file depends on; what it uses of its own package is named."""
    edges = Edges(importer)
    for found in facts.imports:
        directory = _package(importer, found.module, probe)
        for name in probe.names(directory) if directory is not None else ():
            if name.endswith(".go") and not name.endswith("_test.go"):
                edges.add(joined(directory or "", name))
    here = dirname(importer)
    probe.names(here)  # a file that comes or goes may define what is used here
    defined = probe.definitions(here)
    for name in facts.uses:
        for path in defined.get(name, ()):
            if importer.endswith("_test.go") or not path.endswith("_test.go"):
                edges.add(path, [name])
    return edges.result()


def _package(importer: str, module: str, probe: Probe) -> str | None:
    """Return the directory of an imported package, ``None`` where no module of the workspace has it."""
    modules = probe.projects("go.mod")
    name = max((name for name in modules if _beneath(name, module)), key=len, default=None)
    home = nearest(importer, modules[name]) if name is not None else None
    owner = inside(home, module[len(name or "") :].lstrip("/")) if home is not None else None
    replaced = _replacement(importer, module, probe)
    place = replaced if replaced is not None else owner
    return place if place is not None and probe.directory(place) else None


def _replacement(importer: str, module: str, probe: Probe) -> str | None:
    """Return where the importer's own ``go.mod`` says that a module is, if it says so."""
    homes = [joined(above, "go.mod") for above in up(importer)]
    own = nearest(importer, [path for path in homes if probe.file(path)])
    for name, path in probe.configuration(own).get("replace", {}).items() if own else ():
        if _beneath(name, module):
            return inside(dirname(own or ""), joined(path, module[len(name) :].lstrip("/")))
    return None


def _beneath(name: str, module: str) -> bool:
    return module == name or module.startswith(f"{name}/")
