"""Arrays on disk, one shard a user: what training reads when a history's features do not fit in memory.

``DIR/user=<name>/`` holds one ``.npy`` file an array and ``shard.json``, which says what they were made of. A shard
appears whole or not at all, so that after ``kill -9`` what was finished is kept; it is made anew where the recipe or
the user's history has changed, or a file of it is damaged. Reading maps files into memory: the system drops pages
when it needs the room, so peak memory does not grow with the history.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from preloader.errors import ConfigurationError, HistoryError
from preloader.history.partition_names import directory_of
from preloader.history.partitions import UserHistory
from preloader.history.splits import Session
from preloader.learning.parallel import Backend
from preloader.ndarray import NDArray

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]
MakeArrays = Callable[[Sequence[Session]], Arrays]

_VERSION = 1
_DESCRIPTION = "shard.json"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OPEN = 128  # shards that are mapped at once: each holds a file open for every array
_TAKEN = 1_024  # rows after which all are unmapped: reading one may bring 64 kB of its file along


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    user: str
    made_of: str  # hash of the recipe and the user's sessions
    rows: int
    files: dict[str, str]  # array name: SHA-256 of its file


def write_shards(
    root: Path | str,
    users: Iterable[UserHistory],
    make: MakeArrays,
    recipe: Any,
    backend: Backend | None = None,
    on_done: Callable[[str], None] = lambda description: None,
    describe: Callable[[UserHistory], str] = lambda history: f"user {history.user!r}",
) -> Shards:
    """Make every user's shard that is not there yet, and return all of them.

    Args:
        root: The directory that holds them; made if need be. On a cluster, all workers must see it. One run at a
            time may write to it.
        users: Whose; taken one by one.
        make: Returns named arrays of a user's sessions, all with the same first dimension, the rows; pure. A user
            without rows has an empty shard.
        recipe: All that ``make`` depends on besides the sessions: anything that JSON can say.
        backend: Where the work is done; this thread by default.
        on_done: Called with a description after each user.
        describe: Names a user in messages.

    Raises:
        ConfigurationError: ``root`` cannot be written, or ``make`` returns what cannot be a shard.
        WorkError: ``make`` failed, or a worker died; the message names the user.
    """
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        for draft in root.glob(".user=*.part"):  # of a run that was killed
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ConfigurationError(f"{root}: cannot be made ({error.strerror}); name a directory for shards") from error
    work = partial(_write_shard, str(root), make, _digest(recipe))
    rows = (backend or Backend("serial")).map(work, users, describe=describe, on_done=on_done)
    return Shards(root, rows)


class Shards:
    """Shards, as one table with the rows of all users, in the order in which the users were given.

    Args:
        root: The directory that holds them.
        users: The users and how many rows each has.
    """

    def __init__(self, root: Path | str, users: Sequence[tuple[str, int]]) -> None:
        self.root = Path(root)
        self.users = tuple(user for user, _ in users)
        self._ends = list(accumulate(rows for _, rows in users))
        self._mapped: OrderedDict[str, dict[str, Array]] = OrderedDict()
        self._taken = 0

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self._ends[-1] if self._ends else 0

    def of(self, user: str) -> dict[str, Array]:
        """Return a user's arrays, mapped from disk and read-only.

        Raises:
            HistoryError: The shard is damaged or gone.
        """
        mapped = self._mapped.get(user)
        if mapped is None:
            mapped = self._mapped[user] = _mapped(self.root / directory_of(user), user)
        self._mapped.move_to_end(user)
        if len(self._mapped) > _OPEN:
            self._mapped.popitem(last=False)
        return mapped

    def each(self, name: str) -> Iterator[Array]:
        """Yield one array of every user, mapped only while it is looked at.

        Raises:
            HistoryError: A shard is damaged or gone.
        """
        for user in self.users:
            yield _mapped(self.root / directory_of(user), user)[name]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> dict[str, Array]:
        """Return copies of the given rows of every array, in that order: a batch.

        Args:
            rows: Numbers of rows, from 0 to ``len(self)`` - 1; at least one.

        Raises:
            IndexError: There is no such row, or none is asked for.
            HistoryError: A shard is damaged or gone.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if not wanted.size or wanted.min() < 0 or wanted.max() >= len(self):
            raise IndexError(f"rows must be from 0 to {len(self) - 1}, and at least one")
        owners = np.searchsorted(self._ends, wanted, side="right")
        batch: dict[str, Array] = {}
        for owner in np.unique(owners).tolist():
            at = np.flatnonzero(owners == owner)
            start = self._rows(owner).start
            for name, array in self.of(self.users[owner]).items():
                if name not in batch:
                    batch[name] = np.empty((len(wanted), *array.shape[1:]), array.dtype)
                batch[name][at] = array[wanted[at] - start]
        self._forget(len(wanted))
        return batch

    def _forget(self, taken: int) -> None:
        """Unmap everything now and then: pages that were read stay resident for as long as their file is mapped."""
        self._taken += taken
        if self._taken >= _TAKEN:
            self._taken = 0
            self._mapped.clear()

    def _rows(self, place: int) -> range:
        return range(self._ends[place - 1] if place else 0, self._ends[place])


