"""The graph in memory: which file depends on which, kept up file by file.

What a file says of itself changes with its bytes alone. What its imports mean changes with the files that there are, so
each file's edges remember what their resolver asked (`preloader.workspace.graph.layout`), and are found anew when an
answer changes: after any sequence of edits the graph is the one that is built from nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from sys import intern
from typing import TypeVar

from msgspec import Struct

from preloader.telemetry import logger
from preloader.workspace.graph.configurations import CONFIGURING, Configurations
from preloader.workspace.graph.facts import Definition, FileFacts
from preloader.workspace.graph.languages import support_for
from preloader.workspace.graph.layout import Layout, Probe, discard_from
from preloader.workspace.graph.packages import Packages
from preloader.workspace.graph.parsing import Pace, check_stop
from preloader.workspace.graph.reader import (
    Limits,
    can_be_kept,
    facts_of,
    glimpse,
    is_regular,
    read_bytes,
    stamp_of,
    unchanged,
)
from preloader.workspace.graph.store import Stamp, Store, is_damaged
from preloader.workspace.test_names import is_test, tested_stems

T = TypeVar("T")

_COMMIT_EVERY = 500


class Update(Struct, kw_only=True):
    """What an update did.

    Attributes:
        parsed: Files that were parsed.
        unchanged: Files that were known as they are.
        removed: Files that are no more.
        resolved: Files whose imports were resolved anew.
        too_large: Files that are larger than the limit.
        too_slow: Files that took longer than the limit.
        left_out: Paths beyond the limit of their number, and what is no regular file.
        parsed_bytes: Bytes that were parsed.
    """

    parsed: int = 0
    unchanged: int = 0
    removed: int = 0
    resolved: int = 0
    too_large: int = 0
    too_slow: int = 0
    left_out: int = 0
    parsed_bytes: int = 0


class GraphIndex:
    """The import graph of a workspace. Thread-safe; its methods block, so they belong on a thread.

    Args:
        root: The workspace.
        state: The directory that the graph is kept in; in memory alone where ``None``.
        limits: What files may cost.
        refuses: Says of a path whether it may not be opened.
    """

    def __init__(
        self, root: Path, state: Path | None, limits: Limits, refuses: Callable[[str], bool] = lambda path: False
    ) -> None:
        self.root = root.resolve()
        self._refuses = refuses
        self.limits = limits
        self._lock = threading.RLock()
        self._updating = threading.Lock()
        self._store = Store(state)
        self._stamps = self._store.stamps()
        self._layout = Layout()
        self._configurations = Configurations(self._configuration)
        self._targets: dict[str, dict[str, tuple[str, ...]]] = {}
        self._sources: dict[str, set[str]] = {}
        self._asked: dict[str, frozenset[str]] = {}
        self._asking: dict[str, set[str]] = {}
        self._unresolved: set[str] = set()  # what an update that was stopped leaves to the next
        self._configured: dict[str, Stamp] = {}  # of files that may configure what imports mean
        self._packages = Packages()
        self._tests: dict[str, set[str]] = {}  # stem of what is tested → tests that are named after it

    def close(self) -> None:
        """Close the file on disk."""
        with self._updating, self._lock:
            self._store.close()

    def build(self, paths: Iterable[str], stop: threading.Event | None = None) -> Update:
        """Bring the graph up to the workspace's files; what is known of others is forgotten.

        A file that has the size and the times of change that it was read with is not opened, unless it was read within
        two seconds of these.

        Args:
            paths: All files of the workspace, relative to its root.
            stop: Set to give up. What was read is kept, and the next call goes on from there.

        Raises:
            Interrupted: It was given up.
            MissingExtraError: A grammar is not installed.
        """
        wanted = dict.fromkeys(paths)
        with self._updating:
            gone = [path for path in (*self._stamps, *self._layout) if path not in wanted]
            return self._apply([*dict.fromkeys(gone), *wanted], set(gone), stop, trusting=True)

    def update(self, paths: Iterable[str], stop: threading.Event | None = None) -> Update:
        """Look at files that may have changed, come or gone, and at no others; see `build`.

        Raises:
            Interrupted: It was given up.
            MissingExtraError: A grammar is not installed.
        """
        with self._updating:
            return self._apply(list(dict.fromkeys(paths)), set(), stop, trusting=False)

    def refresh(self, paths: Iterable[str], stop: threading.Event | None = None) -> Update:
        """Find out which files changed, came or went, and look at those: `update` for who was not told.

        Args:
            paths: The files that there are. One that is known besides stays for as long as it is there.
            stop: Set to give up.

        Raises:
            Interrupted: It was given up.
            MissingExtraError: A grammar is not installed.
        """
        wanted = dict.fromkeys((*paths, *self.paths()))
        return self.update([path for path in wanted if not self._is_current(path)], stop)

    def imports(self, path: str) -> dict[str, tuple[str, ...]]:
        """Return the files that a file depends on, each with the names taken out of it (none: the whole of it)."""
        with self._lock:
            return dict(self._targets.get(path, {}))

    def importers(self, path: str) -> dict[str, tuple[str, ...]]:
        """Return the files that depend on a file, each with the names that it takes."""
        with self._lock:
            return {source: self._targets[source][path] for source in sorted(self._sources.get(path, ()))}

    def importers_before(self, path: str, check: Callable[[], None]) -> dict[str, tuple[str, ...]]:
        """Return the files whose imports would lead to a file that is no more, each with the names that it takes.

        Args:
            path: A file that is not in the graph.
            check: Raises to give up; called for each file that is looked at.
        """

        def ask() -> dict[str, tuple[str, ...]]:
            found = {}
            questions = self._layout.add(path)
            try:
                for asker in sorted(set().union(*(self._asking.get(question, ()) for question in questions))):
                    check()
                    targets, _ = self._resolved(asker)
                    if path in targets:
                        found[asker] = targets[path]
            finally:
                self._layout.discard(path)
            return found

        return self._asked_of_store(ask, {})

    def facts(self, path: str) -> FileFacts | None:
        """Return what a file says of itself, ``None`` where it was not read."""
        return self._asked_of_store(lambda: self._store.facts(path) if path in self._stamps else None, None)

    def defining(self, name: str, limit: int) -> list[tuple[str, Definition]]:
        """Return where a name is defined, in the order of paths, at most so often."""
        return self._asked_of_store(lambda: list(self._store.defining(name, limit)), [])

    def paths(self) -> list[str]:
        """Return the files that are known, sorted."""
        with self._lock:
            return sorted(self._layout)

    def names(self, directory: str) -> list[str]:
        """Return the names of the files in a directory, sorted."""
        with self._lock:
            return sorted(self._layout.names(directory))

    def with_stem(self, stem: str) -> list[str]:
        """Return the files of a stem, sorted."""
        with self._lock:
            return sorted(self._layout.with_stem(stem))

    def tests_named(self, stem: str) -> list[str]:
        """Return the tests that are named after a stem, as `own_stem` gives it, sorted."""
        with self._lock:
            return sorted(self._tests.get(stem, ()))

    def is_test(self, path: str) -> bool:
        """Return whether a file is run as a test, by its name."""
        return is_test(PurePosixPath(path))

    def beneath(self, directory: str) -> list[str]:
        """Return the files beneath a directory, sorted; all where it is the root."""
        with self._lock:
            return sorted(path for path in self._layout if not directory or path.startswith(f"{directory}/"))

    def __contains__(self, path: str) -> bool:
        with self._lock:
            return path in self._layout

    def __len__(self) -> int:
        with self._lock:
            return len(self._layout)

    @property
    def edges(self) -> int:
        """How many pairs of files there are, of which one depends on the other."""
        with self._lock:
            return sum(map(len, self._targets.values()))

    def _asked_of_store(self, question: Callable[[], T], nothing: T) -> T:
        """Return an answer, nothing where the file on disk fails; the next update sets it aside."""
        try:
            with self._lock:
                return question()
        except sqlite3.Error as error:
            logger.warning("the code graph on disk failed: %s", error)
            return nothing

    def _apply(self, paths: list[str], gone: set[str], stop: threading.Event | None, *, trusting: bool) -> Update:
        """Do an update; where the file on disk fails meanwhile, once more with an empty one, then without."""
        for first in (True, False):
            try:
                return self._attempt(paths, gone, stop, trusting=trusting)
            except sqlite3.Error as error:
                again = first and is_damaged(error)
                how = "set aside" if again else "no longer used"
                logger.warning("the code graph on disk failed (%s): it is %s, and all files are read anew", error, how)
                with self._lock:
                    paths = list(dict.fromkeys([*paths, *self._layout]))
                    self._store.start_anew(on_disk=again)
                    self._stamps.clear()
        return self._attempt(paths, gone, stop, trusting=trusting)

    def _attempt(self, paths: list[str], gone: set[str], stop: threading.Event | None, *, trusting: bool) -> Update:
        done = Update()
        pace = Pace()
        try:
            for number, path in enumerate(paths, 1):
                check_stop(stop)
                pace.keep()
                if path in gone:
                    self._remove(path, done)
                else:
                    self._look_at(path, done, stop, trusting=trusting)
                if number % _COMMIT_EVERY == 0:
                    self._commit()
            while self._unresolved:
                check_stop(stop)
                pace.keep()
                self._resolve(next(iter(self._unresolved)))
                done.resolved += 1
        finally:
            self._commit()
        return done

    def _is_current(self, path: str) -> bool:
        """Return whether a file surely is as it was when it was looked at."""
        stamp = self._stamps.get(path) or self._configured.get(path)
        if stamp is not None:
            return unchanged(self.root, path, stamp)
        return path in self and is_regular(self.root, path)

    def _commit(self) -> None:
        with self._lock:
            self._store.commit()

    def _look_at(self, path: str, done: Update, stop: threading.Event | None, *, trusting: bool) -> None:
        """Take one file as it is now into the graph."""
        if not can_be_kept(path):
            done.left_out += 1
            return
        known = self._stamps.get(path)
        if support_for(path) is None:
            self._enter_other(path, done)
            return
        if trusting and known is not None and unchanged(self.root, path, known):
            self._enter(path, done)
            return
        found = self._bytes(path, self.limits.file_bytes)
        if found is None:
            self._remove(path, done)
            return
        data, state = found
        stamp = stamp_of(data, state)
        if known is not None and data is not None and known.digest == stamp.digest:
            with self._lock:
                self._store.restamp(path, stamp)
                self._stamps[path] = stamp
            self._enter(path, done)
            return
        facts = facts_of(path, data, self.limits, stop) if data is not None else None
        done.parsed += facts is not None
        done.parsed_bytes += len(data or b"") * (facts is not None)
        done.too_large += data is None
        done.too_slow += data is not None and facts is None
        self._read(path, stamp, facts, done)

    def _enter_other(self, path: str, done: Update) -> None:
        """Enter a file that is not read: imports may mean it, and it may configure what they mean."""
        there = is_regular(self.root, path)
        if there and path.endswith(CONFIGURING):
            self._configured[path] = glimpse(self.root, path)
        with self._lock:
            self._ask_again(self._configurations.changed(path))
        if not there:
            self._remove(path, done)
        elif self._room(path, done):
            with self._lock:
                self._add(path)

    def _enter(self, path: str, done: Update) -> None:
        """Enter a file whose facts are known."""
        done.unchanged += 1
        with self._lock:
            if path not in self._layout and self._room(path, done):
                self._add(path)
                self._unresolved.add(path)
                if self._packages.has(path):
                    self._ask_again(self._packages.put(path, self._store.facts(path)))

    def _read(self, path: str, stamp: Stamp, facts: FileFacts | None, done: Update) -> None:
        """Enter a file that was just read."""
        if not self._room(path, done):
            return
        with self._lock:
            self._store.put(path, stamp, facts)
            self._stamps[intern(path)] = stamp
            self._add(path)
            self._unresolved.add(path)
            if self._packages.has(path):
                self._ask_again(self._packages.put(path, facts))

    def _add(self, path: str) -> None:
        path = intern(path)
        self._ask_again(self._layout.add(path))
        for stem in tested_stems(PurePosixPath(path)):
            self._tests.setdefault(stem, set()).add(path)

    def _room(self, path: str, done: Update) -> bool:
        there = path in self._layout or len(self._layout) < self.limits.files
        done.left_out += not there
        return there

    def _remove(self, path: str, done: Update) -> None:
        with self._lock:
            known = path in self._layout or path in self._stamps
            done.removed += known
            done.left_out += not known
            if self._stamps.pop(path, None) is not None:
                self._store.discard(path)
            self._ask_again(self._configurations.changed(path))
            self._ask_again(self._packages.put(path, None))
            for stem in tested_stems(PurePosixPath(path)) if path in self._layout else ():
                discard_from(self._tests, stem, path)
            self._ask_again(self._layout.discard(path))
            self._link(path, {}, frozenset())
            self._targets.pop(path, None)
            self._unresolved.discard(path)
            self._configured.pop(path, None)

    def _ask_again(self, questions: Iterable[str]) -> None:
        """Have everything resolved anew that asked one of these."""
        for question in questions:
            self._unresolved.update(self._asking.get(question, ()))

    def _resolve(self, path: str) -> None:
        with self._lock:
            targets, asked = self._resolved(path)
            self._link(path, targets, frozenset(map(intern, asked)))
            self._unresolved.discard(path)

    def _resolved(self, path: str) -> tuple[dict[str, tuple[str, ...]], set[str]]:
        """Return where a file's imports lead, and what was asked to find that."""
        facts, support = self._store.facts(path), support_for(path)
        probe = Probe(self._layout, self._configurations, self._packages.defined)
        targets = support.resolve(path, facts, probe) if facts is not None and support is not None else {}
        return targets, probe.asked

    def _link(self, path: str, targets: Mapping[str, tuple[str, ...]], asked: frozenset[str]) -> None:
        """Put a file's edges, and what they hang on, in the place of what it had."""
        before, asked_before = self._targets.get(path, {}), self._asked.get(path, frozenset())
        for target in before.keys() - targets.keys():
            discard_from(self._sources, target, path)
        for target in targets.keys() - before.keys():
            self._sources.setdefault(intern(target), set()).add(path)
        for question in asked_before - asked:
            discard_from(self._asking, question, path)
        for question in asked - asked_before:
            self._asking.setdefault(question, set()).add(path)
        self._targets[intern(path)] = {intern(target): names for target, names in targets.items()}
        self._asked[path] = asked
        if not asked:
            del self._asked[path]

    def _configuration(self, path: str, limit: int) -> bytes | None:
        found = self._bytes(path, limit)
        return found[0] if found is not None else None

    def _bytes(self, path: str, limit: int) -> tuple[bytes | None, os.stat_result] | None:
        return None if self._refuses(path) else read_bytes(self.root, path, limit)
