"""The tools that come with this package: they read, confined to the workspace, and all but git's start no program."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import msgspec

from preloader.workspace import git_facts
from preloader.workspace.arguments import Argument
from preloader.workspace.reading import Entry, Reading
from preloader.workspace.search import find_files, grep

_MOST_LINES = 2_000


class FileText(msgspec.Struct, frozen=True):
    """Lines of a file.

    Attributes:
        path: The file.
        text: The lines that were asked for; empty where the file is binary.
        encoding: How they were decoded; empty where the file is binary.
        size: How many bytes the file has.
        truncated: Whether lines were left out after these.
    """

    path: str
    text: str
    encoding: str
    size: int
    truncated: bool = False


def read_file(reading: Reading, arguments: Mapping[str, Any]) -> FileText:
    """Return lines of a file, from 1."""
    source = reading.file(arguments["path"])
    if source.binary:
        return FileText(source.path, "", "", source.size, source.truncated)
    first, count = arguments["offset"] - 1, arguments["limit"]
    lines = io.StringIO(source.text, newline="\n")  # no other character ends a line, as in a search
    shown = "".join(islice(lines, first, first + count))
    cut = source.truncated or bool(lines.readline())
    return FileText(source.path, shown, source.encoding, source.size, cut)


def list_directory(reading: Reading, arguments: Mapping[str, Any]) -> list[Entry]:
    """Return a directory's entries, without those that may not be looked at."""
    return reading.entries(arguments["path"])


def _glob(reading: Reading, arguments: Mapping[str, Any]) -> Any:
    return find_files(reading, arguments["pattern"], PurePosixPath(arguments["path"]))


def _grep(reading: Reading, arguments: Mapping[str, Any]) -> Any:
    return grep(
        reading,
        arguments["pattern"],
        PurePosixPath(arguments["path"]),
        glob=arguments["glob"],
        ignore_case=arguments["ignore_case"],
        fixed=arguments["fixed"],
        most=arguments["limit"],
    )


def _git_status(reading: Reading, arguments: Mapping[str, Any]) -> Any:
    return git_facts.status(reading)


def _git_diff(reading: Reading, arguments: Mapping[str, Any]) -> Any:
    return git_facts.diff(reading, _path_or_none(arguments))


def _git_log(reading: Reading, arguments: Mapping[str, Any]) -> Any:
    return git_facts.log(reading, _path_or_none(arguments), arguments["limit"])


def _path_or_none(arguments: Mapping[str, Any]) -> PurePosixPath | None:
    return None if arguments["path"] == "." else PurePosixPath(arguments["path"])


_TOP = Argument(type="path", default=".")

BUILTIN = {
    "read_file": (
        read_file,
        {
            "path": Argument(type="path", required=True),
            "offset": Argument(type="integer", default=1, least=1),
            "limit": Argument(type="integer", default=_MOST_LINES, least=1, most=_MOST_LINES),
        },
        0.001,
    ),
    "list_directory": (list_directory, {"path": _TOP}, 0.001),
    "glob": (_glob, {"pattern": Argument(type="glob", required=True, least=1), "path": _TOP}, 0.05),
    "grep": (
        _grep,
        {
            "pattern": Argument(type="string", required=True, least=1, most=1_000),
            "path": _TOP,
            "glob": Argument(type="glob", default=""),
            "ignore_case": Argument(type="boolean", default=False),
            "fixed": Argument(type="boolean", default=False),
            "limit": Argument(type="integer", default=200, least=1, most=2_000),
        },
        0.2,
    ),
    "git_status": (_git_status, {}, 0.05),
    "git_diff": (_git_diff, {"path": _TOP}, 0.05),
    "git_log": (_git_log, {"path": _TOP, "limit": Argument(type="integer", default=20, least=1, most=500)}, 0.05),
}
"""By name: what runs it, its arguments, and how many seconds it is expected to take."""
