"""An ONNX model, opened with onnxruntime after a look at what it would do.

The file is not trusted: weights in other files, operators of other domains than ONNX's own and functions of its own are
refused before onnxruntime sees it (`preloader.onnx_file`). Loops are allowed, unlike in a bundle: a model that never
ends hurts who runs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from preloader.components.blocking import make_or_release
from preloader.components.confined import open_confined
from preloader.components.contents import ConfinedFiles, Stamp
from preloader.errors import BundleError, LoadError, PreloaderError, require
from preloader.ndarray import NDArray
from preloader.onnx_file import check_onnx
from preloader.ports import Cost, Executor, Loaded
from preloader.telemetry import logger

_FATAL_ONLY = 4
_MAX_MESSAGE = 300


class OnnxModel:
    """The value of an ONNX component.

    Attributes:
        session: The ``onnxruntime.InferenceSession``.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        stamp: Which version of the file it is.
    """

    def __init__(self, session: Any, stamp: Stamp) -> None:
        self.session = session
        self.inputs = tuple(one.name for one in session.get_inputs())
        self.outputs = tuple(one.name for one in session.get_outputs())
        self.stamp = stamp

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the model's outputs by name; onnxruntime may be called from several threads at once."""
        return dict(zip(self.outputs, self.session.run(self.outputs, dict(inputs)), strict=True))


class OnnxLoader:
    """Opens an ONNX model.

    Args:
        files: Where it is.
        name: Its path beneath that root.
        providers: onnxruntime's execution providers, the preferred one first.
    """

    immutable = False

    def __init__(self, files: ConfinedFiles, name: str, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self._files = files
        self._name = name
        self._providers = tuple(providers)

    def expected(self, size: int | None = None) -> Cost:
        """Return what loading it is expected to cost, from its size at present."""
        return self._files.expected(self._name, size)

    async def load(self, executor: Executor) -> Loaded:
        """Return an `OnnxModel` and the bytes of its file, which are nearly all weights.

        Raises:
            LoadError: It is damaged, reaches out of itself, or is no model that onnxruntime can run.
            UnknownResourceError: There is no such file.
            MissingExtraError: onnxruntime is not installed.
        """
        return await make_or_release(executor, self._open, lambda loaded: None)

    async def unload(self, executor: Executor, value: OnnxModel) -> None:
        """Let go of the session: its memory is free once nobody else holds it."""
        value.session = None

    async def is_fresh(self, executor: Executor, value: OnnxModel) -> bool:
        """Return whether the file is untouched."""
        return await executor.run(partial(has_stamp, self._files, self._name, value.stamp))

    def _open(self) -> Loaded:
        onnxruntime = require("onnxruntime", "onnx")
        content = self._files.load(self._name)
        assert isinstance(content.data, bytes)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY  # what goes wrong is raised
        options.add_session_config_entry("session.load_model_format", "ONNX")  # no other is what was checked
        try:
            check_onnx(content.data, operators=None)
            session = onnxruntime.InferenceSession(content.data, options, providers=list(self._providers))
        except BundleError as error:
            raise LoadError(f"{self._name!r} is refused: {error}") from None
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise LoadError(
                f"{self._name!r} cannot be opened: {' '.join(str(error).split())[:_MAX_MESSAGE]}"
            ) from error
        return Loaded(OnnxModel(session, content.stamp), content.nbytes)


def has_stamp(files: ConfinedFiles, name: str, stamp: Stamp) -> bool:
    """Return whether a file has not been touched since its stamp was taken. Blocks."""
    try:
        descriptor = open_confined(files.root, name)
    except PreloaderError as error:
        logger.debug("%r cannot be looked at any more: %s", name, error)
        return False
    try:
        return Stamp.of(descriptor) == stamp
    finally:
        os.close(descriptor)
