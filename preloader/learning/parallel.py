"""Work that is divided by user: one function over many items, here, on this machine's cores, or on a cluster.

`Backend.map` gives the same results everywhere, in the order of the items: functions are pure, every worker computes on
one thread (a sum over threads depends on how many there are), and nothing is combined in the order of completion.

Between processes of one run, items and results travel as pickles, through pipes or sockets; none is written to disk
or read from it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import chain, islice
from pickle import PicklingError
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from preloader.checks import is_whole
from preloader.errors import ConfigurationError, PreloaderError, WorkError, require

Kind = Literal["loky", "dask", "serial", "threading"]
KINDS: tuple[Kind, ...] = ("loky", "dask", "serial", "threading")

_LOOK_S = 1.0
_IDLE_S = 60.0  # how long a process waits for more work before it ends

T = TypeVar("T")
R = TypeVar("R")


class Backend(msgspec.Struct, frozen=True):
    """Where work is done.

    Attributes:
        kind: ``loky``: processes of this machine. ``dask``: a cluster. ``serial``: this thread. ``threading``: threads
            of this process, for functions that spend their time outside of Python.
        jobs: How many at once on this machine; as many as it has cores unless given.
        scheduler: Address of the cluster's scheduler, as in ``tcp://host:8786``.

    Raises:
        ConfigurationError: The three do not fit together.
    """

    kind: Kind = "loky"
    jobs: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"--backend {self.kind!r} is not known; choose from: {', '.join(KINDS)}")
        if self.jobs is not None and not is_whole(self.jobs, 1):
            raise ConfigurationError(f"--jobs {self.jobs} is not a whole number from 1")
        if (self.kind == "dask") != bool(self.scheduler):
            raise ConfigurationError("--backend dask and --scheduler ADDRESS go together; give both or neither")
        if self.kind == "dask" and self.jobs is not None:
            raise ConfigurationError(
                "--jobs is for this machine; a cluster works on as many as its workers have threads"
            )

    def map(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        describe: Callable[[T], str] = str,
        on_done: Callable[[str], None] = lambda description: None,
    ) -> list[R]:
        """Apply a function to every item and return the results in the order of the items; see `stream`."""
        return list(self.stream(function, items, describe=describe, on_done=on_done))

    def stream(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        describe: Callable[[T], str] = str,
        on_done: Callable[[str], None] = lambda description: None,
    ) -> Iterator[R]:
        """Apply a function to every item and yield the results in the order of the items.

        Items are taken only a little ahead of the work, so that they may come from a generator. Whatever ends the
        iteration early (Ctrl-C, an error, closing the iterator) also ends the work: processes are killed, a cluster's
        tasks cancelled.

        Args:
            function: Pure, and importable by the workers: a function of a module, or a `functools.partial` of one.
            items: What it is applied to.
            describe: Names an item in messages and progress, as in ``user 'ann'``.
            on_done: Called with an item's name once its result, and those before it, are there.

        Raises:
            WorkError: A worker died, or the function raised what is no `PreloaderError`; the message names the item.
            PreloaderError: The function raised it; the message names the item.
            ConfigurationError: The cluster cannot be reached or has no workers.
            MissingExtraError: joblib or Dask is not installed.
        """
        outcomes = self._outcomes(_Call(function, describe, self.kind), items)
        try:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                yield cast("R", outcome.result)
                on_done(outcome.name)
        finally:
            outcomes.close()

    def _outcomes(self, call: _Call[T, R], items: Iterable[T]) -> Generator[_Outcome[R], None, None]:
        if self.kind == "serial":
            with single_threaded():
                yield from map(call, items)
            return
        ahead = iter(items)
        first = list(islice(ahead, 1))
        if first:  # otherwise no worker need be started
            yield from self._parallel(call, chain(first, ahead))

    def _parallel(self, call: _Call[T, R], items: Iterator[T]) -> Generator[_Outcome[R], None, None]:
        joblib = require("joblib", "cluster" if self.kind == "dask" else "train")
        tasks = _Tasks(joblib.delayed(call), call.describe, items)
        with self._configured(joblib) as died:
            results = joblib.Parallel(n_jobs=self.jobs or -1, return_as="generator", max_nbytes=None)(tasks)
            try:
                for outcome in results:
                    tasks.unfinished.popleft()
                    yield outcome
            except died as error:
                raise WorkError(_death(str(error), tasks.unfinished)) from error
            except PicklingError as error:
                raise WorkError(
                    "the work cannot be sent to another process; do it in this one: --backend serial"
                ) from error
            finally:
                _close(results)
        if tasks.error is not None:
            raise tasks.error

    @contextmanager
    def _configured(self, joblib: ModuleType) -> Iterator[tuple[type[Exception], ...]]:
        """Have joblib use this backend; yield what it raises when a worker dies."""
        if self.kind == "dask":
            require("distributed", "cluster")
            dask = importlib.import_module("preloader.learning.dask_backend")
            with dask.connected(self.scheduler) as settings, joblib.parallel_config(dask.NAME, **settings):
                yield (WorkError,)
        elif self.kind == "threading":
            with joblib.parallel_config("threading"), single_threaded():
                yield ()
        else:
            executor = importlib.import_module("joblib.externals.loky.process_executor")
            follow = partial(_follow, os.getpid())
            with joblib.parallel_config(
                "loky", inner_max_num_threads=1, initializer=follow, idle_worker_timeout=_IDLE_S
            ):
                yield (executor.BrokenProcessPool,)


class _Outcome(msgspec.Struct, Generic[R], frozen=True):
    """What became of one item: a result, or the error that is to be raised for it."""

    name: str
    result: R | None = None
    error: PreloaderError | None = None


class _Call(Generic[T, R]):
    """A function as a worker runs it: on one thread, and with its error put into words that name the item."""

    def __init__(self, function: Callable[[T], R], describe: Callable[[T], str], kind: Kind) -> None:
        self.describe = describe
        self._function = function
        self._limit = {"serial": nullcontext, "threading": _one_openmp_thread}.get(kind, single_threaded)

    def __call__(self, item: T) -> _Outcome[R]:
        name = self.describe(item)
        try:
            with self._limit():
                return _Outcome(name, result=self._function(item))
        except Exception as error:  # whatever it is, it must reach the user with the name of the item
            return _Outcome(name, error=_named(error, name))


class _Tasks(Generic[T]):
    """The items as joblib takes them, from whichever thread it does.

    Attributes:
        unfinished: Names of the items that were taken and whose results were not yet yielded, in order.
        error: What the items' iterator raised: joblib, which may take items in a thread of its own, would lose it.
    """

    def __init__(self, delayed: Callable[[T], Any], describe: Callable[[T], str], items: Iterator[T]) -> None:
        self.unfinished: deque[str] = deque()
        self.error: BaseException | None = None
        self._delayed = delayed
        self._describe = describe
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self._items:
                self.unfinished.append(self._describe(item))
                yield self._delayed(item)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error


@contextmanager
def single_threaded() -> Iterator[None]:
    """Have BLAS, OpenMP and torch compute on one thread, as far as they are loaded."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    with _one_library_thread():
        try:
            if torch and threads != 1:
                torch.set_num_threads(1)
            yield
        finally:
            if torch and threads != 1:
                torch.set_num_threads(threads)


