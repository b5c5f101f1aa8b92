"""Which files a workspace has: those tracked by git, and those neither tracked nor ignored. Blocking: run off the loop.

Where there is no git, directories are walked and ``.gitignore`` files are obeyed all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from preloader.errors import ConfigurationError, LoadError
from preloader.telemetry import logger
from preloader.workspace.git import OPTIONS
from preloader.workspace.ignore import IgnoreRules
from preloader.workspace.program import Program

TIMEOUT_S = 60.0
_MAX_BYTES = 500_000_000
_OTHER, _REMOVED = "?", "R"  # tags of ``git ls-files -t``
_NONE_IGNORED = 1  # what ``git check-ignore`` exits with

SKIPPED = frozenset((".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules"))
"""Directories that a walk never enters, ignored or not."""


class Listing(Protocol):
    """Says which files belong to a workspace. Paths are relative to its root, with forward slashes."""

    def files(self, below: str = "") -> list[str]:
        """Return the files beneath a directory.

        Raises:
            LoadError: They cannot be listed.
        """

    def kept(self, paths: Iterable[str]) -> list[str]:
        """Return those of ``paths`` that are not ignored."""

    def refresh(self) -> None:
        """Read again what is ignored."""


def listing_of(root: Path) -> Listing:
    """Return how to list the files of ``root``: by git where it is part of a repository that does not ignore it.

    Raises:
        ConfigurationError: It is no directory.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{str(root)!r} is no directory: a workspace is indexed from its root", field="root")
    inside, said = _git(root, "rev-parse", "--is-inside-work-tree")
    is_ignored = inside == 0 and _git(root, "check-ignore", "--no-index", "-q", ".")[0] == 0
    return GitListing(root) if said == b"true\n" and not is_ignored else WalkListing(root)


def _git(root: Path, *words: str, given: bytes = b"") -> tuple[int, bytes]:
    """Return git's exit code and what it prints; -1 where it is missing, prints too much or takes too long.

    Nothing runs that a repository configures, and no lock is taken that the user's own git could wait for. Unlike for
    facts, the user's own configuration counts: it may say what else is ignored, and which repositories are theirs.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = inherited | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    program = Program((*OPTIONS, *words), root, environment, stdin=given, timeout_s=TIMEOUT_S, max_bytes=_MAX_BYTES)
    try:
        done = program.run()
    except LoadError as error:
        logger.debug("git %s failed in %s: %s", words[0], root, error)
        return -1, b""
    if done.code > 1 or done.truncated:
        logger.debug("git %s in %s: %s", words[0], root, done.complaint)
    return -1 if done.truncated else done.code, done.stdout


def _texts(output: bytes) -> Iterator[str]:
    """Yield the names in what git printed, without those that no text could name: with control signs, or no UTF-8."""
    for name in output.split(b"\0"):
        text = name.decode(errors="surrogateescape")
        if text.isprintable() and text and not text.endswith("/"):
            yield text


class GitListing:
    """Lists by ``git ls-files``; see `Listing`.

    Args:
        root: A directory in a repository's working tree.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tracked: set[str] = set()
        self._rules: IgnoreRules | None = None

    def files(self, below: str = "") -> list[str]:
        """Return what is tracked or not ignored, and is there.

        Raises:
            LoadError: Git fails, or takes longer than a minute.
        """
        where = ("--", f":(literal){below}") if below else ()
        if not below:
            self._rules = IgnoreRules(self._root) if _rules_are_all(self._root) else None
        code, listed = _git(self._root, "ls-files", "-t", "-c", "-o", "-d", "--exclude-standard", "-z", *where)
        if code:
            raise LoadError(f"git cannot list the files of {self._root}: see what `git status` says there")
        found: dict[str, None] = {}
        removed: set[str] = set()
        for entry in _texts(listed):
            tag, path = entry[0], entry[2:]
            if tag == _REMOVED:
                removed.add(path)
            else:
                found[path] = None
            if tag != _OTHER:
                self._tracked.add(path)
        return [path for path in found if path not in removed]

    def kept(self, paths: Iterable[str]) -> list[str]:
        """Return those of ``paths`` that are tracked, or not ignored.

        Git's own index is not asked, which would be read anew each time: what was tracked at the last listing counts.
        """
        paths = [path for path in paths if path.isprintable()]
        ignored = self._ignored([path for path in paths if path not in self._tracked])
        return [path for path in paths if path not in ignored] if ignored is not None else []

    def refresh(self) -> None:
        """Forget what is tracked, and who says what is ignored."""
        self._tracked.clear()
        self._rules = None

    def _ignored(self, paths: list[str]) -> set[str] | None:
        """Return which of the paths are ignored; ``None`` where git cannot say it. A git takes several milliseconds."""
        if (rules := self._rules) is not None:
            return {path for path in paths if rules.ignores(PurePosixPath(path), is_directory=False)}
        given = b"".join(path.encode() + b"\0" for path in paths)
        code, said = _git(self._root, "check-ignore", "--no-index", "-z", "--stdin", given=given)
        return set(_texts(said)) if code in (0, _NONE_IGNORED) else None


def _rules_are_all(root: Path) -> bool:
    """Return whether what is ignored hangs on the workspace's own files alone, which `IgnoreRules` reads as git does.

    Otherwise its repository begins further up, or is another's worktree, or its user ignores more everywhere.
    """
    if not (root / ".git").is_dir():
        return False
    code, named = _git(root, "config", "--type=path", "--get", "core.excludesFile")
    if code != _NONE_IGNORED:
        return code == 0 and not (root / os.fsdecode(named.rstrip(b"\n"))).exists()
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return not Path(f"{home}/git/ignore").expanduser().exists()


class WalkListing:
    """Walks the directories and obeys each one's ``.gitignore``; see `Listing`. Links to directories are not followed.

    Args:
        root: The directory to walk.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rules = IgnoreRules(root)

    def files(self, below: str = "") -> list[str]:
        """Return the files beneath a directory that are not ignored, nor lie in one that is."""
        if below and self._is_ignored(below, is_directory=True):
            return []
        found: list[str] = []
        waiting = [below]
        while waiting:
            directory = waiting.pop()
            rules = self._rules.within(PurePosixPath(directory))
            for name, is_directory in self._entries(directory):
                if not rules.ignores(name, is_directory=is_directory):
                    (waiting if is_directory else found).append(f"{directory}/{name}" if directory else name)
        return found

    def kept(self, paths: Iterable[str]) -> list[str]:
        """Return those of ``paths`` that are not ignored."""
        return [path for path in paths if path.isprintable() and not self._is_ignored(path, is_directory=False)]

    def refresh(self) -> None:
        """Do nothing: what is ignored is read again where it changed."""

    def _entries(self, directory: str) -> list[tuple[str, bool]]:
        try:
            with os.scandir(self._root / directory) as entries:
                found = [entry for entry in entries if entry.name.isprintable() and _is_file_or_directory(entry)]
                named = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
        except OSError as error:
            logger.debug("%s is not indexed: %s", self._root / directory, error)
            return []
        return [(name, is_directory) for name, is_directory in named if not is_directory or name not in SKIPPED]

    def _is_ignored(self, path: str, *, is_directory: bool) -> bool:
        parts = PurePosixPath(path)
        directories = parts.parts if is_directory else parts.parts[:-1]
        return not SKIPPED.isdisjoint(directories) or self._rules.ignores(parts, is_directory=is_directory)


def _is_file_or_directory(entry: os.DirEntry[str]) -> bool:
    mode = entry.stat(follow_symlinks=False).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
