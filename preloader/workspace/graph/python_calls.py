"""Calls of the standard library and of well-known packages that block the event loop, made by coroutines themselves."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import BlockingCall, HelperCall
from preloader.workspace.graph.parsing import Source, walk
from preloader.workspace.graph.reading import MAX_NAME, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

_VERBS = "delete get head options patch post put request"
_MODULES = {
    "builtins": "input open",
    "bz2": "open",
    "codecs": "open",
    "concurrent.futures": "wait",
    "fileinput": "input",
    "glob": "glob",
    "gzip": "open",
    "http.client": "HTTPConnection HTTPSConnection",
    "httpx": f"{_VERBS} stream",
    "io": "open open_code",
    "lzma": "open",
    "numpy": "genfromtxt load loadtxt save savetxt savez",
    "os": "listdir makedirs open popen read remove removedirs rename replace scandir system wait waitpid walk write",
    "pandas": "read_csv read_excel read_json read_parquet read_sql",
    "psycopg2": "connect",
    "pymysql": "connect",
    "requests": f"{_VERBS} Session session",
    "shutil": "copy copy2 copyfile copytree make_archive move rmtree unpack_archive",
    "smtplib": "SMTP SMTP_SSL",
    "socket": "create_connection getaddrinfo gethostbyaddr gethostbyname",
    "sqlite3": "connect",
    "subprocess": "call check_call check_output getoutput getstatusoutput run",
    "tarfile": "open",
    "time": "sleep",
    "urllib.request": "urlopen urlretrieve",
    "urllib3": "request",
    "zipfile": "ZipFile",
}
BLOCKING = frozenset(f"{module}.{name}" for module, names in _MODULES.items() for name in names.split())
"""Full names of functions that wait for a disk, a network, another process or the clock."""

_PATH_METHODS = frozenset(["open", "read_bytes", "read_text", "write_bytes", "write_text"])
_PATHS = frozenset({"pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath"})
_TELLING = _PATH_METHODS - {"open"}  # hardly anything but a path has these
_BUILTINS = frozenset({"input", "open"})
_NAMES = {name.rpartition(".")[2] for name in BLOCKING} | _PATH_METHODS
_HINT = re.compile(rb"\b(?:" + "|".join(sorted(_NAMES)).encode() + rb")\s*\(")
MAX_CALLS = 1_000
_OTHER_CODE = frozenset({"class_definition", "function_definition", "lambda"})  # runs when it is called, not here


def blocking_calls(
    source: Source, functions: Iterable[Node], bound: Mapping[str, str]
) -> tuple[list[BlockingCall], list[HelperCall]]:
    """Return the calls within functions that block, and those of others that may, in the order of the text.

    What a function hands to a thread is not called there (``to_thread(open, …)``, a lambda), what it awaits does not
    block, and a method of a path is certain where the path is made in the same expression.

    Args:
        source: The file.
        functions: Some of its functions.
        bound: The full name behind each name that an import or a definition binds.

    Raises:
        Interrupted: The budget was spent.
    """
    blocking: list[BlockingCall] = []
    others: list[HelperCall] = []
    for function in functions:
        body = function.child_by_field_name("body")
        if body is None or len(others) + len(blocking) > MAX_CALLS:
            continue
        name = source.field(function, "name")[:MAX_NAME]
        for call in _calls(source, body):
            full, certain = _called(source, call, bound)
            if full:
                blocking.append(BlockingCall(line_of(call), full, name, certain))
            elif helper := _helper(source, call, bound):
                others.append(HelperCall(line_of(call), helper, name))
    return blocking, others


def may_block(source: Source, function: Node, bound: Mapping[str, str]) -> bool:
    """Return whether a function may make a call that blocks, by its text: most need no closer look."""
    renamed = any(full in BLOCKING and not full.endswith(f".{name}") for name, full in bound.items())
    return renamed or _HINT.search(source.data, function.start_byte, function.end_byte) is not None


def _calls(source: Source, body: Node) -> Iterator[Node]:
    """Yield the calls that a function makes itself and does not await."""
    awaited: set[int] = set()
    for node in walk(source, lambda kind: kind not in _OTHER_CODE, body):
        if node.type == "await":
            awaited.update(child.id for child in node.named_children)
        elif node.type == "call" and node.id not in awaited:
            yield node


def _helper(source: Source, call: Node, bound: Mapping[str, str]) -> str:
    """Return the full name of what is called, where it may be of the workspace; else an empty name."""
    callee = call.child_by_field_name("function")
    if (
        callee is None
        or callee.type not in ("identifier", "attribute")
        or callee.end_byte - callee.start_byte > MAX_NAME
    ):
        return ""
    name = source.text(callee)
    if name.startswith(("self.", "cls.")) and name.count(".") == 1:
        return f"self.{name.partition('.')[2]}"
    full = _full_name(name, bound)
    return "" if full.partition(".")[0] in sys.stdlib_module_names else full


def _called(source: Source, call: Node, bound: Mapping[str, str]) -> tuple[str, bool]:
    """Return the full name of the blocking function that is called, and whether that is certain; else an empty name."""
    callee = call.child_by_field_name("function")
    if callee is None or callee.end_byte - callee.start_byte > MAX_NAME:
        return "", False
    if callee.type == "identifier":
        name = source.text(callee)
        full = bound.get(name, f"builtins.{name}" if name in _BUILTINS else name)
    elif callee.type == "attribute":
        holder, method = callee.child_by_field_name("object"), source.field(callee, "attribute")
        if method in _PATH_METHODS and holder is not None and holder.type == "call":
            made = _full_name(source.field(holder, "function"), bound)
            return (f"{made}.{method}", True) if made in _PATHS else ("", False)
        full = _full_name(source.text(callee), bound)
        if method in _TELLING and not full:
            return method, False
    else:
        return "", False
    return (full.removeprefix("builtins."), True) if full in BLOCKING else ("", False)


def _full_name(dotted: str, bound: Mapping[str, str]) -> str:
    first, dot, rest = dotted.partition(".")
    return bound.get(first, "") + dot + rest if first in bound else ""
