"""Calls of the standard library and of well-known packages that block the event loop, made by coroutines themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from preloader.workspace.graph.facts import BlockingCall
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
_OTHER_CODE = frozenset({"class_definition", "function_definition", "lambda"})  # runs when it is called, not here


def blocking_calls(source: Source, coroutines: Iterable[Node], bound: Mapping[str, str]) -> tuple[BlockingCall, ...]:
    """Return the calls within coroutines that block, in the order of the text.

    What a coroutine hands to a thread is not called there (``to_thread(open, …)``, a lambda), and what it awaits does
    not block. A method of a path is certain where the path is made in the same expression.

    Args:
        source: The file.
        coroutines: Its asynchronous functions.
        bound: The full name behind each name that an import binds.

    Raises:
        Interrupted: The budget was spent.
    """
    return tuple(call for coroutine in coroutines for call in _within(source, coroutine, bound))


def _within(source: Source, coroutine: Node, bound: Mapping[str, str]) -> Iterable[BlockingCall]:
    body = coroutine.child_by_field_name("body")
    if body is None:
        return
    function = source.field(coroutine, "name")[:MAX_NAME]
    awaited: set[int] = set()
    for node in walk(source, lambda kind: kind not in _OTHER_CODE, body):
        if node.type == "await":
            awaited.update(child.id for child in node.named_children)
        elif node.type == "call" and node.id not in awaited:
            name, certain = _called(source, node, bound)
            if name:
                yield BlockingCall(line_of(node), name, function, certain)


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
