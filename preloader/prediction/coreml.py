"""Runs a network's CoreML model, on macOS, on whichever of CPU, GPU and Neural Engine the system chooses."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from preloader.errors import BundleError, require
from preloader.ndarray import NDArray

COMPUTE_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
_MAX_MESSAGE = 300


class CoreMLRuntime:
    """A `preloader.prediction.runtime.Runtime` over ``coremltools.models.MLModel``.

    The exported program has a batch of one, which the Neural Engine asks for. Several rows are one batch call, in which
    CoreML overlaps them. CoreML wants a model to be used by one thread at a time, so a lock sees to that.

    Args:
        path: The ``.mlpackage``.
        model: What stands in for ``MLModel`` where there is none; it needs ``get_spec`` and ``predict``.
        compute_units: Where it may be computed, one of `COMPUTE_UNITS`.

    Raises:
        BundleError: It is no CoreML model, or this is not macOS.
        MissingExtraError: coremltools is not installed.
    """

    name = "coreml"

    def __init__(self, path: Path | str, model: Any = None, *, compute_units: str = "ALL") -> None:
        self._model = _open(Path(path), compute_units) if model is None else model
        self.inputs = tuple(one.name for one in self._model.get_spec().description.input)
        self._lock = threading.Lock()

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], name: str, *, compute_units: str = "ALL") -> CoreMLRuntime:
        """Return a runtime over a package among a bundle's files, so that just what was checked is opened.

        Args:
            files: The bundle's files, as `preloader.prediction.bundle.Bundle.files`.
            name: The package's name, such as ``model.mlpackage``.
            compute_units: As above.

        Raises:
            BundleError: There is no such package; and as above.
            MissingExtraError: As above.
        """
        parts = {file: data for file, data in files.items() if file.startswith(f"{name}/")}
        if not parts:
            raise BundleError(f"the bundle has no {name}")
        with TemporaryDirectory() as folder:  # CoreML compiles the package into a place of its own as it opens it
            for file, data in parts.items():
                place = Path(folder, file)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            return cls(Path(folder, name), compute_units=compute_units)

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the network's outputs, as `Runtime.run` says."""
        if inputs.keys() != set(self.inputs):
            raise BundleError(f"the CoreML model takes {', '.join(self.inputs)}, not {', '.join(inputs) or 'nothing'}")
        count = min(map(len, inputs.values()))
        rows = [{name: array[row : row + 1] for name, array in inputs.items()} for row in range(count)]
        try:
            with self._lock:
                said = self._model.predict(rows) if count > 1 else [self._model.predict(row) for row in rows]
        except Exception as error:  # coremltools raises bare ones
            raise BundleError(f"the CoreML model fails on its inputs: {_sentence(error)}") from error
        return {name: np.concatenate([row[name] for row in said]) for name in said[0]} if said else {}


def _open(path: Path, compute_units: str) -> Any:
    if compute_units not in COMPUTE_UNITS:
        raise BundleError(f"compute_units must be one of {', '.join(COMPUTE_UNITS)}, not {compute_units!r}")
    if platform.system() != "Darwin":
        raise BundleError(f"{path} is a CoreML model, which only macOS runs; the same bundle's ONNX model runs here")
    coremltools = require("coremltools", "coreml")
    try:
        return coremltools.models.MLModel(str(path), compute_units=getattr(coremltools.ComputeUnit, compute_units))
    except Exception as error:  # as above
        raise BundleError(f"{path} is no CoreML model that can be run: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_MESSAGE]
