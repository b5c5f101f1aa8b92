"""What a manager keeps on disk: the predictor's state, saved regularly, and the event log, flushed regularly."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preloader.errors import BundleError
from preloader.events import Event
from preloader.ports import Executor, Kept, Predictor, Snapshot
from preloader.prediction import load_bundle, save_bundle
from preloader.telemetry import logger
from preloader.whole_file import write_whole

if TYPE_CHECKING:  # reading histories is not loaded with the manager
    from preloader.history.log import EventLog

_LOG_FLUSH_S = 1.0
_BUNDLE = "predictor"
_OF_BUNDLE = "predictor-of-bundle"
_GREW_ON = "grew_on"  # in a saved state: the digest of the bundle that it was learned on top of


class Upkeep:
    """Restores, saves and flushes, off the loop. A failure is logged and tried again; it never reaches the manager.

    Args:
        predictor: Whose state is kept.
        executor: Where files are read and written.
        state_dir: Where the predictor's bundle lives; ``None`` keeps nothing.
        event_log: Where events are recorded; ``None`` records nothing.
        autosave_s: How often the state is saved.
        of_bundle: Returns the digest of the bundle that the predictor came from; nothing where it came from none. Its
            state then has a place of its own, so that neither overwrites the other's, nor puts it aside, when a bundle
            is refused for a while or promoted; and it is restored onto that very bundle alone, since another one in its
            place was put there to predict otherwise.
        kept: What else is restored from and saved to the same place.
    """

    def __init__(
        self,
        predictor: Predictor,
        executor: Executor,
        state_dir: Path | str | None,
        event_log: EventLog | None,
        autosave_s: float,
        of_bundle: Callable[[], str] = lambda: "",
        kept: Sequence[Kept] = (),
    ) -> None:
        self._predictor = predictor
        self._executor = executor
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._of_bundle = of_bundle
        self._kept = kept
        self._event_log = event_log
        self._autosave_s = autosave_s
        self._writing = threading.Lock()
        self._snapshots = 0
        self._written = 0  # the number of the latest snapshot on disk, guarded by the lock

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Return the endless chores that the manager runs as tasks of its own."""
        chores: list[Coroutine[Any, Any, None]] = []
        if self._state_dir is not None:
            chores.append(_every(self._autosave_s, self.save))
        if self._event_log is not None:
            chores.append(_every(_LOG_FLUSH_S, self.flush))
        return chores

    async def restore(self) -> None:
        """Restore what was learned; a state that is no good, or of another bundle, is put aside."""
        place = self._place()
        if place is None:
            return
        for table in self._kept:
            await self._restore_kept(table, place.with_name(table.name))
        try:
            bundle = await self._executor.run(load_bundle, place)
            if bundle.snapshot.meta.get(_GREW_ON, "") != self._of_bundle():
                kept = await self._executor.run(_supersede, place)
                logger.warning("the predictor begins with its bundle: %s grew on another one; %s", place, kept)
                return
            self._predictor.restore(bundle.snapshot)
        except BundleError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # the first start
                return
            kept = await self._executor.run(_put_aside, place)
            logger.warning("the predictor starts afresh: %s; %s", error, kept)

    async def _restore_kept(self, kept: Kept, path: Path) -> None:
        try:
            kept.load(await self._executor.run(path.read_bytes))
        except FileNotFoundError:  # the first start
            return
        except Exception as error:  # a provider's own may fail in any way
            aside = await self._executor.run(_put_aside, path)
            logger.warning("%s starts afresh: %s; %s", kept.name, error, aside)

    async def save(self) -> None:
        """Save what was learned, each file atomically."""
        place = self._place()
        if place is None:
            return
        files = [file for kept in self._kept if (file := await _written_out(kept, place)) is not None]
        self._snapshots += 1
        snapshot, digest = self._predictor.snapshot(), self._of_bundle()
        if digest:
            snapshot = Snapshot({**snapshot.meta, _GREW_ON: digest}, snapshot.arrays)
        await self._executor.run(self._write, place, snapshot, files, self._snapshots)

    def _place(self) -> Path | None:
        if self._state_dir is None:
            return None
        return self._state_dir / (_OF_BUNDLE if self._of_bundle() else _BUNDLE)

    def _write(self, bundle: Path, snapshot: Snapshot, files: list[tuple[Path, bytes]], number: int) -> None:
        """Write a snapshot unless a later one is there: a thread whose save was cancelled may come late."""
        with self._writing:
            if number > self._written:
                bundle.parent.mkdir(parents=True, exist_ok=True)
                save_bundle(bundle, snapshot)
                for path, data in files:
                    write_whole(path, data)
                self._written = number

    def record(self, event: Event) -> None:
        """Buffer an event for the log; it is durable once `flush` was awaited after it."""
        if self._event_log is not None:
            self._event_log.buffer(event)

    async def flush(self) -> None:
        """Write what the event log has buffered; what was recorded before is durable when this returns."""
        if self._event_log is not None:
            await self._executor.run(self._event_log.flush)

    async def aclose(self) -> None:
        """Flush and save a last time."""
        for chore in (self.flush, self.save):
            try:
                await chore()
            except Exception as error:
                logger.warning("%s failed at shutdown: %s", chore.__qualname__, error)


async def _written_out(kept: Kept, beside: Path) -> tuple[Path, bytes] | None:
    """Return what goes into which file, letting others have their turn between pieces; nothing where that fails."""
    made = []
    try:
        for piece in kept.pieces():
            made.append(piece)
            await asyncio.sleep(0)
    except Exception as error:  # what else there is to save must not suffer
        logger.warning("%s cannot be saved: %r", kept.name, error)
        return None
    return beside.with_name(kept.name), b"".join(made)


async def _every(seconds: float, chore: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except Exception as error:
            logger.warning("%s failed and is tried again in %g s: %s", chore.__qualname__, seconds, error)


def _supersede(state: Path) -> str:
    """Rename a state to ``NAME.superseded``, in place of an earlier one, and say what became of it.

    One is kept, and not each: a bundle that is retrained every night would leave one every night.
    """
    place = state.with_name(f"{state.name}.superseded")
    try:
        shutil.rmtree(place, ignore_errors=True)
        return f"that is kept as {state.rename(place)}"
    except OSError as error:
        return f"that cannot be put aside: {error}"


def _put_aside(bundle: Path) -> str:
    """Rename a bundle to the first free ``NAME.refused-1``, ``-2``, … and say what became of it."""
    numbered = (bundle.with_name(f"{bundle.name}.refused-{number}") for number in itertools.count(1))
    try:
        return f"it is kept as {bundle.rename(next(place for place in numbered if not place.exists()))}"
    except OSError as error:
        return f"it cannot be put aside: {error}"
