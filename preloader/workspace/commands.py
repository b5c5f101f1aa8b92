"""The operator's own tools: programs that are given as lists of arguments, and what of the workspace they read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from preloader.checks import did_you_mean, shown
from preloader.errors import ConfigurationError, RefusedCallError
from preloader.workspace.arguments import Argument
from preloader.workspace.globs import Glob, braces
from preloader.workspace.reading import Reading

MAX_OUTPUT_BYTES = 1_000_000
_PLACE = re.compile(r"(--?[\w-]{1,60}=)?\{(\w{1,60})\}")
_SHELLS = re.compile(
    r"(?:ba|z|fi|da|k|c|tc|a)?sh|cmd|powershell|pwsh|busybox|env|xargs|sudo|doas|su|eval|nohup|setsid|nice|timeout|time"
)
_NETWORK = re.compile(
    r"curl|wget|ssh|scp|sftp|rsync|nc|ncat|netcat|socat|telnet|ftp|ping|dig|nslookup|host|gh|glab|aws|gcloud|az|kubectl"
)
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
_OFFLINE = {
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://0"),
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
    "CARGO_NET_OFFLINE": "true",
    "GOPROXY": "off",
    "npm_config_offline": "true",
}


class CommandOutput(msgspec.Struct, frozen=True):
    """What a program wrote, and its exit status; a linter's is 1 where it found something."""

    stdout: str
    stderr: str
    code: int
    truncated: bool = False


class CommandTool:
    """Runs a program with a call's arguments in the places that ``{name}`` marks, each a whole argument or an option's.

    Args:
        command: The program and its arguments.
        arguments: The schema of a call's arguments.
        reads: Globs over the files that the result hangs on; all files where there are none.
        pure: Whether the result hangs on the arguments alone.

    Raises:
        ConfigurationError: The command is no list of arguments, goes through a shell or to the network, or has a place
            that no argument fills; or a glob is malformed.
    """

    def __init__(
        self, command: Sequence[str], arguments: Mapping[str, Argument], reads: Sequence[str], *, pure: bool
    ) -> None:
        _check(command, arguments)
        self._command = tuple(command)
        self._arguments = arguments
        self._pure = pure
        try:
            self._reads = [Glob(one) for pattern in reads for one in braces(pattern)]
        except ValueError as error:
            raise ConfigurationError(f"reads must be globs over paths: {error}", field="reads") from error

    def __call__(self, reading: Reading, arguments: Mapping[str, Any]) -> CommandOutput:
        """Run it.

        Raises:
            RefusedCallError: An argument would be taken for an option.
            UnknownResourceError: A path is not there, or may not be looked at.
            LoadError: It cannot be started, or not in time.
        """
        resolved = {name: self._resolved(reading, name, value) for name, value in arguments.items()}
        command = [part for place in self._command for part in self._filled(place, resolved)]
        if not self._pure:
            self._note(reading)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _OFFLINE
        output = reading.run(command, environment, max_bytes=MAX_OUTPUT_BYTES)
        return CommandOutput(
            output.stdout.decode("utf-8", "replace"),
            output.stderr.decode("utf-8", "replace"),
            output.code,
            output.truncated,
        )

    def _resolved(self, reading: Reading, name: str, value: Any) -> Any:
        """Return a path without links, since the program opens it itself, and would follow them."""
        if value is None or self._arguments[name].type != "path":
            return value
        reading.note(value)
        return f"./{reading.confined.resolve(value)}"

    def _note(self, reading: Reading) -> None:
        for path in reading.walk():
            name = str(path)
            if not self._reads or any(glob.matches(name if "/" in glob.pattern else path.name) for glob in self._reads):
                reading.note(name)

    def _filled(self, place: str, arguments: Mapping[str, Any]) -> list[str]:
        marked = _PLACE.fullmatch(place)
        if marked is None:
            return [place]
        option, name = marked[1] or "", marked[2]
        value = arguments[name]
        if value is None:
            return []
        texts = [_text(one) for one in (value if isinstance(value, list) else [value])]
        if not option and any(text.startswith("-") for text in texts):
            raise RefusedCallError(f"{name!r} must not begin with a dash, as an option does: {shown(value)}")
        return [option + text for text in texts]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(command: Sequence[str], arguments: Mapping[str, Argument]) -> None:
    if isinstance(command, str) or not command or not all(isinstance(part, str) and part for part in command):
        expected = "a list of a program and its arguments, as in ['ruff', 'check', '{path}']"
        raise ConfigurationError(f"command must be {expected}, not {shown(command)}", field="command")
    program = PurePath(command[0]).name.casefold().removesuffix(".exe")
    if _SHELLS.fullmatch(program):
        raise ConfigurationError(
            f"command must not go through {command[0]!r}: name the program itself", field="command"
        )
    if _NETWORK.fullmatch(program):
        raise ConfigurationError(f"command must not go to the network, as {command[0]!r} does", field="command")
    for part in command:
        marked = _PLACE.fullmatch(part)
        if part is command[0] and "{" in part:
            raise ConfigurationError(f"command must name its program, not {part!r}", field="command")
        if marked and marked[2] not in arguments:
            raise ConfigurationError(
                f"command has the place {part!r} and no such argument; {did_you_mean(marked[2], tuple(arguments))}",
                field="command",
            )
        if not marked and re.search(r"\{\w+\}", part):
            raise ConfigurationError(
                f"command must have {part!r} filled as a whole: '{{name}}' or '--option={{name}}'", field="command"
            )
