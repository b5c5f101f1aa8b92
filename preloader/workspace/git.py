"""Running git on a repository that is not trusted: nothing that its configuration names is run, nothing is fetched.

A repository's own configuration can name programs for nearly everything: a file-system monitor, hooks, pagers, external
diffs, text conversions, clean filters (which even ``git status`` runs), ways to fetch what a partial clone lacks. Here
the environment is built from nothing, the user's and the system's configuration are left out, every option that runs
something is overridden on the command line, filters by their names, and every transport is forbidden.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from preloader.errors import LoadError, UnknownResourceError
from preloader.workspace.program import DEFAULT_MAX_BYTES, Output
from preloader.workspace.reading import Reading

OPTIONS = (
    *("git", "--no-pager", "--no-optional-locks"),
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"),
    *("-c", "core.attributesFile=/dev/null", "-c", "core.untrackedCache=false", "-c", "core.alternateRefsCommand="),
    *("-c", "protocol.allow=never", "-c", "submodule.recurse=false", "-c", "diff.ignoreSubmodules=all"),
    *("-c", "diff.orderFile=/dev/null", "-c", "log.showSignature=false", "-c", "gpg.program=/dev/null"),
    *("-c", "mailmap.file=/dev/null", "-c", "mailmap.blob="),
    *("-c", "color.ui=never", "-c", "i18n.logOutputEncoding=UTF-8"),
)
"""How every git begins: what a repository configures to be run is overridden; but for filters, which have names."""

_SHARED = ("packed-refs", "reftable/tables.list", "config", "shallow", "info/exclude", "info/attributes")
_FILTER = re.compile(r"filter\.(.+)\.(?:clean|smudge|process|required)", re.IGNORECASE | re.DOTALL)
_WORKTREE = re.compile(r"^\s{0,9}worktree\s{0,9}=(.{1,1000})$", re.MULTILINE)
_NO_VALUE = re.compile(r"[\n=]")
_MOST_FILTERS = 100


class Git:
    """The git of one workspace, for one reading. Blocks.

    Args:
        reading: What runs the commands, and writes down what they read.

    Raises:
        UnknownResourceError: The workspace's root is not that of a repository.
        LoadError: The repository is not one that git may be run on.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        root = reading.confined.root
        check_repository(root)
        self._environment = _environment(root)
        self._overrides: tuple[str, ...] = ()
        self._overrides = self._without_filters()

    def run(self, *arguments: str, max_bytes: int = DEFAULT_MAX_BYTES, codes: tuple[int, ...] = (0,)) -> Output:
        """Run a git command.

        Raises:
            LoadError: It failed, or not with one of ``codes``.
        """
        command = (*OPTIONS, "--literal-pathspecs", "-c", "core.excludesFile=/dev/null", *self._overrides, *arguments)
        output = self.reading.run(command, self._environment, max_bytes=max_bytes)
        if output.code not in codes:
            raise LoadError(f"git {arguments[0]} failed: {output.complaint}")
        return output

    def lines(
        self,
        *arguments: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        errors: Literal["replace", "surrogateescape"] = "replace",
    ) -> list[str]:
        """Return what a command writes with ``-z``, as texts.

        Args:
            arguments: The command.
            max_bytes: The most that it may write.
            errors: What becomes of bytes that are no UTF-8: ``surrogateescape`` gives names that can be looked at.

        Raises:
            LoadError: It failed, or wrote more.
        """
        output = self.run(*arguments, max_bytes=max_bytes)
        if output.truncated:
            raise LoadError(f"git {arguments[0]} wrote more than {max_bytes:,} bytes, of which a part would mislead")
        parts = output.stdout.split(b"\0")
        return [part.decode("utf-8", errors) for part in parts[:-1]]

    def note_head(self) -> None:
        """Write down what says where HEAD and its branch are. Several worktrees of one repository are understood."""
        for path in head_files(self.reading.confined.root):
            self.reading.note(path)

    def _without_filters(self) -> tuple[str, ...]:
        """Return the options that disarm the filters which the repository configures."""
        output = self.run("config", "--list", "--name-only", "-z", max_bytes=1_000_000)
        names = {match[1] for name in output.stdout.decode("utf-8", "replace").split("\0") if (match := _filter(name))}
        if output.truncated or len(names) > _MOST_FILTERS or any(map(_NO_VALUE.search, names)):
            raise LoadError("the repository configures filters that cannot be disarmed: git is not run on it")
        return tuple(
            part
            for name in sorted(names)
            for option in ("clean=", "smudge=", "process=", "required=false")
            for part in ("-c", f"filter.{name}.{option}")
        )


def _filter(name: str) -> re.Match[str] | None:
    return _FILTER.fullmatch(name)


def _environment(root: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return kept | {
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "GIT_WORK_TREE": str(root),
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_PAGER": "cat",
        "GIT_FLUSH": "0",
    }


def check_repository(root: Path) -> None:
    """Check that a workspace is the root of a repository of its own: one whose ``.git`` lies in it, or knows of it.

    Otherwise a ``.git`` that came with a stranger's archive could show another repository's content as differences.

    Raises:
        UnknownResourceError: It is not.
    """
    dot = root / ".git"
    if dot.is_symlink() or not dot.exists():
        raise UnknownResourceError(f"{root} is not the root of a git repository")
    if not dot.is_dir():
        directory = _git_directory(root)
        if not _belongs(directory, root):
            raise UnknownResourceError(f"{dot} leads to {directory}, which is not a repository of this directory")


def _belongs(directory: Path, root: Path) -> bool:
    """Return whether a repository that ``.git`` leads to names this directory in turn.

    That of a further worktree does so in a file, that of a submodule in its configuration.
    """
    back = _text(directory / "gitdir").strip()
    if back:
        return (directory / back).resolve() == root / ".git"
    worktree = _WORKTREE.search(_text(directory / "config"))
    return worktree is not None and (directory / worktree[1].strip().strip('"')).resolve() == root


def head_files(root: Path) -> list[str]:
    """Return the repository's own files that every command depends on, relative to the root."""
    directory = _git_directory(root)
    common = _pointed_at(directory / "commondir", directory) or directory
    files = [directory / "HEAD", *(common / name for name in _SHARED)]
    head = _text(directory / "HEAD")
    if head.startswith("ref: "):
        reference = head[5:].strip()
        if re.fullmatch(r"refs/[^\0\s]{1,500}", reference) and ".." not in reference:
            files.append(common / reference)
    return [os.path.relpath(file, root) for file in files]


def index_file(root: Path) -> str:
    """Return the index, relative to the root."""
    return os.path.relpath(_git_directory(root) / "index", root)


def _git_directory(root: Path) -> Path:
    """Return where a workspace's repository is: ``.git``, or what that file points at in a further worktree."""
    dot = root / ".git"
    return dot if dot.is_dir() else _pointed_at(dot, root, prefix="gitdir: ") or dot


def _pointed_at(file: Path, base: Path, prefix: str = "") -> Path | None:
    text = _text(file).strip()
    return base / text.removeprefix(prefix) if text and text.startswith(prefix) else None


def _text(file: Path) -> str:
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            return opened.read(4_096).decode("utf-8", "replace")
    except OSError:
        return ""
