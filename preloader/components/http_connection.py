"""HTTP connections that are open before they are needed.

What is done ahead is to resolve the name, to connect and to shake hands, with an origin that the operator has listed.
No request is sent before somebody asks for one: speculation never fetches. What a warm connection saves is one round
trip for TCP and one or two for TLS.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

import msgspec

from preloader.checks import is_number, is_whole, shown
from preloader.components.blocking import make_or_release
from preloader.errors import ConfigurationError, LoadError
from preloader.ports import Cost, Executor
from preloader.telemetry import logger

DEFAULT_IDLE_S = 60.0

_CONNECTION_BYTES = 65_536  # buffers and TLS state, roughly
_CONNECT_S = 0.2
_MAX_BODY_BYTES = 1_000_000_000
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))  # idempotent, RFC 9110, 9.2.2


class HttpResponse(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        status: Its code.
        fields: The header's fields as they came, those that repeat included; their names in lower case.
        body: All of it.
    """

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The fields by name; what is repeated is joined by commas, as RFC 9110, 5.3, has it.

        ``set-cookie`` alone does not survive that (RFC 6265, 3), for a cookie may hold commas: use `values`.
        """
        return {name: ", ".join(self.values(name)) for name, _ in self.fields}

    def values(self, name: str) -> list[str]:
        """Return what each field of a name says, in their order; nothing where there is none."""
        return [value for field, value in self.fields if field == name.lower()]


class HttpConnections:
    """The value of an HTTP component: a small pool of open connections to one origin.

    Its methods block and may be called from any thread: ``await asyncio.to_thread(api.request, "GET", "/status")``.
    A connection that the server has closed, or that was idle for too long, is replaced when it is asked for.

    Args:
        origin: ``https://host`` or ``http://host:port``.
        connections: How many to keep open.
        idle_s: After how long unused a connection is closed rather than used.
        timeout_s: Limit of connecting, and of each read.
        context: TLS settings; the system's certificates unless given.
        clock: Where the time for ``idle_s`` comes from.

    Raises:
        ConfigurationError: The origin is none, or a figure is out of its range.
    """

    def __init__(
        self,
        origin: str,
        connections: int = 1,
        *,
        idle_s: float = DEFAULT_IDLE_S,
        timeout_s: float = 10.0,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = _maker(origin, timeout_s, context)
        if not is_whole(connections, 1):
            raise ConfigurationError(f"connections must be at least 1, not {shown(connections)}", field="connections")
        if not is_number(idle_s) or idle_s <= 0:
            raise ConfigurationError(f"idle_s must be a number above 0, not {shown(idle_s)}", field="idle_s")
        self.origin = origin
        self._most = connections
        self._idle_s = idle_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []  # and since when; the latest last
        self._is_closed = False

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send a request and return the answer.

        Where a connection turns out to be closed as it is used, a request that may be repeated is, once.

        Raises:
            LoadError: There is no answer; whatever its status, an answer is none.
        """
        warm = self._take()
        try:
            try:
                return self._exchange(warm or self._connected(), method, path, body, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if warm is None or method.upper() not in _REPEATABLE:
                    raise
            return self._exchange(self._connected(), method, path, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LoadError(f"{method} {path} of {self.origin} failed: {_reason(error)}") from error

    def warm(self) -> None:
        """Open as many connections as are missing.

        Raises:
            LoadError: The origin cannot be reached, or keeps none open.
        """
        try:
            for _ in range(self._most - self.idle()):  # not until so many are idle: a server may close each at once
                self._give_back(self._connected())
        except (OSError, http.client.HTTPException) as error:
            raise LoadError(f"{self.origin} cannot be reached: {_reason(error)}") from error
        if not self.idle():
            raise LoadError(f"{self.origin} closes connections as soon as they are open, or idle_s is too short")

    def idle(self) -> int:
        """Return how many open connections wait; those that are closed by now are dropped."""
        with self._lock:
            usable = [pair for pair in self._idle if self._is_usable(*pair)]
            for connection, _ in set(self._idle) - set(usable):
                connection.close()
            self._idle = usable
            return len(usable)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when its request ends."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        connection = self._make()
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _take(self) -> http.client.HTTPConnection | None:
        self.idle()
        with self._lock:
            return self._idle.pop()[0] if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < self._most and connection.sock is not None:
                self._idle.append((connection, self._clock()))
                return
        connection.close()

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> HttpResponse:
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read(_MAX_BODY_BYTES + 1)
            if len(content) > _MAX_BODY_BYTES:
                raise ValueError(f"its answer has more than {_MAX_BODY_BYTES:,} bytes")
            answer.read()  # the end of the last chunk, so that the next answer begins where it should
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        fields = tuple((name.lower(), value) for name, value in answer.getheaders())
        return HttpResponse(answer.status, fields, content)

    def _is_usable(self, connection: http.client.HTTPConnection, since_s: float) -> bool:
        """Return whether an idle connection is open, young enough, and silent.

        TLS 1.3 sends session tickets after the handshake, so that there are bytes to read does not mean that it is
        closed: one byte is asked for, and none must be there.
        """
        sock = connection.sock
        if sock is None or self._clock() - since_s > self._idle_s:
            return False
        try:
            sock.settimeout(0.0)
            sock.recv(1)  # b"" at its end, or a byte that nobody asked for: both mean that it is of no use
        except (BlockingIOError, ssl.SSLWantReadError):
            sock.settimeout(self._timeout_s)
            return True
        except OSError as error:
            logger.debug("a connection to %s is lost: %s", self.origin, error)
        return False


class HttpLoader:
    """Opens connections ahead; arguments and errors as of `HttpConnections`."""

    immutable = False

    def __init__(
        self,
        origin: str,
        connections: int = 1,
        *,
        idle_s: float = DEFAULT_IDLE_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._make = partial(HttpConnections, origin, connections, idle_s=idle_s, context=context)
        self._make()  # so that a mistake shows at once
        self._connections = connections

    def expected(self, size: int | None = None) -> Cost:
        """Return what opening them is expected to cost, roughly."""
        return Cost(_CONNECT_S, _CONNECTION_BYTES * self._connections if size is None else size)

    async def load(self, executor: Executor) -> HttpConnections:
        """Connect; no request is sent.

        Raises:
            LoadError: The origin cannot be reached.
        """
        return await make_or_release(executor, self._open, HttpConnections.close)

    async def unload(self, executor: Executor, value: HttpConnections) -> None:
        """Close the connections."""
        await executor.run(value.close)

    async def is_fresh(self, executor: Executor, value: HttpConnections) -> bool:
        """Return whether a connection is open still."""
        return await executor.run(value.idle) > 0

    def _open(self) -> HttpConnections:
        made = self._make()
        try:
            made.warm()
        except BaseException:
            made.close()
            raise
        return made


def _maker(origin: str, timeout_s: float, context: ssl.SSLContext | None) -> Callable[[], http.client.HTTPConnection]:
    """Return what makes an unconnected connection to an origin."""
    try:
        url = urlsplit(origin)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    is_bare = origin.rstrip("/") == f"{url.scheme}://{url.netloc}" and "@" not in url.netloc
    if not host or not is_bare or url.scheme not in ("http", "https"):
        expected = "one such as 'https://api.example.com', without user, path or query"
        raise ConfigurationError(f"origin must be {expected}, not {shown(origin)}")
    if url.scheme == "http":
        return partial(http.client.HTTPConnection, host, port, timeout=timeout_s)
    return partial(
        http.client.HTTPSConnection, host, port, timeout=timeout_s, context=context or ssl.create_default_context()
    )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
