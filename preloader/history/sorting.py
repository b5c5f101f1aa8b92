"""Events in the order of their users, however many there are: an external merge sort (Knuth, TAOCP 3, 5.4).

As many events as fit are sorted in memory and written as a run; runs are merged, in several rounds where there are
too many to be open at once. It takes the events' size on disk twice, and memory for one run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path

import msgspec

from preloader.events import Event
from preloader.history.jsonl import write_jsonl

RUN_EVENTS = 50_000
"""Events sorted in memory at once: some 50 MB."""

_OPEN = 64  # runs that are merged at once
_DECODER = msgspec.json.Decoder(Event)


def by_user(events: Iterable[Event], scratch: Path, run_events: int = RUN_EVENTS) -> Iterator[Event]:
    """Yield the events user by user, in the order of the users' names; each user's stay in the order they came in.

    Args:
        events: Read once, as a stream.
        scratch: An empty directory for the runs, which are removed as they are used up.
        run_events: How many events are sorted in memory at once.
    """
    stream = iter(events)
    names = (scratch / f"{number}.jsonl" for number in count())
    runs: list[Path] = []
    while batch := sorted(islice(stream, run_events), key=_user):
        runs.append(_written(batch, next(names)))
    while len(runs) > _OPEN:
        groups = [runs[at : at + _OPEN] for at in range(0, len(runs), _OPEN)]  # of neighbours, so that order is kept
        runs = [_written(_merged(group), next(names)) for group in groups]
    yield from _merged(runs)


def _written(events: Iterable[Event], run: Path) -> Path:
    write_jsonl(events, run)
    return run


def _merged(runs: Iterable[Path]) -> Iterator[Event]:
    return heapq.merge(*map(_drained, runs), key=_user)


def _drained(run: Path) -> Iterator[Event]:
    with run.open("rb") as lines:
        yield from map(_DECODER.decode, lines)
    run.unlink()


def _user(event: Event) -> str:
    return event.user
