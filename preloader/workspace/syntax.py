"""Whether a file can be parsed at all: the first thing that an edit breaks. Nothing of it is executed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from preloader.errors import LoadError
from preloader.workspace import isolated
from preloader.workspace.files import SourceFile
from preloader.workspace.graph.languages import support_for
from preloader.workspace.graph.parsing import GRAMMARS
from preloader.workspace.reading import Reading

_SCRIPT = str(Path(isolated.__file__))
# What its programs read with comments and trailing commas: no JSON, and well.
_WITH_COMMENTS = re.compile(
    r"(?:^|/)(?:[jt]sconfig[^/]*|\.eslintrc|devcontainer|\.(?:vscode|devcontainer)/[^/]*)\.json$"
)


class SyntaxProblem(msgspec.Struct, frozen=True):
    """A place, from 1, at which a file cannot be parsed."""

    line: int
    column: int
    message: str


class SyntaxCheck(msgspec.Struct, frozen=True):
    """Whether a file can be parsed.

    Attributes:
        path: The file.
        checked: With what: ``python``, ``json``, ``toml`` or a grammar's module; empty where it was not checked.
        problems: Where it cannot be parsed.
    """

    path: str
    checked: str
    problems: tuple[SyntaxProblem, ...] = ()


def check_syntax(reading: Reading, path: PurePosixPath) -> SyntaxCheck:
    """Parse a file.

    Raises:
        UnknownResourceError: There is no such file, or it may not be looked at.
        LoadError: It could not be parsed in time.
    """
    source = reading.file(path)
    if source.binary or source.truncated:
        return SyntaxCheck(str(path), "")
    ending = path.suffix
    if ending in (".py", ".pyi"):
        return SyntaxCheck(str(path), "python", _asked(reading, source, {"do": "python", "name": path.name}))
    if ending == ".json" and not _WITH_COMMENTS.search(str(path)):
        return SyntaxCheck(str(path), "json", _json(source))
    if ending == ".toml":
        return SyntaxCheck(str(path), "toml", _toml(source))
    support = support_for(str(path))
    module, function = GRAMMARS[support.language] if support is not None else ("", "")
    if not module or not all(map(importlib.util.find_spec, ("tree_sitter", module))):
        return SyntaxCheck(str(path), "")
    question = {"do": "tree", "language": module, "function": function}
    return SyntaxCheck(str(path), module, _asked(reading, source, question))


def ask_isolated(
    reading: Reading, question: dict[str, Any], data: Iterable[bytes], *, max_bytes: int, timeout_s: float = 10.0
) -> tuple[list[Any], bool]:
    """Return the rows that an interpreter of its own answers, and whether there would have been more.

    Args:
        reading: The look at the workspace.
        question: What is asked.
        data: What it is about, in parts.
        max_bytes: The most bytes of the answer.
        timeout_s: How long it may take.

    Raises:
        LoadTimeoutError: It took too long.
        LoadError: It failed, or was ended since it took too much time or memory.
    """
    if not sys.executable:
        raise LoadError("there is no Python interpreter to check with: sys.executable is empty")
    stdin = b"".join((json.dumps(question).encode(), b"\n", *data))
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    output = reading.run(
        (sys.executable, "-I", "-X", "utf8", _SCRIPT),
        environment,
        stdin=stdin,
        max_bytes=max_bytes,
        timeout_s=timeout_s,
    )
    if output.code:
        last = output.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise LoadError(f"{question['do']} failed: {last or f'exit status {output.code}'}")
    lines = output.stdout.splitlines()
    return [json.loads(line) for line in (lines[:-1] if output.truncated else lines)], output.truncated


def _asked(reading: Reading, source: SourceFile, question: dict[str, Any]) -> tuple[SyntaxProblem, ...]:
    rows, _ = ask_isolated(reading, question, [source.data], max_bytes=100_000)
    return tuple(SyntaxProblem(*row) for row in rows)


def _json(source: SourceFile) -> tuple[SyntaxProblem, ...]:
    try:
        msgspec.json.decode(source.data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        message, _, at = str(error).partition(" (byte ")
        offset = int(at.rstrip(")")) if at.rstrip(")").isdigit() else 0
        before = source.data[:offset]
        return (SyntaxProblem(before.count(b"\n") + 1, offset - before.rfind(b"\n"), message),)
    return ()


def _toml(source: SourceFile) -> tuple[SyntaxProblem, ...]:
    try:
        tomllib.loads(source.text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        message, _, at = str(error).partition(" (at line ")
        line, _, column = at.rstrip(")").partition(", column ")
        return (SyntaxProblem(int(line) if line.isdigit() else 1, int(column) if column.isdigit() else 1, message),)
    except RecursionError:
        return (SyntaxProblem(1, 1, "it is nested too deeply"),)
    return ()
