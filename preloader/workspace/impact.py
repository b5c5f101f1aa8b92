"""What a change means for the rest of a workspace: dependents, tests to run, migrations, blocking calls."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import PurePosixPath

from msgspec import Struct

from preloader.workspace.graph.blocking import blocking_of
from preloader.workspace.graph.diffs import Change
from preloader.workspace.graph.facts import BlockingCall
from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.languages import same_language, support_for
from preloader.workspace.graph.layout import basename, dirname
from preloader.workspace.graph.migrations import Migration, migrations
from preloader.workspace.graph.parsing import Pace, check_stop
from preloader.workspace.graph.reach import Reached, reach
from preloader.workspace.graph.reader import read_bytes
from preloader.workspace.test_names import own_stem


class Dependent(Struct, frozen=True):
    """A file that depends on what changed.

    Attributes:
        path: The file.
        distance: How many imports it is away, from 1.
        via: The file that it imports on the way.
        names: What of it changes along; empty where all of it may.
    """

    path: str
    distance: int
    via: str
    names: tuple[str, ...] = ()


class TestToRun(Struct, frozen=True):
    """A test file that a change may break.

    Attributes:
        path: The test file.
        distance: How many imports it is away; 0 where it changed itself, or is named after what did.
        reason: Why, in words.
    """

    __test__ = False  # pytest takes what is named so for a test

    path: str
    distance: int
    reason: str


class Blocked(Struct, frozen=True):
    """A call that blocks within an asynchronous function of a changed file.

    Attributes:
        path: The file.
        call: The call.
        touched: Whether it is on a line that changed.
    """

    path: str
    call: BlockingCall
    touched: bool


class Impact(Struct, frozen=True):
    """What a change means.

    Attributes:
        changes: The change.
        dependents: Files that depend on it, the nearest first.
        tests: Test files to run, the likeliest to break first.
        migrations: Migrations that it touches or likely needs.
        blocking: Blocking calls in asynchronous functions of the changed files, those on changed lines first.
        truncated: Whether there are more dependents than were looked at.
    """

    changes: tuple[Change, ...]
    dependents: tuple[Dependent, ...]
    tests: tuple[TestToRun, ...]
    migrations: tuple[Migration, ...]
    blocking: tuple[Blocked, ...]
    truncated: bool


def impact(index: GraphIndex, changes: Iterable[Change], limit: int, stop: threading.Event | None = None) -> Impact:
    """Return what a change means. Blocks: it reads the files that are reached.

    Args:
        index: The graph, as it is after the change.
        changes: What changed.
        limit: The most files to follow it to.
        stop: Set to give up.

    Raises:
        Interrupted: It was given up.
    """
    changed = {change.path: change for change in changes}

    def read(path: str) -> bytes:
        found = read_bytes(index.root, path, index.limits.file_bytes)
        return (found[0] or b"") if found is not None else b""

    pace = Pace()

    def check() -> None:
        check_stop(stop)
        pace.keep()

    reached = reach(index, changed.values(), read, limit + len(changed), check)
    dependents = [
        Dependent(path, far.distance, far.via, tuple(sorted(far.names or ())))
        for path, far in reached.items()
        if path not in changed
    ]
    return Impact(
        changes=tuple(changed.values()),
        dependents=tuple(sorted(dependents, key=lambda one: (one.distance, one.path))),
        tests=tuple(_tests(index, reached)),
        migrations=tuple(migrations(changed, index.__contains__, index.names, read)),
        blocking=tuple(_blocking(index, changed)),
        truncated=len(reached) >= limit + len(changed),
    )


def _tests(index: GraphIndex, reached: dict[str, Reached]) -> list[TestToRun]:
    """Return the tests among what is reached, those named after what changed, and those beneath a changed fixture."""
    found: dict[str, TestToRun] = {}
    for path, far in reached.items():
        if index.is_test(path) and path in index:
            reason = f"reaches the change over {far.via}" if far.distance > 1 else f"imports {far.via}"
            found[path] = TestToRun(path, far.distance, reason if far.distance else "it changed itself")
        elif (facts := index.facts(path)) is not None and facts.has_tests:
            found[path] = TestToRun(path, far.distance, "holds its own tests")
        if basename(path) == "conftest.py":
            for test in index.beneath(dirname(path)):
                if index.is_test(test):
                    found.setdefault(test, TestToRun(test, far.distance + 1, f"its fixtures come from {path}"))
        if not far.distance and not index.is_test(path):
            named = index.tests_named(own_stem(PurePosixPath(path)))
            for test in (one for one in named if support_for(path) is None or same_language(path, one)):
                if test not in found or found[test].distance > 0:
                    found[test] = TestToRun(test, 0, f"named after {path}")
    return sorted(found.values(), key=lambda one: (one.distance, one.path))


def _blocking(index: GraphIndex, changed: dict[str, Change]) -> list[Blocked]:
    found = []
    for path, change in sorted(changed.items()):
        for call in blocking_of(index, path):
            touched = not change.lines or any(first <= call.line <= last for first, last in change.lines)
            found.append(Blocked(path, call, touched))
    return sorted(found, key=lambda one: (not one.touched, one.path, one.call.line))
