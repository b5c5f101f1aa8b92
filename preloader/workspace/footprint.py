"""What a result was made from, and whether all of that is still as it was.

A footprint holds the stamp of every file and directory that was read. A directory's stamp changes when an entry comes,
goes or is replaced, a file's when its content does: so equal stamps prove an equal result, once they have settled (see
`preloader.components.contents`). Until then an equal footprint proves nothing: the result is made again and compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import msgspec

from preloader.components.contents import Stamp

Seen = tuple[Stamp | None, Stamp | None]
"""Of a path: its own stamp, and where it is a link, that of what it leads to; ``None`` where there is nothing."""


class Verdict(Enum):
    """What a footprint says of the result that was made from it."""

    SAME = "same"
    UNSURE = "unsure"
    CHANGED = "changed"


class Footprint(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        seen: Of each path, relative to the root, what was there before it was read.
        settled: Whether an equal footprint proves an equal result.
        torn: Whether something had changed between that look and the reading, so that the result proves nothing.
        versions: Of what is no file of the workspace, a number that its owner counts up when it changes.
    """

    seen: Mapping[str, Seen]
    settled: bool
    versions: Mapping[str, int] = {}
    torn: bool = False

    def verdict(self, root: Path, versions: Mapping[str, int]) -> Verdict:
        """Compare with what is there now. Blocks, about a microsecond for each path."""
        if self.torn or any(versions.get(name) != version for name, version in self.versions.items()):
            return Verdict.CHANGED
        base = f"{root}/"
        if any(look(base + path) != before for path, before in self.seen.items()):
            return Verdict.CHANGED
        return Verdict.SAME if self.settled else Verdict.UNSURE


def look(path: str) -> Seen:
    """Return what is at a path, at present."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None, None
    own = Stamp.from_status(status)
    if (status.st_mode & 0o170000) != 0o120000:
        return own, None
    try:
        return own, Stamp.from_status(os.stat(path))  # noqa: PTH116  # paths are texts here, for speed
    except OSError:
        return own, None
