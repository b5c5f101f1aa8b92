"""Files that were changed together: one ``git log``, each commit worth less the larger and the older it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from preloader.errors import LoadError, UnknownResourceError
from preloader.telemetry import logger
from preloader.workspace.git import Git
from preloader.workspace.reading import Reading

MAX_FILES = 32
"""Commits that touch more (imports, mass renames) say nothing of files that belong together."""

_HALF_LIFE_DAYS = 180.0
_DAY_S = 86_400.0
_MAX_OUTPUT_BYTES = 64 << 20
_MAX_DIGITS = 12  # of a time in seconds
_LOG = (
    *("log", "--no-color", "--no-show-signature", "--no-mailmap", "--no-decorate", "--no-merges", "--no-ext-diff"),
    *("--no-textconv", "--no-renames", "--name-only", "-z", "--format=%x01%ct"),
)


class Commit(Struct, frozen=True):
    """What one commit changed.

    Attributes:
        time_s: When, in seconds since 1970.
        files: The paths, relative to the workspace.
    """

    time_s: float
    files: tuple[str, ...]


class CoChanges:
    """Which files were changed together, and how much that says.

    Args:
        commits: The latest commits.
        now_s: The time to count their age from; that of the latest where ``None``.
    """

    def __init__(self, commits: Iterable[Commit], now_s: float | None = None) -> None:
        telling = [commit for commit in commits if 0 < len(commit.files) <= MAX_FILES]
        self._now_s = now_s if now_s is not None else max((commit.time_s for commit in telling), default=0.0)
        self._commits: dict[str, list[Commit]] = {}
        for commit in telling:
            for path in commit.files:
                self._commits.setdefault(path, []).append(commit)

    def together(self, path: str) -> dict[str, float]:
        """Return the share of a file's changes that went with each other file, weighted, best first.

        The share of few changes is drawn towards nothing, as by one commit of its own.
        """
        counts: Counter[str] = Counter()
        weight = 1.0
        for commit in self._commits.get(path, ()):
            age_days = max(0.0, self._now_s - commit.time_s) / _DAY_S
            worth = 0.5 ** (age_days / _HALF_LIFE_DAYS)
            weight += worth
            each = worth / max(1, len(commit.files) - 1) ** 0.5  # a pair of a large commit says less
            for other in commit.files:
                counts[other] += each
        del counts[path]
        return {other: worth / weight for other, worth in counts.most_common()}


def read_commits(reading: Reading, limit: int) -> list[Commit]:
    """Return the latest commits, newest first.

    Where the workspace is no repository of its own, git is missing or does not answer in time, there are none; that is
    logged at debug level.

    Args:
        reading: The look at the workspace, with the time that git may take.
        limit: The most commits.
    """
    try:
        output = Git(reading).run(*_LOG, f"--max-count={limit}", max_bytes=_MAX_OUTPUT_BYTES)
    except (UnknownResourceError, LoadError) as error:
        logger.debug("no co-changes of %s: %s", reading.confined.root, error)
        return []
    return list(_commits(output.stdout))


def _commits(output: bytes) -> Iterator[Commit]:
    for entry in output.split(b"\x01")[1:]:
        stamp, _, names = entry.partition(b"\0")
        files = (name.lstrip(b"\n").decode(errors="replace") for name in names.split(b"\0"))
        if stamp.isdigit() and len(stamp) < _MAX_DIGITS:
            yield Commit(float(stamp), tuple(name for name in files if name))
