"""Stands in for coremltools' ``MLModel`` where there is no macOS: the same calls, answered by the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preloader.errors import require
from preloader.learning.mil import MilProgram
from preloader.learning.mil_shapes import Array


class MilModel:
    """What `preloader.prediction.coreml.CoreMLRuntime` needs of an ``MLModel``.

    Args:
        path: The ``.mlpackage``.

    Raises:
        ExportError: As `MilProgram.load`.
    """

    def __init__(self, path: Path | str) -> None:
        self._program = MilProgram.load(path)
        self._spec = require("coremltools", "train").utils.load_spec(str(path))

    def get_spec(self) -> Any:
        """Return the package's specification."""
        return self._spec

    def predict(
        self, data: Mapping[str, Array] | Sequence[Mapping[str, Array]]
    ) -> dict[str, Array] | list[dict[str, Array]]:
        """Return the outputs of one row, or of each of a list of them.

        Raises:
            ExportError: As `MilProgram.run`.
        """
        if isinstance(data, Mapping):
            return self._program.run(data)
        return [self._program.run(row) for row in data]
