"""Component registries in TOML::

[components.tts]
loader = "python:voices.load:german"   # see below; paths are relative to this file
unload = "voices.load:close"           # python only, optional: a function of the value
bytes = 210_000_000
load_s = 1.4
requires = ["audio_base"]
conflicts = ["tts_large"]
priority = 1.0

=================================  =============================================================================
``simulated``                      only claims its bytes
``python:package.module:function``  calls a function; ``unload`` names what releases its value
``file:path``                      reads a file, or maps it with ``mode = "mmap"``
``safetensors:path``               maps a file of tensors
``onnx:path``                      opens a model with onnxruntime
``coreml:path``                    opens a model with coremltools, on macOS
``http:https://host``              keeps ``connections`` (1) open, each for ``idle_s`` (60) unused
``mcp:https://host/path``          connects to an MCP server; ``mcp`` alone starts ``command = ["program", "argument"]``
``subprocess``                     starts ``command``, and waits for a line that matches ``ready``, if that is given
=================================  =============================================================================

``bytes`` and ``load_s`` may be left out where they can be told without: of files, models and connections.
"""  # noqa: D415

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from preloader.components.component import Component
from preloader.components.confined import check_name
from preloader.components.contents import MODES, ConfinedFiles, Mode
from preloader.components.coreml_model import CoreMLLoader
from preloader.components.loaders import (
    Estimating,
    FileLoader,
    Loader,
    PythonLoader,
    Simulated,
    SimulatedLoader,
    is_reference,
)
from preloader.components.mcp_connection import McpLoader
from preloader.components.onnx_model import OnnxLoader
from preloader.components.process import ProcessLoader
from preloader.components.safetensors_model import SafetensorsLoader
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.ports import Cost
from preloader.toml import TomlDocument
from preloader.toml_lines import Keys

_LOADERS = (
    "'simulated', 'python:package.module:function', 'file:path', 'safetensors:path', 'onnx:path', 'coreml:path', "
    "'http:https://host', 'mcp:https://host/path', 'mcp' or 'subprocess'"
)
_OWNERS = {
    "mode": ("file",),
    "unload": ("python",),
    "command": ("subprocess", "mcp"),
    "ready": ("subprocess",),
    "connections": ("http",),
    "idle_s": ("http",),
}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    components: dict[str, object]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """A component as it is written: types are checked here, ranges by `Component` and the loaders."""

    loader: str
    bytes: int | None = None
    load_s: float | None = None
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    priority: float = 1.0
    mode: str | None = None
    unload: str | None = None
    command: tuple[str, ...] | None = None
    ready: str | None = None
    connections: int | None = None
    idle_s: float | None = None


def read_components(path: Path | str) -> list[Component]:
    """Read the components of a TOML file; how they relate to each other is not checked.

    Raises:
        ConfigurationError: The file is wrong; the message names file, line and field.
    """
    document = TomlDocument.read(path)
    names = document.convert((), _File).components
    return [_Reader(document, name, Path(path).parent).component() for name in names]


