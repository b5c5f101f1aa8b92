"""The package's own format: one `Event` per line, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from preloader.events import Event
from preloader.history.fields import checked
from preloader.history.lines import json_keys, records
from preloader.history.reader import ReadReport
from preloader.history.splits import SplitRule

_DECODER = msgspec.json.Decoder(Event)


class JsonlReader:
    """Reads what `write_jsonl` writes. Which kinds there are, the events themselves say."""

    name = "jsonl"
    kinds: tuple[str, ...] = ()
    rule = SplitRule()
    _keys = frozenset({"user", "session", "time_s", "action"})

    def detects(self, path: Path) -> bool:
        """Return whether one of the first lines has the keys of an event."""
        return any(keys >= self._keys for keys in json_keys(path))

    def read(self, path: Path, report: ReadReport) -> Iterator[Event]:
        """Yield one event per line; see `Reader.read`."""
        return records(path, _decode, report)


def write_jsonl(events: Iterable[Event], path: Path) -> int:
    """Write events to a file, one per line, and return how many there were."""
    encoder = msgspec.json.Encoder()
    count = 0
    with path.open("wb") as file:
        for count, event in enumerate(events, 1):  # noqa: B007 - the count is what is returned
            file.write(encoder.encode(event) + b"\n")
    return count


def _decode(line: bytes) -> Event:
    return checked(_DECODER.decode(line))
