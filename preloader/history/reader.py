"""The `Reader` port and what every reader shares: where a bad record is, how many there were, when that is too many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from preloader.errors import TooManyBadRecords
from preloader.events import Event
from preloader.history.splits import SplitRule
from preloader.telemetry import logger

DEFAULT_MAX_BAD_SHARE = 0.05
_PATIENCE = 20  # a share means nothing before this many records were seen
_KEPT = 20  # bad records whose place is kept for the report


class BadRecord(msgspec.Struct, frozen=True):
    """One record that was skipped: its file, its line (from 1), its field where one is to blame, and the reason."""

    path: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        at = f", field {self.field!r}" if self.field else ""
        return f"{self.path}:{self.line}{at}: {self.reason}"


class ReadReport:
    """Counts good and bad records of one reading, and fails past a share of bad ones.

    Args:
        max_bad_share: Largest share of malformed records, 0 to 1, that is skipped rather than refused.
    """

    def __init__(self, max_bad_share: float = DEFAULT_MAX_BAD_SHARE) -> None:
        self.max_bad_share = max_bad_share
        self.good = 0
        self.bad = 0
        self.examples: list[BadRecord] = []

    def ok(self) -> None:
        """Count a record that was understood."""
        self.good += 1

    def skip(self, path: Path | str, line: int, field: str, reason: str) -> None:
        """Count a malformed record, remember where it is, and log it.

        Raises:
            TooManyBadRecords: The share of bad records has become too large.
        """
        record = BadRecord(str(path), line, field, reason)
        logger.debug("skipped %s", record)
        self.bad += 1
        if len(self.examples) < _KEPT:
            self.examples.append(record)
        if self.good + self.bad >= _PATIENCE:
            self.finish()

    def finish(self) -> None:
        """Check the share once more; a reader calls it at its end, where few records were read.

        Raises:
            TooManyBadRecords: The share of bad records is too large.
        """
        seen = self.good + self.bad
        if self.bad > self.max_bad_share * seen:
            raise TooManyBadRecords(
                f"{self.bad} of {seen} records are malformed, more than the allowed {self.max_bad_share:.0%}; "
                f"the first is {self.examples[0]}"
            )


class Reader(Protocol):
    """Reads one format, as a stream: an iterator over a file larger than memory works.

    Attributes:
        name: The format's name, as ``--format`` takes it.
        kinds: The resource kinds that its events state, the default target first.
        rule: How its histories are split into a part to fit and a part to test on.
    """

    name: str
    kinds: tuple[str, ...]
    rule: SplitRule

    def detects(self, path: Path) -> bool:
        """Return whether ``path`` looks like this format; reads its first kilobytes and never raises for content."""

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield the events of ``path`` in the order that a predictor should see them.

        Raises:
            HistoryError: The file cannot be read at all.
            TooManyBadRecords: Too many of its records are malformed.
        """
