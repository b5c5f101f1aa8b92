"""Which files of a workspace a mention means."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from preloader.workspace.file_names import IMPORTABLE, PACKAGES
from preloader.workspace.mentions import Mention
from preloader.workspace.path_table import PathTable, stem_of
from preloader.workspace.recency import Recency
from preloader.workspace.spaced import MOST_WORDS

Match = Literal["exact", "relative", "inner", "suffix", "name", "directory", "glob", "module", "symbol", "none"]
"""How a mention met the files: by its whole path; from a file used lately; with what stands before the workspace's root
left away; by its last parts; by the name alone; as a directory, pattern, module or symbol; or not at all."""

MOST_PARTS = 40
_MOST_COMPARED = 32
_NO_PARTS = frozenset(("", ".", "..", "...", "~", "@"))
_ROOTS = ("crate", "self", "super")


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """The files that a mention may mean.

    Attributes:
        paths: Relative to the root, the likeliest first.
        match: How they were found.
        total: How many there are, those left out included.
    """

    paths: tuple[str, ...] = ()
    match: Match = "none"
    total: int = 0


class Resolver:
    """Finds the files that mentions mean, ranked by what of the path agrees, by recency, and by neighbourhood.

    It looks at nothing but the table: no name from outside reaches the file system.

    Args:
        table: The files there are.
        root: The workspace's directory as an absolute path, which mentions may begin with.
        limit: The most paths that one mention resolves to.

    Attributes:
        table: The files there are.
        recency: What was used lately; `Recency.touch` what is.
    """

    def __init__(self, table: PathTable, root: str = "", limit: int = 8) -> None:
        self.table = table
        self._root = root.replace("\\", "/").rstrip("/")
        self._limit = limit
        self.recency = Recency()

    def resolve(self, mention: Mention) -> Resolution:
        """Return the files that ``mention`` may mean."""
        if mention.kind == "glob":
            found = self.table.glob(self._relative(mention.text), self._limit)
            return self._ranked(found, "glob")
        if mention.kind == "module":
            return self._module(mention.text)
        if mention.kind == "symbol":
            return self._symbol(mention.text)
        return self.path(mention.text)

    def path(self, text: str) -> Resolution:
        """Return the files that a path may mean, however much of it stands in ``text``."""
        text = self._relative(text)
        if text in self.table:
            paths = (text, *self._nearby(text))[: self._limit]
            return Resolution(paths, "exact", len(paths))
        if text.endswith("/"):
            return self._directory(text)
        for attempt in (self._from_latest, self._inner, self._suffix, self._without_extension, self._directory):
            found = attempt(text)
            if found.paths:
                return found
        if 0 < text.count(" ") <= MOST_WORDS and (without_first := self.path(text.partition(" ")[2])).paths:
            return without_first  # a verb in front of it, taken for a part of the name
        return self._ranked(self.table.ending_in(text.rpartition("/")[2]), "name")

    def _relative(self, text: str) -> str:
        if self._root and text.startswith(self._root + "/"):
            text = text[len(self._root) + 1 :]
        if "/./" in text or "/../" in text:
            text = posixpath.normpath(text)
        return text

    def _nearby(self, text: str) -> list[str]:
        """Return what else ``text`` may be for one who works further down, around the files used last."""
        found: dict[str, None] = {}
        for other in self.recency.latest():
            directory = other.rpartition("/")[0]
            while directory:
                if f"{directory}/{text}" in self.table:
                    found[f"{directory}/{text}"] = None
                directory = directory.rpartition("/")[0]
        return list(found)

    def _from_latest(self, text: str) -> Resolution:
        """Try ``../lib/b`` from the directories of the files used last."""
        if not text.startswith("../"):
            return Resolution()
        for other in self.recency.latest(4):
            whole = posixpath.normpath(posixpath.join(posixpath.dirname(other), text))
            found = [path for path in _importable(whole) if path in self.table]
            if found:
                return Resolution((found[0],), "relative", 1)
        return Resolution()

    def _inner(self, text: str) -> Resolution:
        """Leave away what stands before the root: another machine's directories, ``a/`` of a diff, a module's host."""
        parts = _parts(text)
        for begin in range(len(parts) - 1):
            inner = "/".join(parts[begin:])
            if inner in self.table:
                return Resolution((inner,), "inner", 1)
        return Resolution()

    def _suffix(self, text: str) -> Resolution:
        """Find the paths that end in the last two parts of ``text`` at least; those that share more go first."""
        parts = _parts(text)
        if len(parts) < 2:
            return Resolution()
        return self._ranked(self.table.ending_in("/".join(parts[-2:])), "suffix", parts)

    def _without_extension(self, text: str, match: Match = "suffix") -> Resolution:
        parts = _parts(text)
        if not parts or ("." in parts[-1] and match != "module"):
            return Resolution()
        whole = "/".join(parts)
        for path in _importable(whole):
            if path in self.table:
                return Resolution((path,), match, 1)
        tails = ("/".join(tail.split("/")[-2:]) for tail in _importable("/".join(parts[-2:])))
        found = itertools.chain.from_iterable(map(self.table.ending_in, tails))
        meant = (path for path in itertools.islice(found, _MOST_COMPARED) if _is_importable_as(path, parts))
        return self._ranked(list(meant), match)

    def _directory(self, text: str) -> Resolution:
        parts = _parts(text)
        for begin in range(max(min(len(parts), 1), len(parts) - 1)):
            directory = "/".join(parts[begin:])
            if self.table.is_directory(directory):
                return self._ranked(self.table.files_in(directory), "directory")
        return Resolution()

    def _module(self, text: str) -> Resolution:
        parts = [part for part in text.replace("::", ".").split(".") if part not in _ROOTS][:MOST_PARTS]
        for end in range(len(parts), min(len(parts), 2) - 1, -1):
            if parts[:end]:
                found = self._without_extension("/".join(parts[:end]), "module")
                if found.paths:
                    return found
        return self._symbol(text)

    def _symbol(self, text: str) -> Resolution:
        """Find files named after the symbol: the code graph knows where it is defined, names only suggest it."""
        parts = text.replace("::", ".").replace("#", ".").replace("->", ".").split(".")
        for part in (parts[0], parts[-1]):
            found = self.table.with_stem(stem_of(part))
            if found:
                return self._ranked(found, "symbol")
        return Resolution()

    def _ranked(self, found: Collection[str], match: Match, parts: list[str] | None = None) -> Resolution:
        """Return the best of ``found``; of very many, the first, those used lately and those near them are."""
        candidates = list(itertools.islice(found, _MOST_COMPARED))
        if len(found) > len(candidates):
            name = candidates[0].rpartition("/")[2]
            known = set(candidates)
            likely = (*self.recency.latest(_MOST_COMPARED), *self._nearby(name))
            candidates += [path for path in dict.fromkeys(likely) if path in found and path not in known]
        candidates.sort(key=lambda path: self._key(path, parts))
        return Resolution(tuple(candidates[: self._limit]), match if candidates else "none", len(found))

    def _key(self, path: str, parts: list[str] | None) -> tuple[int, int, float, int, str]:
        agreeing = _agreeing(path, parts) if parts else 0
        recency = self.recency
        return -agreeing, -recency.tick(path), -recency.nearness(path), path.count("/"), path


def _parts(text: str) -> list[str]:
    return [part for part in text.split("/") if part not in _NO_PARTS][-MOST_PARTS:]


def _agreeing(path: str, parts: list[str]) -> int:
    """Return how many of the last parts of both are the same."""
    pairs = zip(reversed(path.split("/")), reversed(parts), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _importable(path: str) -> Iterator[str]:
    """Yield the paths that may be left of their extension, or of the file that stands for the directory."""
    yield from (path + extension for extension in IMPORTABLE)
    yield from (f"{path}/{name}" for name in PACKAGES)


def _is_importable_as(path: str, parts: list[str]) -> bool:
    """Return whether ``path`` ends in ``parts``, its extension or its package's file left away."""
    directory, _, name = path.rpartition("/")
    mine = directory.split("/") if name in PACKAGES else [*directory.split("/"), name.partition(".")[0]]
    return mine[-len(parts) :] == parts
