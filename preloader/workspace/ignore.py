"""Which paths a workspace's ``.gitignore`` files leave out, without asking git.

As git has it: the deepest file's last matching pattern decides, and nothing beneath an ignored directory comes back.
Two things differ, both towards refusing: a file that is tracked though a pattern covers it counts as ignored, and the
user's own ignore file outside the workspace is not read.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from pathlib import Path, PurePosixPath

from preloader.components.contents import Stamp
from preloader.workspace.globs import Glob

_MAX_BYTES = 256_000
_MAX_FILES = 4_096  # directories whose patterns are remembered
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Rule:
    """One line of a ``.gitignore``.

    Args:
        line: The line, which is a pattern.

    Raises:
        ValueError: Its pattern is too long.
    """

    __slots__ = ("_glob", "_in_place", "directories_only", "negates")

    def __init__(self, line: str) -> None:
        self.negates = line.startswith("!")
        pattern = line.removeprefix("!")
        self.directories_only = pattern.endswith("/")
        pattern = pattern.removesuffix("/")
        self._in_place = "/" in pattern  # else it is meant for any depth, and names alone are compared
        self._glob = Glob(pattern.removeprefix("/"))

    def covers(self, path: str, name: str, *, is_directory: bool) -> bool:
        """Return whether it is about ``path``, given relative to the file's directory, whose last part is ``name``."""
        return (is_directory or not self.directories_only) and self._glob.matches(path if self._in_place else name)


class DirectoryRules:
    """The rules about the entries of one directory.

    Args:
        parts: The directory.
        files: The rules of the repository, of the root, and so on down to the directory.
    """

    __slots__ = ("_files",)

    def __init__(self, parts: tuple[str, ...], files: list[list[Rule]]) -> None:
        self._files = [  # the deepest first, with what stands before a name in its directory's view
            ("".join(f"{part}/" for part in parts[max(0, number - 1) :]), files[number])
            for number in range(len(files) - 1, -1, -1)
            if files[number]
        ]

    def ignores(self, name: str, *, is_directory: bool) -> bool:
        """Return what the last rule that is about an entry says."""
        for before, rules in self._files:
            path = before + name
            for rule in rules:
                if rule.covers(path, name, is_directory=is_directory):
                    return not rule.negates
        return False


class IgnoreRules:
    """The rules of one workspace. Its methods block.

    Args:
        root: The workspace, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: OrderedDict[str, tuple[Stamp | None, bool, list[Rule]]] = OrderedDict()

    def ignores(self, path: PurePosixPath, *, is_directory: bool) -> bool:
        """Return whether a path, or a directory that it lies in, is ignored."""
        parts = path.parts
        files = self._files_above(parts)
        return any(
            DirectoryRules(parts[: depth - 1], files[: depth + 1]).ignores(
                parts[depth - 1], is_directory=is_directory or depth < len(parts)
            )
            for depth in range(1, len(parts) + 1)
        )

    def within(self, directory: PurePosixPath) -> DirectoryRules:
        """Return what is ignored in a directory that is not ignored itself."""
        return DirectoryRules(directory.parts, self._files_above((*directory.parts, "")))

    def _files_above(self, parts: tuple[str, ...]) -> list[list[Rule]]:
        """Return the rules that are asked about a path: the repository's own, the root's, and so on down."""
        names = [".git/info/exclude", *("/".join((*parts[:depth], ".gitignore")) for depth in range(len(parts)))]
        return [self._rules(name) for name in names]

    def _rules(self, file: str) -> list[Rule]:
        """Return a file's rules, the last one first."""
        path = os.path.join(self._root, file)  # noqa: PTH118  # several of these for every path of a walk
        try:
            stamp = Stamp.from_status(os.lstat(path))
        except OSError:
            stamp = None
        known = self._files.get(file)
        if known is not None and known[0] == stamp and known[1]:
            return known[2]
        settled = stamp is None or stamp.has_settled(time.time_ns())
        rules = [] if stamp is None else _read(path)
        self._files[file] = stamp, settled, rules
        if len(self._files) > _MAX_FILES:
            self._files.popitem(last=False)
        return rules


def _read(path: str) -> list[Rule]:
    try:
        with os.fdopen(os.open(path, _OPEN), "rb") as file:  # git follows no link here either
            text = file.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    return rules_of(text)


def rules_of(text: str) -> list[Rule]:
    """Return the rules of a ``.gitignore``'s text, the last one first, as they are asked."""
    rules: list[Rule] = []
    for line in text.removeprefix("\ufeff").splitlines():
        pattern = _without_trailing_spaces(line)
        if pattern.strip("/!") and not pattern.startswith("#"):
            try:
                rules.append(Rule(pattern))
            except ValueError:
                continue  # no name is as long as that
    return rules[::-1]


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    escaped = (len(stripped) - len(stripped.rstrip("\\"))) % 2  # a backslash that is itself escaped escapes nothing
    return stripped + " " if escaped and stripped != line else stripped
