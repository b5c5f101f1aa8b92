"""Finds the files that Rust's modules and paths mean, within a crate and between the crates of a workspace."""

from __future__ import annotations

from preloader.workspace.graph.edges import Edges
from preloader.workspace.graph.facts import FileFacts, Import
from preloader.workspace.graph.layout import Probe, basename, dirname, inside, joined, nearest, up

_OWN_ROOTS = ("bin", "benches", "examples", "tests")  # each file there is a crate of its own
_DIRECTORY_FILES = ("lib.rs", "main.rs", "mod.rs")  # their submodules are beside them


def resolve_rust(importer: str, facts: FileFacts, probe: Probe) -> dict[str, tuple[str, ...]]:
    """Return the files that a Rust file declares as modules or names in paths, with the names taken out of them."""
    edges = Edges(importer)
    root = _crate_root(importer, probe)
    for found in facts.imports:
        if found.module_file:
            edges.add(_declared(importer, found, root, probe))
        else:
            _enter_path(importer, found, root, probe, edges)
    crates = probe.projects("Cargo.toml")
    for used in facts.uses:
        module, _, name = used.rpartition("::")
        if module.partition("::")[0] in crates:
            _enter_path(importer, Import(module, (name,)), root, probe, edges)
    return edges.result()


def _declared(importer: str, found: Import, root: str | None, probe: Probe) -> str | None:
    """Return the file of ``mod x;``."""
    if found.names:  # its path is written out
        place = inside(dirname(importer), found.module)
        return place if place is not None and probe.file(place) else None
    base = joined(_children(importer, root), found.module)
    return probe.first(f"{base}.rs", joined(base, "mod.rs"))


def _enter_path(importer: str, found: Import, root: str | None, probe: Probe, edges: Edges) -> None:
    first, *rest = found.module.split("::")
    start: str | None = importer
    home = root
    if first == "crate":
        start = root
    elif first == "super":
        while start is not None and first == "super":
            start = _parent(start, root, probe)
            first = rest.pop(0) if rest else ""
        rest = [first, *rest] if first else rest
    elif first != "self":
        child = probe.first(*_module_files(_children(importer, root), first))  # paths may begin at a child module
        start = child or (home := _crate(importer, first, probe))
    if start is not None:
        _descend(start, rest, found, home, probe, edges)


def _descend(start: str, rest: list[str], found: Import, root: str | None, probe: Probe, edges: Edges) -> None:
    """Enter the deepest module that a path leads to, and the names that are taken out of it."""
    place, names = start, [*rest, *found.names]
    while names:
        inner = probe.first(*_module_files(_children(place, root), names[0]))
        if inner is None:
            break
        place = inner
        del names[0]
    edges.add(place, None if not names or names[0] == "*" else names[:1])


def _module_files(directory: str, name: str) -> tuple[str, str]:
    return joined(directory, f"{name}.rs"), joined(directory, name, "mod.rs")


def _children(path: str, root: str | None) -> str:
    """Return the directory that holds a module's submodules."""
    if path == root or basename(path) in _DIRECTORY_FILES or basename(dirname(path)) in _OWN_ROOTS:
        return dirname(path)
    return path.removesuffix(".rs")


def _parent(path: str, root: str | None, probe: Probe) -> str | None:
    """Return the file of the module above."""
    if path == root:
        return None
    above = dirname(dirname(path)) if basename(path) == "mod.rs" else dirname(path)
    if root is not None and above == dirname(root):
        return root
    return probe.first(f"{above}.rs", joined(above, "mod.rs"), joined(above, "lib.rs"), joined(above, "main.rs"))


def _crate_root(importer: str, probe: Probe) -> str | None:
    """Return the file that ``crate`` means for a file, ``None`` where no ``Cargo.toml`` is above it."""
    home = next((above for above in up(importer) if probe.file(joined(above, "Cargo.toml"))), None)
    if home is None:
        return None
    seen = importer[len(home) :].lstrip("/").split("/")
    for place in (seen[:2], seen[:3]):
        if len(place) >= 2 and place[-2] in _OWN_ROOTS:
            base = joined(home, *place)
            return base if base.endswith(".rs") else probe.first(joined(base, "main.rs"))
    if seen == ["src", "main.rs"]:
        return importer
    return _library(home, probe) or probe.first(joined(home, "src", "main.rs"))


def _library(home: str, probe: Probe) -> str | None:
    table = probe.configuration(joined(home, "Cargo.toml")).get("lib")
    path = table.get("path") if isinstance(table, dict) else None
    place = inside(home, path) if isinstance(path, str) else joined(home, "src", "lib.rs")
    return place if place is not None and probe.file(place) else None


def _crate(importer: str, name: str, probe: Probe) -> str | None:
    """Return the library's file of a crate of the workspace, which the importer's own may call otherwise."""
    manifest = probe.first(*(joined(above, "Cargo.toml") for above in up(importer)))
    needs = probe.configuration(manifest).get("dependencies") if manifest is not None else None
    need = (needs.get(name) or needs.get(name.replace("_", "-"))) if isinstance(needs, dict) else None
    path = need.get("path") if isinstance(need, dict) else None
    if isinstance(path, str) and (place := inside(dirname(manifest or ""), path)) is not None:
        return _library(place, probe)
    home = nearest(importer, probe.projects("Cargo.toml").get(name, ()))
    return _library(home, probe) if home is not None else None
