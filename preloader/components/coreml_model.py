"""A CoreML model, opened with coremltools. On macOS only: elsewhere it is refused in one sentence."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from preloader.components.blocking import make_or_release
from preloader.components.confined import check_name
from preloader.components.contents import estimated_cost
from preloader.errors import LoadError, UnknownResourceError, require
from preloader.ports import Cost, Executor, Loaded

_MAX_MESSAGE = 300

Stamps = tuple[tuple[str, int, int], ...]
"""Path, size and time of change of each file of a package."""


class CoreMLLoader:
    """Opens an ``.mlpackage`` or ``.mlmodel``; the value is a ``coremltools.models.MLModel``.

    Args:
        root: The directory that names are relative to.
        name: The package's path beneath it.
        compute_units: Where it may be computed: ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE.
    """

    immutable = False

    def __init__(self, root: Path, name: str, compute_units: str = "ALL") -> None:
        self._root = root.resolve()
        self._name = name
        self._compute_units = compute_units
        self._stamps: Stamps = ()

    def expected(self, size: int | None = None) -> Cost:
        """Return what loading it is expected to cost, from its size at present."""
        return estimated_cost(sum(one for _, one, _ in self._look()) if size is None else size)

    async def load(self, executor: Executor) -> Loaded:
        """Return the model and the bytes of its files.

        Raises:
            LoadError: This is not macOS, or coremltools cannot open it.
            UnknownResourceError: There is no such model.
            MissingExtraError: coremltools is not installed.
        """
        return await make_or_release(executor, self._open, lambda loaded: None)

    async def unload(self, executor: Executor, value: Any) -> None:
        """Do nothing: its memory is free once nobody holds it."""

    async def is_fresh(self, executor: Executor, value: Any) -> bool:
        """Return whether the model's files are untouched."""
        return await executor.run(self._look) == self._stamps

    def _open(self) -> Loaded:
        if platform.system() != "Darwin":
            here = platform.system()
            raise LoadError(f"{self._name!r} is a CoreML model, which runs on macOS only, and this is {here}: use ONNX")
        stamps = self._look()
        coremltools = require("coremltools", "coreml")
        try:
            units = coremltools.ComputeUnit[self._compute_units]
            model = coremltools.models.MLModel(str(self._root / self._name), compute_units=units)
        except Exception as error:  # coremltools raises bare ones
            raise LoadError(
                f"{self._name!r} cannot be opened: {' '.join(str(error).split())[:_MAX_MESSAGE]}"
            ) from error
        self._stamps = stamps
        return Loaded(model, sum(size for _, size, _ in stamps))

    def _look(self) -> Stamps:
        """Return the stamps of the model's files."""
        check_name(self._name)
        place = Path(os.path.realpath(self._root / self._name))
        if not place.is_relative_to(self._root):
            raise UnknownResourceError(f"{self._name!r} leads to {place}, outside of {self._root}")
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        status = [(str(file.relative_to(self._root)), file.stat()) for file in files if file.is_file()]
        if not status:
            raise UnknownResourceError(f"there is no CoreML model {self._name!r} beneath {self._root}")
        return tuple((name, one.st_size, one.st_mtime_ns) for name, one in status)
