"""What every adapter tells a workspace of its agent's session, and what the workspace answers in place of tools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from preloader.errors import (
    ClosedError,
    ConfigurationError,
    PreloaderError,
    RefusedCallError,
    RefusedPathError,
    UnknownResourceError,
)
from preloader.telemetry import logger
from preloader.workspace.builtin_tools import FileText
from preloader.workspace.commands import CommandOutput
from preloader.workspace.files import SourceFile
from preloader.workspace.mentions import Source
from preloader.workspace.next_action import action_of_call
from preloader.workspace.stream import PATH_FIELDS
from preloader.workspace.workspace import Workspace

Told = Callable[[str, Any], str | None]
"""Says what a tool of a name would tell the model of a result; ``None`` leaves the call to the tool itself."""


def plainly(tool: str, result: Any) -> str | None:
    """Return a result as a plain tool tells it: a file's text, a program's output, all else as JSON.

    Of a file that is binary, or of which the workspace holds the head alone, and of an output that was cut, there is
    nothing to tell.
    """
    match result:
        case str():
            return result
        case SourceFile():
            return None if result.binary or result.truncated else result.text
        case FileText():  # of lines that were asked for
            return result.text if result.encoding else None
        case CommandOutput():
            return None if result.truncated else result.stdout + result.stderr
        case _:
            return msgspec.json.encode(result).decode()


class AgentSession:
    """One agent's session with a workspace, whatever framework runs the agent.

    What is told is harmless: it fails at debug level only, so that the agent goes on where its workspace was closed.

    Args:
        workspace: It, running.
        reads: The tools that return a whole file, and which argument of each is the path; such a call is answered
            with the file if it has no other argument.
        calls: The tools on the workspace's catalogue whose calls are answered with what they would return.
        edits: Tools that write files, and which argument is the path, beyond those of usual names (``write_file``).
        told: What a tool of these would tell the model of a result: the workspace answers as the tool itself would.

    Raises:
        ConfigurationError: A tool of ``calls`` is not on the catalogue, or has side effects; or one of ``reads`` is on
            it, too, so that all that it reads would be prepared twice.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        reads: Mapping[str, str] | None = None,
        calls: Collection[str] = (),
        edits: Mapping[str, str] | None = None,
        told: Told = plainly,
    ) -> None:
        self.workspace = workspace
        self.reads = dict(reads or {})
        self.calls = frozenset(calls)
        self._edits = dict(edits or {})
        self._told = told
        self._check()

    def asked(self, text: str) -> None:
        """Begin a query: the user says something.

        Raises:
            ClosedError: The workspace is not running.
        """
        self.workspace.new_query(text)

    def heard(self, text: str, source: Source, *, stream: str = "", last: bool = False, tool: str = "") -> None:
        """Feed what is said, called or returned; see `Workspace.feed`."""
        try:
            self.workspace.feed(text, source, stream=stream, last=last, tool=tool)
        except ClosedError as error:
            logger.debug("%d characters of %s are not heard: %s", len(text), source, error)

    def edited(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Say which files a call wrote, if it is one that writes files."""
        for path in self._written(tool, arguments):
            try:
                self.workspace.on_edit(path)
            except (RefusedPathError, ClosedError) as error:
                logger.debug("an edit by %s is of no interest: %s", tool, error)

    def answers(self, tool: str) -> bool:
        """Return whether calls of a tool are answered."""
        return tool in self.reads or tool in self.calls

    async def answer(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return what the tool would tell the model, as it is true now.

        Raises:
            UnknownResourceError: The call or its path is refused, or there is nothing that could be told.
            LoadError: The call failed.
            ClosedError: The workspace is not running.
        """
        if tool in self.reads:
            result: Any = await self.workspace.read_file(self._path(tool, arguments))
        else:
            result = await self.workspace.call_tool(tool, arguments)
        text = self._told(tool, result)
        if text is None:
            raise UnknownResourceError(f"a call of {tool!r} returned what is not told to a model")
        return text

    async def answer_or_none(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """Return what the tool would tell the model; ``None`` where the tool itself has to say it."""
        if not self.answers(tool):
            return None
        try:
            return await self.answer(tool, arguments)
        except PreloaderError as error:
            logger.debug("a call of %s is left to the tool: %s", tool, error)
            return None

    def _path(self, tool: str, arguments: Mapping[str, Any]) -> str:
        argument = self.reads[tool]
        given = {name: value for name, value in arguments.items() if value is not None}
        path = given.pop(argument, None)
        if given or not isinstance(path, str):
            raise RefusedCallError(f"a call of {tool!r} is answered if {argument!r} is a path, and its only argument")
        return path

    def _written(self, tool: str, arguments: Mapping[str, Any]) -> Iterator[str]:
        if tool in self._edits:
            fields = [self._edits[tool]]
        elif action_of_call(tool, arguments) == "edit":
            fields = [name for name in arguments if name in PATH_FIELDS]
        else:
            return
        for field in fields:
            value = arguments.get(field)
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))

    def _check(self) -> None:
        catalogue = self.workspace.providers.tools.catalogue
        for name in sorted(self.calls):
            try:
                catalogue.ahead(name)
            except RefusedCallError as error:
                raise ConfigurationError(f"calls must be of listed tools: {error}", field="calls") from None
        twice = next((tool.name for tool in catalogue if tool.name in self.reads), None)
        if twice is not None:
            raise ConfigurationError(
                f"reads has {twice!r}, which is on the workspace's catalogue, too, and would be prepared twice: "
                "leave it out of one",
                field="reads",
            )
