"""What blocks in a file's asynchronous functions: themselves, or in a function of the workspace that they call."""

from __future__ import annotations

from collections.abc import Iterator

from preloader.workspace.graph.facts import BlockingCall, FileFacts, HelperCall
from preloader.workspace.graph.index import GraphIndex


def blocking_of(index: GraphIndex, path: str) -> list[BlockingCall]:
    """Return the calls that block within a file's asynchronous functions, in the order of the lines.

    Called functions are followed one step: into this file, the class's own methods, and the files that it imports.
    """
    facts = index.facts(path)
    if facts is None:
        return []
    return sorted([*facts.blocking, *_through_helpers(index, path, facts)], key=lambda call: call.line)


def _through_helpers(index: GraphIndex, path: str, facts: FileFacts) -> Iterator[BlockingCall]:
    blocking: dict[str, dict[str, BlockingCall]] = {}  # file → function → the first call in it that blocks
    imports = index.imports(path) if facts.calls else {}
    for call in facts.calls:
        name = call.name.rpartition(".")[2]
        for target in _homes(call, name, path, imports):
            if target not in blocking:
                there = facts if target == path else index.facts(target)
                blocking[target] = {one.function: one for one in reversed(there.helpers)} if there is not None else {}
            if reason := blocking[target].get(name):
                yield BlockingCall(call.line, f"{call.name.lstrip('.')}: {reason.call}", call.function, reason.certain)
                break


def _homes(call: HelperCall, name: str, path: str, imports: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the files that may define what is called."""
    if call.name.startswith("self.") or call.name == f".{name}":
        return [path]
    holder = call.name.rpartition(".")[0].rpartition(".")[2]
    return [
        target
        for target, names in imports.items()
        if name in names or (not names and holder in (_stem(target), _package(target)))
    ]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _package(path: str) -> str:
    """Return the name of the package whose ``__init__`` a file is, empty for others."""
    return path.rpartition("/")[0].rpartition("/")[2] if _stem(path) == "__init__" else ""