def _write_shard(root: str, make: MakeArrays, recipe: str, history: UserHistory) -> tuple[str, int]:
    """Return the user and the rows of the shard, which is made unless it is there."""
    sessions = history.sessions()
    made_of = _digest([_VERSION, recipe, history.user, sessions])
    place = Path(root) / directory_of(history.user)
    found = _description(place)
    if found is None or found.made_of != made_of or not _is_whole(place, found):
        found = _make_shard(place, history.user, made_of, make(sessions))
    return history.user, found.rows


def _make_shard(place: Path, user: str, made_of: str, arrays: Arrays) -> _Description:
    rows = _checked_rows(arrays)
    draft = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        files = {name: _write_array(draft / f"{name}.npy", array) for name, array in arrays.items()}
        description = _Description(_VERSION, user, made_of, rows, files)
        _write(draft / _DESCRIPTION, lambda file: file.write(msgspec.json.encode(description)))
        shutil.rmtree(place, ignore_errors=True)
        draft.replace(place)
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return description


def _checked_rows(arrays: Arrays) -> int:
    lengths: dict[int, str] = {}
    for name, array in arrays.items():
        if not _NAME.fullmatch(name) or array.ndim == 0 or array.dtype.hasobject:
            raise ConfigurationError(
                f"array {name!r} of {array.dtype} with shape {array.shape} cannot be in a shard; it needs a plain "
                "name, rows, and numbers or truth values"
            )
        lengths.setdefault(len(array), name)
    if len(lengths) != 1:
        raise ConfigurationError(
            f"the arrays of a shard must have equally many rows; they have {lengths or 'no arrays'}"
        )
    return next(iter(lengths))


def _write_array(path: Path, array: Array) -> str:
    _write(path, lambda file: np.save(file, array, allow_pickle=False))
    return file_digest(path)


def _write(path: Path, write: Callable[[Any], object]) -> None:
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _description(place: Path) -> _Description | None:
    try:
        return msgspec.json.decode((place / _DESCRIPTION).read_bytes(), type=_Description)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_whole(place: Path, description: _Description) -> bool:
    try:
        return all(
            _NAME.fullmatch(name) is not None and file_digest(place / f"{name}.npy") == digest
            for name, digest in description.files.items()
        )
    except OSError:
        return False


def _mapped(place: Path, user: str) -> dict[str, Array]:
    description = _description(place)
    if description is None or description.user != user or not all(map(_NAME.fullmatch, description.files)):
        raise HistoryError(f"{place}: not a shard of user {user!r}; make the shards anew")
    try:
        return {
            name: np.load(place / f"{name}.npy", mmap_mode="r" if description.rows else None, allow_pickle=False)
            for name in description.files
        }
    except (OSError, ValueError, EOFError) as error:
        raise HistoryError(f"{place}: a shard that is damaged ({error}); make the shards anew") from error


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
