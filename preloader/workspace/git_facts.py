"""What git knows of a workspace: status, differences, who wrote which lines, and what was changed lately.

A result holds as long as what git looked at is the same: HEAD and its branch, the index, every tracked file, every
directory that is not ignored. Names that `Confined` refuses are left out, and their content is never asked for.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

import msgspec

from preloader.errors import LoadError, UnknownResourceError
from preloader.workspace.git import Git, index_file
from preloader.workspace.reading import Reading

MAX_DIFF_BYTES = 400_000
_MOST_DIFFED = 200
_MOST_NAMES = 200_000
_MAX_NAMES_BYTES = 50_000_000
_MOST_LINES = 2_000
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=all")
_SAFE_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all", "--no-renames")


class Change(msgspec.Struct, frozen=True):
    """A changed path: git's two letters for index and worktree (``.M``, ``A.``, ``??``), and the path.

    Attributes:
        state: The letters.
        path: The path.
        before: Of what was renamed or copied: the path that it had, if that may be looked at.
    """

    state: str
    path: str
    before: str = ""


class Status(msgspec.Struct, frozen=True):
    """What ``git status`` says.

    Attributes:
        branch: The branch; ``(detached)`` where HEAD is at none.
        commit: HEAD's commit; ``(initial)`` before the first one.
        changes: Changed and untracked paths.
        hidden: How many changed paths are left out, since they may not be looked at.
    """

    branch: str
    commit: str
    changes: tuple[Change, ...]
    hidden: int = 0


class Diff(msgspec.Struct, frozen=True):
    """Differences between HEAD and the worktree.

    Attributes:
        patch: As ``git diff HEAD`` writes it.
        paths: The paths that differ.
        truncated: Whether the patch, or the paths in it, were cut.
        hidden: How many paths are left out, since they may not be looked at.
    """

    patch: str
    paths: tuple[str, ...]
    truncated: bool = False
    hidden: int = 0


class BlamedLine(msgspec.Struct, frozen=True):
    """Who wrote a line last; a commit of zeros stands for the worktree."""

    line: int
    commit: str
    author: str
    time_s: int
    summary: str


class RecentFile(msgspec.Struct, frozen=True):
    """A file that the latest commits touched: in how many of them, and when last."""

    path: str
    commits: int
    time_s: int


class Commit(msgspec.Struct, frozen=True):
    """A commit: its hash, author, time in seconds since 1970, and subject."""

    commit: str
    author: str
    time_s: int
    subject: str


def status(reading: Reading) -> Status:
    """Return what ``git status`` says."""
    git = Git(reading)
    _note_worktree(git)
    fields = git.lines(*_STATUS, max_bytes=20_000_000)
    header = {key: value for key, _, value in (field[2:].partition(" ") for field in fields if field[:2] == "# ")}
    changes = list(_changes(fields))
    refuses = reading.confined.refuses
    shown = tuple(
        msgspec.structs.replace(change, before="") if change.before and refuses(change.before) else change
        for change in changes
        if not refuses(change.path)
    )
    return Status(header.get("branch.head", ""), header.get("branch.oid", ""), shown, hidden=len(changes) - len(shown))


def diff(reading: Reading, path: PurePosixPath | None = None) -> Diff:
    """Return what differs between HEAD and the worktree, staged or not; of one path, or of all.

    Only paths that may be looked at are asked for, by name: the content of others cannot come along.
    """
    git = Git(reading)
    _note_worktree(git)
    base = "HEAD" if git.run("rev-parse", "--verify", "--quiet", "HEAD", codes=(0, 1)).code == 0 else _EMPTY_TREE
    within = () if path is None else ("--", str(path))
    changed = git.lines("diff", *_SAFE_DIFF, "--name-only", "-z", base, *within)
    shown = [name for name in changed if not reading.confined.refuses(name)]
    asked = shown[:_MOST_DIFFED]
    if not asked:
        return Diff("", (), hidden=len(changed) - len(shown))
    output = git.run("diff", *_SAFE_DIFF, base, "--", *asked, max_bytes=MAX_DIFF_BYTES)
    return Diff(
        output.stdout.decode("utf-8", "replace"),
        tuple(shown),
        truncated=output.truncated or len(asked) < len(shown),
        hidden=len(changed) - len(shown),
    )


def blame(reading: Reading, path: PurePosixPath, first: int, last: int) -> tuple[BlamedLine, ...]:
    """Return who wrote which of a file's lines, from ``first`` to ``last``, the latter cut to the file's end.

    Raises:
        UnknownResourceError: There is no such file, it may not be looked at, or it has fewer lines.
    """
    source = reading.file(path)
    lines = source.data.count(b"\n") + (not source.data.endswith(b"\n"))
    if source.truncated or not 1 <= first <= min(last, lines):
        raise UnknownResourceError(f"{str(path)!r} has no lines {first} to {last} whose authors can be asked for")
    git = Git(reading)
    git.note_head()
    reading.note(index_file(reading.confined.root))
    reading.note(".mailmap")
    for directory in path.parents:
        reading.note(str(directory / ".gitattributes"))
    last = min(last, lines, first + _MOST_LINES - 1)
    # configured files of revisions to ignore may lie anywhere, and messages would tell what is in them
    options = ("--no-textconv", "--no-ignore-revs-file", "--porcelain")
    output = git.run("blame", *options, f"-L{first},{last}", "--", str(path))
    return tuple(_blamed(output.stdout.decode("utf-8", "replace")))


def log(reading: Reading, path: PurePosixPath | None = None, count: int = 20) -> tuple[Commit, ...]:
    """Return the latest commits, newest first, of one path or of all; none before the first one."""
    git = Git(reading)
    git.note_head()
    if git.run("rev-parse", "--verify", "--quiet", "HEAD", codes=(0, 1)).code:
        return ()
    within = () if path is None else ("--", str(path))
    fields = git.lines("log", *_SAFE_LOG, "-z", "--format=%H%x00%an%x00%ct%x00%s", f"--max-count={count}", *within)
    rows = (fields[at : at + 4] for at in range(0, len(fields) - 3, 4))
    return tuple(Commit(commit, author, int(time_s), subject) for commit, author, time_s, subject in rows)


def recent_files(reading: Reading, commits: int = 50) -> tuple[RecentFile, ...]:
    """Return the files that the latest commits touched, the latest first."""
    git = Git(reading)
    git.note_head()
    if git.run("rev-parse", "--verify", "--quiet", "HEAD", codes=(0, 1)).code:
        return ()
    output = git.run(
        "log", *_SAFE_LOG, *_SAFE_DIFF, "--no-merges", "--name-only", "-z", "--format=%x01%ct", f"--max-count={commits}"
    )
    fields = output.stdout.decode("utf-8", "replace").split("\0")
    touched: dict[str, RecentFile] = {}
    time_s = 0
    for field in fields[:-1]:  # the last is empty, or cut
        name = field.removeprefix("\n")
        if name.startswith("\x01"):
            time_s = int(name[1:]) if name[1:].isdigit() else 0
        elif name:
            reading.note_rules(name.rpartition("/")[0])
            if reading.confined.refuses(name):
                continue
            before = touched.get(name, RecentFile(name, 0, time_s))
            touched[name] = RecentFile(name, before.commits + 1, before.time_s)
    return tuple(touched.values())


_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_SAFE_LOG = ("--no-color", "--no-show-signature", "--no-mailmap", "--no-decorate")


def _note_worktree(git: Git) -> None:
    """Write down all that status and diff look at, before they do."""
    reading = git.reading
    git.note_head()
    reading.note(index_file(reading.confined.root))
    reading.note(".git/info/exclude")
    tracked = git.lines("ls-files", "-z", max_bytes=_MAX_NAMES_BYTES, errors="surrogateescape")
    others = ("ls-files", "-z", "--others", "--ignored", "--directory", "--exclude-standard")
    ignored = git.lines(*others, max_bytes=_MAX_NAMES_BYTES, errors="surrogateescape")
    if len(tracked) > _MOST_NAMES:
        raise LoadError(f"the repository tracks {len(tracked)} files, more than {_MOST_NAMES}: too many to watch")
    for name in tracked:
        reading.note(name)
    _note_directories(reading, {name.removesuffix("/") for name in ignored})


def _note_directories(reading: Reading, ignored: set[str]) -> None:
    """Write down every directory that git lists, and the rules by which it does. Names alone are looked at."""
    root = str(reading.confined.root)
    waiting = [""]
    while waiting:
        reading.check_time()
        directory = waiting.pop()
        reading.note(directory or ".")
        try:
            with os.scandir(f"{root}/{directory}") as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        except OSError:
            continue
        for name, is_directory in entries:
            path = f"{directory}/{name}" if directory else name
            if is_directory and name != ".git" and path not in ignored:
                waiting.append(path)
            elif name in (".gitignore", ".gitattributes"):
                reading.note(path)


def _changes(fields: list[str]) -> list[Change]:
    changes = []
    fields_ = iter(fields)
    for field in fields_:
        if field.startswith("1 "):
            changes.append(Change(field[2:4], field.split(" ", 8)[8]))
        elif field.startswith("2 "):
            changes.append(Change(field[2:4], field.split(" ", 9)[9], next(fields_, "")))
        elif field.startswith("u "):
            changes.append(Change(field[2:4], field.split(" ", 10)[10]))
        elif field.startswith("? "):
            changes.append(Change("??", field[2:]))
    return changes


_HEADER = re.compile(r"([0-9a-f]{40,64}) \d+ (\d+)(?: \d+)?")


def _blamed(text: str) -> list[BlamedLine]:
    told: dict[str, dict[str, str]] = {}
    lines: list[BlamedLine] = []
    commit, number = "", 0
    for row in text.split("\n"):
        if row.startswith("\t"):
            of = told[commit]
            time_s = int(of.get("author-time", "0"))
            lines.append(BlamedLine(number, commit, of.get("author", ""), time_s, of.get("summary", "")))
        elif header := _HEADER.fullmatch(row):
            commit, number = header[1], int(header[2])
            told.setdefault(commit, {})
        elif commit:
            name, _, value = row.partition(" ")
            told[commit][name] = value
    return lines
