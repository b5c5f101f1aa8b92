"""Which files a workspace has, and what a resolver asked of them.

A resolver finds an import's files by asking whether this or that is there. Each question is noted by a short name: a
file's stem, a directory's last part. Where a file comes or goes, the names of the questions whose answer that changes
are known, so the imports that asked one of them, and no others, are resolved anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from posixpath import normpath
from typing import Any

from preloader.workspace.graph.configurations import Configurations, asked_configuration

_COMMON = frozenset({"__init__", "index", "lib", "main", "mod"})  # stems that say nothing without their directory
_NOTHING: frozenset[str] = frozenset()


class Layout:
    """The paths of a workspace's files, relative to its root, and the directories that these are in."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._files: dict[str, set[str]] = {}  # directory → names in it
        self._weight: Counter[str] = Counter()  # directory → files beneath it
        self._stems: dict[str, set[str]] = {}  # → paths
        self._directories: dict[str, set[str]] = {}  # last part → directories

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def is_directory(self, path: str) -> bool:
        """Return whether there is a file beneath ``path``."""
        return path in self._weight

    def names(self, directory: str) -> set[str] | frozenset[str]:
        """Return the names of the files in a directory."""
        return self._files.get(directory, _NOTHING)

    def with_stem(self, stem: str) -> set[str] | frozenset[str]:
        """Return the files of that stem: the name up to its first dot."""
        return self._stems.get(stem, _NOTHING)

    def directories(self, name: str) -> set[str] | frozenset[str]:
        """Return the directories of that last part."""
        return self._directories.get(name, _NOTHING)

    def add(self, path: str) -> set[str]:
        """Enter a file; return the names of the questions whose answers that changes."""
        if path in self:
            return set()
        self._paths.add(path)
        changed = {_key(path), _stem(path), basename(dirname(path))}
        self._files.setdefault(dirname(path), set()).add(basename(path))
        self._stems.setdefault(_stem(path), set()).add(path)
        for directory in up(path):
            self._weight[directory] += 1
            if self._weight[directory] == 1:
                self._directories.setdefault(basename(directory), set()).add(directory)
                changed.add(basename(directory))
        return changed

    def discard(self, path: str) -> set[str]:
        """Remove a file; return the names of the questions whose answers that changes."""
        if path not in self:
            return set()
        self._paths.remove(path)
        changed = {_key(path), _stem(path), basename(dirname(path))}
        discard_from(self._files, dirname(path), basename(path))
        discard_from(self._stems, _stem(path), path)
        for directory in up(path):
            self._weight[directory] -= 1
            if not self._weight[directory]:
                del self._weight[directory]
                discard_from(self._directories, basename(directory), directory)
                changed.add(basename(directory))
        return changed


class Probe:
    """Answers one file's resolver and notes what it asked.

    Args:
        layout: The files.
        configurations: The parsed configuration files.
        definitions: What returns where the names of a package are defined, by its directory: name → paths.
    """

    def __init__(
        self,
        layout: Layout,
        configurations: Configurations,
        definitions: Callable[[str], Mapping[str, Collection[str]]],
    ) -> None:
        self.asked: set[str] = set()
        self._definitions = definitions
        self._layout = layout
        self._configurations = configurations

    def configuration(self, path: str) -> Any:
        """Return a parsed configuration file: a dictionary, empty where the file is missing or malformed."""
        self.asked.add(asked_configuration(path))
        return self._configurations.load(path) if path in self._layout else {}

    def definitions(self, package: str) -> Mapping[str, Collection[str]]:
        """Return which files of a directory define each name at their top."""
        self.asked.add(asked_definitions(package))
        return self._definitions(package)

    def projects(self, file_name: str) -> Mapping[str, Sequence[str]]:
        """Return the directories of the projects of each name, by the configuration files that name them."""
        self.asked.add(asked_configuration(file_name))
        return self._configurations.projects(file_name, self._layout.with_stem(file_name.partition(".")[0]))

    def file(self, path: str) -> bool:
        """Return whether there is such a file."""
        self.asked.add(_key(path))
        return path in self._layout

    def directory(self, path: str) -> bool:
        """Return whether there is a file beneath ``path``."""
        self.asked.add(basename(path))
        return self._layout.is_directory(path)

    def names(self, directory: str) -> list[str]:
        """Return the names of the files in a directory, sorted."""
        self.asked.add(basename(directory))
        return sorted(self._layout.names(directory))

    def with_stem(self, stem: str) -> list[str]:
        """Return the files of that stem, sorted."""
        self.asked.add(stem)
        return sorted(self._layout.with_stem(stem))

    def directories(self, name: str) -> list[str]:
        """Return the directories of that last part, sorted."""
        self.asked.add(name)
        return sorted(self._layout.directories(name))

    def first(self, *paths: str) -> str | None:
        """Return the first path that there is a file of."""
        return next((path for path in paths if self.file(path)), None)


def asked_definitions(package: str) -> str:
    """Return the name under which questions to the definitions of a directory's files are noted."""
    return f"definitions of {package}"


def basename(path: str) -> str:
    """Return a path's last part. As `posixpath.basename`, without its checks: this is asked very often."""
    return path.rpartition("/")[2]


def dirname(path: str) -> str:
    """Return the directory that a path is in, empty for the root."""
    return path.rpartition("/")[0]


def joined(directory: str, *names: str) -> str:
    """Return a path beneath a directory, which is the root where it is empty."""
    return "/".join((directory, *names) if directory else names)


def up(path: str) -> Iterator[str]:
    """Yield the directories above a path, from the nearest to the root, which is the empty path."""
    while path:
        path = dirname(path)
        yield path


def inside(directory: str, path: str) -> str | None:
    """Return ``path`` seen from ``directory``, ``None`` where that leads out of the workspace."""
    whole = normpath(f"./{directory}/{path}")
    if whole == ".":
        return ""
    return None if whole.startswith(("../", "/")) or whole == ".." else whole


def nearest(importer: str, paths: Sequence[str]) -> str | None:
    """Return the path that shares the most directories with the importer; of equals the one that lies least deep."""
    above = set(up(importer))

    def nearness(path: str) -> tuple[int, int]:
        return next((len(place) for place in up(path) if place in above), 0), -path.count("/")

    return max(paths, key=nearness, default=None)


def _stem(path: str) -> str:
    name = basename(path)
    return name.partition(".")[0] or name


def _key(path: str) -> str:
    stem = _stem(path)
    return f"{basename(dirname(path))}/{stem}" if stem in _COMMON else stem


def discard_from(table: dict[str, set[str]], key: str, value: str) -> None:
    """Take a value out of a table of sets, and the set itself with its last one."""
    values = table[key]
    values.discard(value)
    if not values:
        del table[key]
