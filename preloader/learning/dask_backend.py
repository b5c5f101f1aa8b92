"""joblib on a Dask cluster, made to end when the cluster cannot go on. The one place where Dask is imported.

joblib's own Dask backend waits for ever for a task whose workers were killed, and for workers that never come back:
neither failure reaches the code that waits. `WatchedDask` passes both on.

A cluster runs what its members send it: use one whose members you trust, over TLS (``tls://…``) beyond one machine.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from distributed import Client
from joblib import register_parallel_backend
from joblib._dask import DaskDistributedBackend

from preloader.errors import ConfigurationError, WorkError

NAME = "preloader-dask"
"""The backend's name in joblib."""

PATIENCE_S = 30.0
"""How long a cluster may be without any worker before the work is given up."""

_CONNECT_S = 10.0
_LOOK_S = 0.5


class WatchedDask(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
    """joblib's Dask backend, with failures of the cluster passed on to whoever waits for results.

    Args:
        patience_s: How long the cluster may be without any worker.
        settings: As joblib's backend takes them.
    """

    def __init__(self, *, patience_s: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._patience_s = patience_s

    def start_call(self) -> None:
        """Begin to collect results, and to watch the workers."""
        super().start_call()
        self.client.loop.add_callback(self._watch)

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return how many threads the workers have, and never 1: joblib would then do the work here."""
        return max(2, int(super().effective_n_jobs(n_jobs)))

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return a result, or raise the failure that stands in its place."""
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)

    async def _collect(self) -> None:
        while self._continue:
            async for future, result in self.waiting_futures:
                if future.status == "finished":
                    self._end(future, result)
                else:
                    self._end(future, _lost(_why(future.status, result)))
            await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        """Fail what is still awaited once there has been no worker, or no scheduler, for too long."""
        clock = asyncio.get_running_loop().time
        seen_s = clock()
        while self._continue:
            if await self._has_workers():
                seen_s = clock()
            elif clock() - seen_s > self._patience_s:
                for future in list(self._callbacks):
                    self._end(future, _lost(f"the cluster has been without workers for {self._patience_s:.0f} s"))
            await asyncio.sleep(_LOOK_S)

    async def _has_workers(self) -> bool:
        try:
            return bool(await asyncio.wait_for(self.client.scheduler.ncores(), _CONNECT_S))
        except (OSError, TimeoutError):
            return False

    def _end(self, future: Any, result: Any) -> None:
        waiting, callback = self._results.pop(future, None), self._callbacks.pop(future, None)
        if waiting is None or callback is None:  # it was aborted, or given up, before
            return
        waiting.set_result(result)
        callback(result)


@contextmanager
def connected(scheduler: str) -> Iterator[dict[str, Any]]:
    """Connect to a scheduler that has workers; on leaving, what was submitted and not finished is cancelled.

    Yields:
        What `joblib.parallel_config` takes besides the backend's `NAME`.

    Raises:
        ConfigurationError: The address is wrong, nothing answers there, or it has no workers.
    """
    client = _client(scheduler)
    try:
        _await_worker(client, scheduler)
        register_parallel_backend(NAME, WatchedDask)
        yield {"client": client, "patience_s": PATIENCE_S}
    finally:
        client.close()


def _client(scheduler: str) -> Any:
    make: Callable[..., Any] = Client  # its methods have no types
    try:
        place = urlsplit(scheduler)
        if place.scheme not in ("tcp", "tls") or not place.hostname or not place.port:
            raise ValueError("it is not of the form tcp://host:port or tls://host:port")
        socket.create_connection(
            (place.hostname, place.port), _CONNECT_S
        ).close()  # a Client that fails blocks for long
        return make(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--scheduler {scheduler!r} does not answer as a Dask scheduler: {error}") from error


def _await_worker(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except TimeoutError as error:
        raise ConfigurationError(
            f"--scheduler {scheduler!r} has no workers; start some with: dask worker {scheduler}"
        ) from error


def _why(status: str, result: Any) -> str:
    """Say what became of a task that did not finish: what it raised, or else its state."""
    error = result[1] if isinstance(result, tuple) else result
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else f"a task was {status}"


def _lost(why: str) -> WorkError:
    return WorkError(why)
