"""A repository's own history: which files were changed together, and in what order commits touched them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec

from preloader.errors import HistoryError
from preloader.events import Event, resource_key
from preloader.history.fields import LAST_SECOND
from preloader.history.lines import MAX_LINE_BYTES
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

MAX_FILES = 64
"""Commits that touch more (imports, mass renames) say nothing of files that belong together: they state none."""

_FORMAT = "--format=%x01%H%x00%ct%x00%an%x00%s"
_COMMIT = re.compile(rb"\x01[0-9a-f]{40,64}")
_CHUNK_BYTES = 65_536
# The repository may be a stranger's: nothing that its configuration names is run, and nothing is fetched.
_COMMAND = (
    *("git", "--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false"),
    *("-c", "core.quotePath=false", "-c", "i18n.logOutputEncoding=UTF-8"),
)
_LOG = ("log", "--reverse", "--no-merges", "--no-ext-diff", "--no-textconv", "--no-color", "--name-only", "-z", _FORMAT)


class _Commit(msgspec.Struct, frozen=True):
    hash: str
    seconds: str
    author: str
    subject: str
    files: tuple[str, ...]


class GitReader:
    """Reads a repository's commits, oldest first, without merges; needs the ``git`` command.

    The user is the author, a session is one author's day (UTC). A commit is an event that uses each ``file`` it
    changed, in the order that git lists them; its subject is the event's text. The time is the committer's.
    """

    name = "git"
    kinds: tuple[str, ...] = ("file",)
    rule = SplitRule(per_user=False)  # authors of one day are common, and all touch the same files

    def detects(self, path: Path) -> bool:
        """Return whether the path is a repository: a checkout, or a bare one."""
        bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
        return path.is_dir() and ((path / ".git").exists() or bare)

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per commit; see `Reader.read`. A record's line is the commit's number, from 1."""
        for number, commit in enumerate(_commits(path), 1):
            if not commit.seconds.isdigit() or int(commit.seconds) > LAST_SECOND:
                report.skip(path, number, "time", f"commit {commit.hash[:12]} has the time {commit.seconds[:20]!r}")
                continue
            report.ok()
            yield _event(commit, float(commit.seconds))
        report.finish()


def _event(commit: _Commit, time_s: float) -> Event:
    together = commit.files if len(commit.files) <= MAX_FILES else ()
    return Event(
        user=commit.author or "unknown",
        session=datetime.fromtimestamp(time_s, UTC).date().isoformat(),
        time_s=time_s,
        action="commit",
        text=commit.subject,
        resources=tuple(resource_key("file", file) for file in together if file),
        context={"files": len(commit.files)},
    )


def _commits(path: Path) -> Iterator[_Commit]:
    fields: list[str] = []
    for token in _tokens(path):
        if _COMMIT.fullmatch(token):
            if len(fields) >= 4:
                yield _commit(fields)
            fields = []
        fields.append(token.decode(errors="replace"))
    if len(fields) >= 4:
        yield _commit(fields)


def _commit(fields: list[str]) -> _Commit:
    name, time, author, subject, *files = fields
    if files:
        files[0] = files[0].removeprefix("\n")  # a line end sets the first name off from the subject
    return _Commit(name[1:], time, author, subject, tuple(files))


def _tokens(path: Path) -> Iterator[bytes]:
    """Run ``git log`` and yield its NUL-terminated parts."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    command = [*_COMMAND, "-C", str(path), *_LOG, "--"]
    with TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment
            )
        except OSError as error:
            raise HistoryError(f"{path}: the git command is needed to read a repository ({error.strerror})") from error
        with process:
            assert process.stdout
            try:
                yield from _split(process.stdout)
            except BaseException:  # the reader stopped early, too
                process.kill()
                raise
        if process.returncode:
            complaints.seek(0)
            _judge(path, complaints.read(_CHUNK_BYTES).decode(errors="replace"))


def _judge(path: Path, complaint: str) -> None:
    if "does not have any commits yet" not in complaint:
        first = complaint.strip().partition("\n")[0] or "it gave no reason"
        raise HistoryError(f"{path}: git cannot read the repository ({first})")


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise HistoryError(f"git printed a name longer than {MAX_LINE_BYTES >> 20} MiB")
    if rest:
        yield rest