class _Reader:
    """Reads one component, and places what is wrong with it."""

    def __init__(self, document: TomlDocument, name: str, root: Path) -> None:
        self._document = document
        self._name = name
        self._root = root
        self._keys: Keys = ("components", name)
        if not isinstance(document.value(self._keys), dict):
            raise self._error("must be a table, [components.NAME]")
        self._table = document.convert(self._keys, _Table)

    def component(self) -> Component:
        table = self._table
        kind, colon, target = table.loader.partition(":")
        for field, owners in _OWNERS.items():
            if getattr(table, field) is not None and kind not in owners:
                raise self._error(f"is only for loader = '{owners[0]}:…', not for {table.loader!r}", field)
        make = self._makers().get(kind + colon)
        if make is None:
            raise self._error(f"must be {_LOADERS}, not {table.loader!r}", "loader")
        try:
            loader = make(target)
        except ConfigurationError as error:
            raise self._of_loader(error) from None
        expected = self._expected(loader, kind, target)
        return Component(
            name=self._name,
            loader=loader,
            bytes=expected.bytes,
            load_s=expected.seconds,
            requires=table.requires,
            conflicts=table.conflicts,
            priority=table.priority,
            at=self._at,
        )

    def _makers(self) -> dict[str, Callable[[str], Loader]]:
        """Return what makes the loader of each kind, given what follows the kind."""
        table = self._table
        return {
            "simulated": lambda _: SimulatedLoader(Simulated(self._name, table.bytes or 0), table.load_s or 0.0),
            "python:": self._python,
            "file:": lambda path: FileLoader(self._files(path, self._mode()), path),
            "safetensors:": lambda path: SafetensorsLoader(self._files(path, "mmap"), path),
            "onnx:": lambda path: OnnxLoader(self._files(path, "read"), path),
            "coreml:": lambda path: CoreMLLoader(self._checked(path), path),
            "http:": self._http,
            "mcp:": self._mcp,
            "mcp": lambda _: McpLoader(self._command(), self._root),
            "subprocess": lambda _: ProcessLoader(self._command(), table.ready, self._root),
        }

    def _python(self, target: str) -> Loader:
        release = self._table.unload
        if not is_reference(target):
            raise self._error(f"must be {_LOADERS}, not {self._table.loader!r}", "loader")
        if release is not None and not is_reference(release):
            raise self._error(f"must be 'package.module:function', not {release!r}", "unload")
        return PythonLoader(target, release)

    def _http(self, origin: str) -> Loader:
        from preloader.components.http_connection import DEFAULT_IDLE_S, HttpLoader  # with http.client: 10 ms

        connections, idle_s = self._table.connections, self._table.idle_s
        return HttpLoader(
            origin,
            1 if connections is None else connections,
            idle_s=DEFAULT_IDLE_S if idle_s is None else idle_s,
        )

    def _mcp(self, url: str) -> Loader:
        if self._table.command is not None:
            raise self._error("is only for loader = 'mcp', which starts a server, not for one with a URL", "command")
        return McpLoader(url)

    def _command(self) -> tuple[str, ...]:
        if self._table.command is None:
            raise self._error("is missing: it lists the program and its arguments", "command")
        return self._table.command

    def _mode(self) -> Mode:
        mode = self._table.mode or "read"
        if mode not in MODES:
            raise self._error(f"must be {' or '.join(map(repr, MODES))}, not {mode!r}", "mode")
        return "mmap" if mode == "mmap" else "read"

    def _checked(self, name: str) -> Path:
        try:
            check_name(name)
        except UnknownResourceError as error:
            raise self._error(str(error), "loader") from None
        return self._root

    def _files(self, name: str, mode: Mode) -> ConfinedFiles:
        return ConfinedFiles(self._checked(name), mode)

    def _expected(self, loader: Loader, kind: str, target: str) -> Cost:
        """Return the declared cost, completed where it can be told without."""
        size, load_s = self._table.bytes, self._table.load_s
        if size is not None and load_s is not None:
            return Cost(load_s, size)
        if not isinstance(loader, Estimating):
            field = "bytes" if size is None else "load_s"
            raise self._error(f"is missing: of {kind!r} it cannot be told without loading", field)
        try:
            expected = loader.expected(size)
        except (OSError, UnknownResourceError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self._error(
                f"{target!r} cannot be looked at ({reason}): correct it, or give bytes if it is made later", "loader"
            ) from None
        return Cost(expected.seconds if load_s is None else load_s, expected.bytes if size is None else size)

    def _of_loader(self, error: ConfigurationError) -> ConfigurationError:
        """Return a loader's complaint in its place."""
        if str(error).startswith(self._document.path):
            return error
        return self._error(str(error).removeprefix(f"{error.field} "), error.field or "loader")

    def _at(self, *keys: str | int) -> str:
        return self._document.place((*self._keys, *keys))

    def _error(self, reason: str, *keys: str | int) -> ConfigurationError:
        return self._document.error((*self._keys, *keys), reason)