def _follow(parent: int) -> None:
    """Have this worker end when its parent is gone, however that ended; loky's own waits for work that never comes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _one_openmp_thread() -> AbstractContextManager[Any]:
    """Limit the calling thread, for which OpenMP counts apart, and nothing that other threads share."""
    if torch := sys.modules.get("torch"):
        torch.get_num_threads()  # what it does first in a new thread is to set that thread's number itself
    return _one_library_thread("openmp")


def _one_library_thread(user_api: str | None = None) -> AbstractContextManager[Any]:
    if importlib.util.find_spec("threadpoolctl") is None:  # it comes with scikit-learn
        return nullcontext()
    limited: AbstractContextManager[Any] = importlib.import_module("threadpoolctl").threadpool_limits(1, user_api)
    return limited


def _close(results: Generator[Any, None, None]) -> None:
    """End the work, finished or not; that joblib advises against leaving some undone is no news here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        results.close()


def _named(error: Exception, name: str) -> PreloaderError:
    """Return the error as it is told: of its own type where it is meant for users, with the item it happened to."""
    try:
        told = type(error)(f"{name}: {error}") if isinstance(error, PreloaderError) else None
    except TypeError:  # its type wants more than a message
        told = None
    told = told or WorkError(f"{name}: {type(error).__name__}: {error}")
    told.add_note("".join(traceback.format_exception(error)))
    return told


def _death(error: str, unfinished: Sequence[str]) -> str:
    why = error.partition("\n")[0].partition(". ")[0] or "it does not say why"
    first = f"{unfinished[0]} or one of the {len(unfinished) - 1} after it" if unfinished else "its last item"
    return f"a worker died at {first}, perhaps for want of memory; try again with fewer --jobs ({why})"
