"""Component registries in TOML::

[components.tts]
loader = "python:voices.load:german"   # or "simulated", or "file:voices/de.bin", relative to this file
unload = "voices.load:close"           # python only, optional: a function of the value
bytes = 210_000_000                    # a file may leave it out: its size is taken
load_s = 1.4                           # a file may leave it out: it is guessed from the size
requires = ["audio_base"]
conflicts = ["tts_large"]
priority = 1.0
mode = "mmap"                          # file only: "read", the default, or "mmap"
"""  # noqa: D415

from __future__ import annotations

from pathlib import Path

import msgspec

from preloader.components.component import Component
from preloader.components.confined import check_name
from preloader.components.contents import MODES, ConfinedFiles, Mode, estimated_cost
from preloader.components.loaders import FileLoader, Loader, PythonLoader, Simulated, SimulatedLoader, is_reference
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.toml import TomlDocument
from preloader.toml_lines import Keys

_LOADERS = "'simulated', 'python:package.module:function' or 'file:relative/path'"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    components: dict[str, object]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """A component as it is written: types are checked here, ranges by `Component`."""

    loader: str
    bytes: int | None = None
    load_s: float | None = None
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    priority: float = 1.0
    mode: str | None = None
    unload: str | None = None


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
        kind, _, target = table.loader.partition(":")
        for field, owner in (("mode", "file"), ("unload", "python")):
            if getattr(table, field) is not None and kind != owner:
                raise self._error(f"is only for loader = '{owner}:…', not for {table.loader!r}", field)
        if kind == "file":
            return self._file(target)
        for field in ("bytes", "load_s"):
            if getattr(table, field) is None:
                raise self._error("is missing: only a file's can be told without it", field)
        assert table.bytes is not None
        assert table.load_s is not None
        return self._component(self._loader(kind, target, table.bytes, table.load_s), table.bytes, table.load_s)

    def _loader(self, kind: str, target: str, size: int, load_s: float) -> Loader:
        if self._table.loader == "simulated":
            return SimulatedLoader(Simulated(self._name, size), load_s)
        if kind != "python" or not is_reference(target):
            raise self._error(f"must be {_LOADERS}, not {self._table.loader!r}", "loader")
        release = self._table.unload
        if release is not None and not is_reference(release):
            raise self._error(f"must be 'package.module:function', not {release!r}", "unload")
        return PythonLoader(target, release)

    def _file(self, name: str) -> Component:
        mode = self._table.mode or "read"
        if mode not in MODES:
            raise self._error(f"must be {' or '.join(map(repr, MODES))}, not {mode!r}", "mode")
        try:
            check_name(name)
        except UnknownResourceError as error:
            raise self._error(str(error), "loader") from None
        expected = estimated_cost(self._size(name) if self._table.bytes is None else self._table.bytes)
        load_s = expected.seconds if self._table.load_s is None else self._table.load_s
        return self._component(FileLoader(ConfinedFiles(self._root, _mode(mode)), name), expected.bytes, load_s)

    def _size(self, name: str) -> int:
        try:
            return (self._root / name).stat().st_size
        except OSError as error:
            reason = f"{name!r} cannot be looked at ({error.strerror}): correct it, or give bytes if it is made later"
            raise self._error(reason, "loader") from None

    def _component(self, loader: Loader, size: int, load_s: float) -> Component:
        return Component(
            name=self._name,
            loader=loader,
            bytes=size,
            load_s=load_s,
            requires=self._table.requires,
            conflicts=self._table.conflicts,
            priority=self._table.priority,
            at=self._at,
        )

    def _at(self, *keys: str | int) -> str:
        return self._document.place((*self._keys, *keys))

    def _error(self, reason: str, *keys: str | int) -> ConfigurationError:
        return self._document.error((*self._keys, *keys), reason)


def _mode(mode: str) -> Mode:
    return "mmap" if mode == "mmap" else "read"
