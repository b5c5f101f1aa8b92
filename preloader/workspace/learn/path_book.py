"""The paths that a session or its repository's earlier sessions named, and which of them a mention means."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from preloader.workspace.learn.tokens import is_file, words

_MOST_MEANT = 12
_SUFFIX_PARTS = 3
_DIRECTORY_PARTS = 4
_TEST_MARK = re.compile(r"_test|\.test|\.spec|^test_")


class PathFacts(msgspec.Struct, frozen=True):
    """What a path's own name says.

    Attributes:
        directory: Without the last part.
        words: Those of the last part.
        core: The name without extension and without what marks a test, so that a test and its subject share it.
        parts: How many.
        is_file: Whether it looks like a file's.
        is_test: Whether it looks like a test's.
    """

    directory: str
    words: frozenset[str]
    core: str
    parts: int
    is_file: bool
    is_test: bool


class Meant(msgspec.Struct, frozen=True):
    """The paths that a mention may mean, and how sure that is, from 0 to 1."""

    ids: list[int]
    certainty: float = 1.0


NOTHING = Meant([])


class PathBook:
    """Numbers paths in the order they were first named, and finds them by their ends, directories and words.

    Args:
        repository: The repository's name; what stands before a directory of its last part is left away.

    Attributes:
        paths: All of them.
        facts: Of each path, what its name says.
    """

    def __init__(self, repository: str) -> None:
        self._root = f"/{repository.rsplit('/', 1)[-1]}/"
        self._begin()

    def _begin(self) -> None:
        self._ids: dict[str, int] = {}
        self.paths: list[str] = []
        self.facts: list[PathFacts] = []
        self._by_end: dict[str, list[int]] = defaultdict(list)
        self._in_directory: dict[str, list[int]] = {}
        self._directories_by_end: dict[str, list[str]] = defaultdict(list)
        self._by_word: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self.paths)

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget all paths but these, which are numbered anew in this order."""
        kept = [self.paths[number] for number in numbers]
        self._begin()
        for path in kept:
            self.add(path)

    def find(self, path: str) -> int | None:
        """Return the number of a path, if it has one."""
        return self._ids.get(path)

    def add(self, path: str) -> int:
        """Return the number of a path, which it now has."""
        known = self._ids.get(path)
        if known is not None:
            return known
        number = self._ids[path] = len(self.paths)
        self.paths.append(path)
        directory, _, name = path.rpartition("/")
        stem = name.split(".", 1)[0].lower()
        own = frozenset(words(name))
        is_test = "test" in path.lower() or "spec" in name
        self.facts.append(
            PathFacts(directory, own, _TEST_MARK.sub("", stem), path.count("/") + 1, is_file(path), is_test)
        )
        self._index_ends(path, number)
        self._index_directory(directory, number)
        for word in own:
            self._by_word[word].append((number, 1.0))
        for word in words(directory) - own:
            self._by_word[word].append((number, 0.3))
        self._by_stem[stem].append(number)
        return number

    def _index_ends(self, path: str, number: int) -> None:
        parts = path.split("/")
        for count in range(1, min(_SUFFIX_PARTS, len(parts)) + 1):
            end = "/".join(parts[-count:])
            self._by_end[end].append(number)
            bare, extension = posixpath.splitext(end)
            if count > 1 and extension:
                self._by_end[bare].append(number)

    def _index_directory(self, directory: str, number: int) -> None:
        members = self._in_directory.get(directory)
        if members is None:
            members = self._in_directory[directory] = []
            parts = directory.split("/")
            for count in range(1, min(_DIRECTORY_PARTS, len(parts)) + 1):
                self._directories_by_end["/".join(parts[-count:])].append(directory)
        members.append(number)

    def plain(self, path: str) -> str:
        """Return a path as it is kept: relative to the repository where that can be told."""
        path = path.strip().rstrip(".")
        if path.startswith(("~", "/")):
            found = path.find(self._root)
            if found >= 0:
                path = path[found + len(self._root) :]
        while path.startswith("./"):
            path = path[2:]
        if path[:2] in ("a/", "b/") and path.count("/") > 1:  # the sides of a diff
            path = path[2:]
        return path

    def meant(self, text: str, base: str = "") -> Meant:
        """Return which paths a mention means; a file that none of them is gets a number.

        Args:
            text: As it was written.
            base: The directory that it may be relative to.
        """
        if base and not text.startswith(("/", "~")):
            joined = posixpath.normpath(posixpath.join(base, text))
            if joined in self._ids:
                return Meant([self._ids[joined]])
            if is_file(joined) and not self._ending(text):
                return Meant([self.add(joined)])
        path = self.plain(text)
        if path in self._ids:
            return Meant([self._ids[path]])
        ending = self._ending(path)
        if ending:
            return Meant(ending[:_MOST_MEANT], 0.0)
        if path and is_file(path):
            return Meant([self.add(path)], 1.0 if "/" in path else 0.5)
        return NOTHING

    def _ending(self, path: str) -> list[int]:
        parts = path.split("/")
        found = self._by_end.get("/".join(parts[-_SUFFIX_PARTS:]), [])
        if len(parts) > _SUFFIX_PARTS:
            found = [n for n in found if posixpath.splitext(self.paths[n])[0].endswith(posixpath.splitext(path)[0])]
        if not found and len(parts) > 2 and (parts[0] in ("..", ".") or parts[0].startswith("@")):
            found = self._by_end.get("/".join(parts[-2:]), [])
        return found

    def within(self, text: str, limit: int = 60) -> list[int]:
        """Return the paths that lie in the directory that a mention means."""
        directory = self.plain(text).rstrip("/")
        parts = directory.split("/")
        meant = [directory] if directory in self._in_directory else []
        for count in (_DIRECTORY_PARTS, 3, 2):
            meant = meant or self._directories_by_end.get("/".join(parts[-count:]), [])
        return [number for one in meant[:2] for number in self._in_directory[one][:limit]]

    def sharing(self, word: str) -> list[tuple[int, float]]:
        """Return the paths with a word in their name (1) or directory (less), unless nearly all have it."""
        found = self._by_word.get(word, [])
        return found if len(found) < 0.3 * len(self.paths) else []

    def named(self, stem: str) -> list[int]:
        """Return the paths whose name without extension is ``stem``, in lower case."""
        return self._by_stem.get(stem, [])
