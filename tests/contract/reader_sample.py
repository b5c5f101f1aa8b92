"""What a sample of a history is, and how the lines of one are written."""

from __future__ import annotations

import json
from dataclasses import dataclass

T0 = 1_767_225_600.0  # 2026-01-01 00:00 UTC
T0_ISO = "2026-01-01T00:00:0{}Z"


@dataclass(frozen=True)
class Bad:
    """A malformed record: its text, and what the report must say of it."""

    text: str
    field: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """A history in one format.

    Attributes:
        format: The reader's name.
        file: The name of the file to write.
        records: Its records, one line (or more) each.
        expected: ``(action, keys of resources, text)`` of every event, in order.
        users: Every user.
        header: What stands before the records.
        bad: Malformed records; each is put between the records.
    """

    format: str
    file: str
    records: tuple[str, ...]
    expected: tuple[tuple[str, tuple[str, ...], str | None], ...]
    users: frozenset[str]
    header: str = ""
    bad: tuple[Bad, ...] = ()

    def text(self, *inserted: str) -> str:
        """Return the file's text, with further records after the first."""
        return self.header + "".join(line + "\n" for line in (self.records[0], *inserted, *self.records[1:]))


def line(**fields: object) -> str:
    return json.dumps(fields, separators=(",", ":"))


NOT_JSON = (
    Bad("{not json", "", "malformed"),
    Bad("[1, 2]", "", "expected `object`"),
    Bad('{"x":' + "[" * 100_000, "", "nested too deeply"),
)
