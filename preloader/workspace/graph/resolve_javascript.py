"""Finds the files that imports of JavaScript and TypeScript mean: relative ones, a project's paths, its packages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from preloader.workspace.graph.edges import Edges
from preloader.workspace.graph.facts import FileFacts
from preloader.workspace.graph.layout import Probe, dirname, inside, joined, nearest, up

SUFFIXES = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".d.ts", ".vue", ".svelte", ".json")
_WRITTEN_AS = {".js": (".ts", ".tsx", ".d.ts"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
_BUILT = ("dist", "lib", "build", "out")  # where a package's entry is built to; its source is read in place of it
_ENTRIES = ("source", "types", "module", "main")
_CONDITIONS = frozenset({"source", "types", "import", "module", "default", "require", "node"})  # in the file's order
_MAX_CONFIGS = 16  # that one extends, or refers to
_MAX_PATTERNS = 256


def resolve_javascript(importer: str, facts: FileFacts, probe: Probe) -> dict[str, tuple[str, ...]]:
    """Return the files that a file in JavaScript or TypeScript imports, each with the names taken out of it."""
    edges = Edges(importer)
    for found in facts.imports:
        target = _resolve(importer, found.module, probe)
        edges.add(target, None if not found.names or "*" in found.names else found.names)
    return edges.result()


def _resolve(importer: str, module: str, probe: Probe) -> str | None:
    if module.startswith(("./", "../")) or module in (".", ".."):
        place = inside(dirname(importer), module)
        return _file(place, probe) if place is not None else None
    if module.startswith("#"):
        return _own_import(importer, module, probe)
    for place in _mapped(importer, module, probe):
        if target := _file(place, probe):
            return target
    return _package(importer, module, probe)


def _file(place: str, probe: Probe) -> str | None:
    """Return the file that a path means: itself, with a suffix, what it is compiled from, or a directory's index."""
    if place and probe.file(place):
        return place
    stem, dot, suffix = place.rpartition(".")
    sources = (stem + other for other in _WRITTEN_AS.get(dot + suffix, ()))
    if target := probe.first(*sources, *((place + suffix for suffix in SUFFIXES) if place else ())):
        return target
    if not probe.directory(place):
        return None
    return _entry(place, probe) or _index(place, probe)


def _index(directory: str, probe: Probe) -> str | None:
    return probe.first(*(joined(directory, "index" + suffix) for suffix in SUFFIXES))


def _mapped(importer: str, module: str, probe: Probe) -> Iterator[str]:
    """Yield the paths that the nearest ``tsconfig.json`` maps a module to, then that beneath its ``baseUrl``."""
    for directory in up(importer):
        config = probe.first(joined(directory, "tsconfig.json"), joined(directory, "jsconfig.json"))
        if config is None:
            continue
        base, paths, paths_from = _compiler_paths(config, probe)
        for pattern in _by_length(paths):
            rest = _matched(pattern, module)
            targets = paths[pattern] if isinstance(paths[pattern], list) else []
            for target in targets if rest is not None else ():
                place = inside(paths_from, str(target).replace("*", rest or "", 1))
                if place is not None:
                    yield place
        if base is not None and (place := inside(base, module)) is not None:
            yield place
        return


def _by_length(patterns: dict[str, Any]) -> list[str]:
    """Return the patterns, the longest prefix first, as both TypeScript and Node try them."""
    return sorted(islice(patterns, _MAX_PATTERNS), key=lambda one: (-len(one.partition("*")[0]), one))


