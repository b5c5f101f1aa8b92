"""The paths of a workspace, found by whole, by their last parts, by their stems and by directory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator

from preloader.workspace.globs import Glob, braces

_SEPARATORS = re.compile(r"[_\-\s]")


def stem_of(name: str) -> str:
    """Return what is left of a file's or a symbol's name without case, underscores, dashes and extensions."""
    return _SEPARATORS.sub("", name.lstrip(".").partition(".")[0]).lower()


class PathTable:
    """A set of files, by paths relative to one root, with forward slashes.

    Finding takes time in the number of what is found, adding and discarding in the depth of the path.

    Args:
        paths: What it holds to begin with.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._by_tail: dict[str, dict[str, None]] = {}  # name, and directory/name: sets that remember their order
        self._by_stem: dict[str, dict[str, None]] = {}
        self._files: dict[str, dict[str, None]] = {"": {}}  # of each directory
        self._directories: dict[str, dict[str, None]] = {"": {}}
        self._paths: dict[str, None] = {}
        for path in paths:
            self.add(path)

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: str) -> bool:
        """Add a file; return whether it is new."""
        if path in self._paths:
            return False
        self._paths[path] = None
        directory, _, name = path.rpartition("/")
        self._make_directory(directory)
        self._files[directory][path] = None
        for index, key in self._keys(directory, name):
            index.setdefault(key, {})[path] = None
        return True

    def discard(self, path: str) -> bool:
        """Remove a file; return whether there was one. Directories that are empty then go too."""
        if path not in self._paths:
            return False
        del self._paths[path]
        directory, _, name = path.rpartition("/")
        del self._files[directory][path]
        for index, key in self._keys(directory, name):
            del index[key][path]
            if not index[key]:
                del index[key]
        self._drop_empty(directory)
        return True

    def discard_below(self, directory: str) -> list[str]:
        """Remove all files beneath a directory, and return them."""
        paths = list(self.below(directory))
        for path in paths:
            self.discard(path)
        return paths

    def is_directory(self, path: str) -> bool:
        """Return whether files lie in it or beneath it."""
        return path in self._files

    def files_in(self, directory: str) -> Collection[str]:
        """Return the files right in a directory, nothing if there is none such."""
        return self._files.get(directory, {}).keys()

    def below(self, directory: str) -> Iterator[str]:
        """Yield the files in a directory, then those of the directories in it."""
        waiting = [directory] if directory in self._files else []
        while waiting:
            current = waiting.pop()
            yield from tuple(self._files[current])
            waiting.extend(reversed(self._directories[current]))

    def ending_in(self, tail: str) -> Collection[str]:
        """Return the paths whose last parts are ``tail``: a name, or a directory and a name."""
        return self._by_tail.get(tail, {}).keys()

    def with_stem(self, stem: str) -> Collection[str]:
        """Return the paths of files whose names have this stem; see `stem_of`."""
        return self._by_stem.get(stem, {}).keys()

    def glob(self, pattern: str, limit: int, most_looked_at: int = 512) -> list[str]:
        """Return up to ``limit`` paths that match a pattern with ``*``, ``?``, ``**``, ``[…]`` and ``{a,b}``.

        One without a slash matches names in any directory. After ``most_looked_at`` paths it gives up, because patterns
        come from outside and the event loop waits.
        """
        try:
            patterns = [Glob(one if "/" in one else f"**/{one}") for one in braces(pattern)]
        except ValueError:
            return []  # longer, or of more alternatives, than anyone means
        looked_at = itertools.count()
        found: dict[str, None] = {}
        for one in patterns:
            for path in self.below(_without_wildcards(one.pattern)):
                if next(looked_at) >= most_looked_at or len(found) >= limit:
                    return list(found)
                if one.matches(path):
                    found[path] = None
        return list(found)

    def _keys(self, directory: str, name: str) -> list[tuple[dict[str, dict[str, None]], str]]:
        tails = [(self._by_tail, name), (self._by_stem, stem_of(name))]
        return [*tails, (self._by_tail, f"{directory.rpartition('/')[2]}/{name}")] if directory else tails

    def _make_directory(self, directory: str) -> None:
        while directory not in self._files:
            self._files[directory] = {}
            self._directories.setdefault(directory, {})
            inner, directory = directory, directory.rpartition("/")[0]
            self._directories.setdefault(directory, {})[inner] = None

    def _drop_empty(self, directory: str) -> None:
        while directory and not self._files[directory] and not self._directories[directory]:
            del self._files[directory], self._directories[directory]
            inner, directory = directory, directory.rpartition("/")[0]
            del self._directories[directory][inner]


def _without_wildcards(pattern: str) -> str:
    """Return the directory in which whatever matches lies."""
    return "/".join(itertools.takewhile(lambda part: not set(part) & set("*?["), pattern.split("/")[:-1]))
