"""Writing histories: a file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

from preloader.errors import HistoryError
from preloader.events import Event
from preloader.history.jsonl import write_jsonl
from preloader.history.parquet import write_parquet

WRITERS: dict[str, Callable[[Iterable[Event], Path], int]] = {"jsonl": write_jsonl, "parquet": write_parquet}
"""The formats that can be written, by name."""


def write(
    events: Iterable[Event],
    path: Path | str,
    format: str,  # noqa: A002 - the word that users know it by
    *,
    private: bool = False,
) -> int:
    """Write events to ``path`` and return how many there were.

    They go to a temporary file beside it, which takes its place at the end: whatever interrupts the writing, an earlier
    file stays as it was and nothing half written is left.

    Args:
        events: What to write.
        path: Where to.
        format: How: one of `WRITERS`.
        private: Whether only the owner may read the file, at any moment; otherwise whoever the umask lets.

    Raises:
        HistoryError: There is no such format, or the file cannot be written; and whatever reading the events raises.
        MissingExtraError: The format needs an extra that is not installed.
    """
    path = Path(path)
    if format not in WRITERS:
        raise HistoryError(f"format {format!r} cannot be written; it must be one of {', '.join(WRITERS)}")
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as held:
            draft = Path(held.name)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        count = WRITERS[format](events, draft)
        if not private:  # as the draft is from the start
            draft.chmod(0o666 & ~_umask())
        draft.replace(path)
    except OSError as error:
        raise HistoryError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