def _matched(pattern: str, module: str) -> str | None:
    """Return what a pattern's ``*`` stands for, empty where it has none, ``None`` where it does not match."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if module == pattern else None
    if len(module) < len(before) + len(after) or not (module.startswith(before) and module.endswith(after)):
        return None
    return module[len(before) : len(module) - len(after)]


def _compiler_paths(config: str, probe: Probe) -> tuple[str | None, dict[str, Any], str]:
    """Return ``baseUrl`` as a directory, ``paths``, and the directory that these are relative to."""
    base: str | None = None
    waiting = [config]
    for _ in range(_MAX_CONFIGS):
        if not waiting:
            break
        config = waiting.pop()
        content = probe.configuration(config)
        options = content.get("compilerOptions")
        options = options if isinstance(options, dict) else {}
        if base is None and isinstance(options.get("baseUrl"), str):
            base = inside(dirname(config), options["baseUrl"])
        if isinstance(options.get("paths"), dict):
            own = base if base is not None else dirname(config)
            return base, options["paths"], own
        waiting.extend(_further_configs(config, content, probe))
    return base, {}, ""


def _further_configs(config: str, content: dict[str, Any], probe: Probe) -> Iterator[str]:
    """Yield the projects that a ``tsconfig.json`` refers to, then what it extends, the last of which counts most."""
    references, parents = content.get("references"), content.get("extends", [])
    for one in references if isinstance(references, list) else ():
        if isinstance(one, dict) and (found := _config(config, one.get("path"), probe)):
            yield found
    for parent in parents if isinstance(parents, list) else [parents]:
        of_package = isinstance(parent, str) and not parent.startswith(".")
        if found := _package(config, parent, probe) if of_package else _config(config, parent, probe):
            yield found


def _config(config: str, path: Any, probe: Probe) -> str | None:
    """Return the configuration that another names by its path, by that without a suffix, or by its directory."""
    place = inside(dirname(config), path) if isinstance(path, str) else None
    return probe.first(place, f"{place}.json", joined(place, "tsconfig.json")) if place is not None else None


def _own_import(importer: str, module: str, probe: Probe) -> str | None:
    """Return what ``#name`` means in the nearest ``package.json``."""
    for directory in up(importer):
        package = joined(directory, "package.json")
        if probe.file(package):
            return _exported(directory, probe.configuration(package).get("imports"), module, probe)
    return None


def _package(importer: str, module: str, probe: Probe) -> str | None:
    """Return what a package of the workspace offers under a name, or under a path beneath it."""
    parts = module.split("/")
    size = 2 if module.startswith("@") else 1
    name, rest = "/".join(parts[:size]), "/".join(parts[size:])
    home = nearest(importer, probe.projects("package.json").get(name, ()))
    if home is None:
        return None
    if not rest:
        return _entry(home, probe) or _index(home, probe) or _index(joined(home, "src"), probe)
    exports = probe.configuration(joined(home, "package.json")).get("exports")
    named = _exported(home, exports, f"./{rest}", probe) if isinstance(exports, dict) else None
    return named or _file(joined(home, rest), probe) or _file(joined(home, "src", rest), probe)


def _entry(directory: str, probe: Probe) -> str | None:
    """Return the file that a directory's ``package.json`` names as its entry."""
    package = joined(directory, "package.json")
    if not probe.file(package):
        return None
    content = probe.configuration(package)
    if content.get("exports") is not None and (target := _exported(directory, content["exports"], ".", probe)):
        return target
    named = (content.get(field) for field in _ENTRIES)
    return next((target for one in named if (target := _source_of(directory, one, probe))), None)


def _exported(directory: str, table: Any, name: str, probe: Probe) -> str | None:
    """Return what ``exports`` or ``imports`` of a ``package.json`` gives under a name; conditions are tried in turn."""
    if not isinstance(table, dict) or not any(key.startswith((".", "#")) for key in table):
        return _conditional(directory, table, "", probe) if name == "." else None
    for pattern in _by_length(table):
        rest = _matched(pattern, name)
        if rest is not None and (target := _conditional(directory, table[pattern], rest, probe)):
            return target
    return None


def _conditional(directory: str, value: Any, rest: str, probe: Probe) -> str | None:
    waiting = [value]
    for _ in range(64):
        if not waiting:
            return None
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one[condition] for condition in reversed(one) if condition in _CONDITIONS)
        elif isinstance(one, list):
            waiting.extend(reversed(one))
        elif isinstance(one, str) and (target := _source_of(directory, one.replace("*", rest), probe)):
            return target
    return None


def _source_of(directory: str, path: Any, probe: Probe) -> str | None:
    """Return the file that a package's path means, or the source that it is built from where it is not built."""
    place = inside(directory, path) if isinstance(path, str) and path else None
    if place is None or place == directory:
        return None
    if probe.file(place):
        return place
    if not place.endswith(SUFFIXES):
        return probe.first(*(place + suffix for suffix in SUFFIXES)) or _index(place, probe)
    seen = place[len(directory) :].lstrip("/")
    first, _, rest = seen.partition("/")
    rest = rest if first in _BUILT else seen
    stem = rest[: -len(next(suffix for suffix in (".d.ts", *SUFFIXES) if rest.endswith(suffix)))] if rest else ""
    sources = (joined(directory, "src", stem + suffix) for suffix in SUFFIXES)
    beside = (joined(directory, stem + suffix) for suffix in SUFFIXES)
    return probe.first(*sources, *beside) if stem else None
