"""Runs a network's ONNX model with onnxruntime, on one thread of the CPU."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from preloader.errors import BundleError, require
from preloader.ndarray import NDArray
from preloader.onnx_file import OPERATORS, check_onnx

_FATAL_ONLY = 4
_MAX_MESSAGE = 300


class OnnxRuntime:
    """A `preloader.prediction.runtime.Runtime` over onnxruntime.

    A prediction takes well under a millisecond, so one thread computes it, and none spins for the next.

    Args:
        model: The ONNX model. It must be whole in itself.
        operators: What operators it may have; ``None``, for a model that its user put there, for all of ONNX's own.

    Raises:
        BundleError: It is damaged, reaches out of itself, has other operators, or is no model that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.
    """

    name = "onnx"

    def __init__(self, model: bytes, operators: Collection[str] | None = OPERATORS) -> None:
        check_onnx(model, operators)
        onnxruntime = require("onnxruntime", "onnx")
        try:
            self._session = onnxruntime.InferenceSession(
                model, _options(onnxruntime), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise BundleError(f"the ONNX model cannot be run: {_sentence(error)}") from error
        self.inputs = tuple(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the network's outputs, as `Runtime.run` says."""
        if inputs.keys() != set(self.inputs):
            raise BundleError(f"the ONNX model takes {', '.join(self.inputs)}, not {', '.join(inputs) or 'nothing'}")
        try:
            values = self._session.run(self.outputs, dict(inputs))
        except Exception as error:  # as above
            raise BundleError(f"the ONNX model fails on its inputs: {_sentence(error)}") from error
        return dict(zip(self.outputs, values, strict=True))


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY  # what goes wrong is raised
    # onnxruntime's own format, which it would tell by a few bytes, is not what was checked
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_MESSAGE]
