"""A connection to a server of the Model Context Protocol, its handshake done before it is needed.

The server is one that the operator lists: a command, started here and spoken with over its pipes, or a URL. Nothing but
the handshake is sent ahead; no tool is called.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preloader.checks import is_name, shown
from preloader.errors import ConfigurationError, LoadError, require
from preloader.ports import Cost, Executor

_CONNECTION_BYTES = 1_000_000
_CONNECT_S = 0.5
_ASKED_EVERY_S = 5.0
_MAX_MESSAGE = 300


class McpConnection:
    """The value of an MCP component.

    Attributes:
        client: The connected ``mcp.Client``: ``await connection.client.call_tool("add", {"a": 1, "b": 2})``.
    """

    def __init__(self, server: Any) -> None:
        self.client: Any = None
        self._stop = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The client has a task group of its own, which one and the same task must enter and leave: this one.
        self._task = asyncio.create_task(self._live(server), name="mcp connection")
        self._seen_s = 0.0

    async def opened(self) -> None:
        """Wait until the handshake is done; raises what it raises."""
        await asyncio.wait({self._opened, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            await self._task  # raises what went wrong
            raise LoadError("the MCP connection ended before it was open")
        self._seen_s = asyncio.get_running_loop().time()

    async def is_alive(self) -> bool:
        """Return whether the server answers; one that did in the last seconds is not asked again."""
        loop = asyncio.get_running_loop()
        if self._task.done():
            return False
        if loop.time() - self._seen_s < _ASKED_EVERY_S:
            return True
        session = self.client.session
        if session.discover_result is None:  # a server of before 2026, which was shaken hands with
            await session.send_ping()
        else:
            await session.send_discover(self.client.protocol_version)
        self._seen_s = loop.time()
        return True

    async def close(self) -> None:
        """Say goodbye; a server that was started for this is ended. Who is cancelled meanwhile leaves it no time."""
        self._stop.set()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            self.abort()
            raise
        if not self._task.cancelled():
            self._task.exception()

    def abort(self) -> None:
        """Close without waiting."""
        self._task.cancel()

    async def _live(self, server: Any) -> None:
        mcp = require("mcp", "mcp")
        async with mcp.Client(server) as self.client:
            self._opened.set_result(None)
            await self._stop.wait()


class McpLoader:
    """Connects to an MCP server.

    Args:
        server: A command as a list of a program and its arguments, or the URL of a server over streamable HTTP.
        cwd: Where a command runs.

    Raises:
        ConfigurationError: The server is neither.
    """

    immutable = False

    def __init__(self, server: Sequence[str] | str, cwd: Path | str | None = None) -> None:
        if isinstance(server, str):
            url = urlsplit(server)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ConfigurationError(f"must be a URL such as 'https://host/mcp', not {shown(server)}")
        elif not server or not all(map(is_name, server)):
            raise ConfigurationError(
                f"command must be a list of a program and its arguments, not {shown(server)}", field="command"
            )
        self._server = server if isinstance(server, str) else tuple(server)
        self._cwd = cwd

    def expected(self, size: int | None = None) -> Cost:
        """Return what connecting is expected to cost, roughly; a command's own memory is not measured."""
        return Cost(_CONNECT_S, _CONNECTION_BYTES if size is None else size)

    async def load(self, executor: Executor) -> McpConnection:
        """Connect and shake hands.

        Raises:
            LoadError: The server cannot be started or reached, or is none.
            MissingExtraError: The mcp package is not installed.
        """
        await executor.run(require, "mcp", "mcp")  # which takes a while to import
        connection = McpConnection(self._target())
        try:
            await connection.opened()
        except asyncio.CancelledError:
            connection.abort()
            with contextlib.suppress(asyncio.CancelledError):
                await connection.close()
            raise
        except Exception as error:
            reason = " ".join(str(_innermost(error)).split())[:_MAX_MESSAGE] or type(error).__name__
            raise LoadError(f"the MCP server {_shown(self._server)} cannot be connected to: {reason}") from error
        return connection

    async def unload(self, executor: Executor, value: McpConnection) -> None:
        """Close the connection."""
        await value.close()

    async def is_fresh(self, executor: Executor, value: McpConnection) -> bool:
        """Return whether the server answers still; an error means no."""
        return await value.is_alive()

    def _target(self) -> Any:
        if isinstance(self._server, str):
            return self._server
        program, *arguments = self._server
        return require("mcp", "mcp").StdioServerParameters(command=program, args=arguments, cwd=self._cwd)


def _innermost(error: BaseException) -> BaseException:
    """Return the first error inside a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _shown(server: tuple[str, ...] | str) -> str:
    """Name a server without what may be secret: a command's arguments, a URL's user, password and query."""
    if not isinstance(server, str):
        return repr(server[0])
    url = urlsplit(server)
    return repr(f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}")
