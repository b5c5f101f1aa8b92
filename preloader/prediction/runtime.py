"""What runs a learned network: arrays in, arrays out. `OnnxRuntime` does everywhere, `CoreMLRuntime` on macOS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from preloader.ndarray import NDArray


class Runtime(Protocol):
    """Runs a network.

    `run` may be called from several threads at once. It computes outside the interpreter's lock wherever the library
    beneath allows it, so that an event loop goes on meanwhile.

    Attributes:
        name: What it is called in reports: ``onnx`` or ``coreml``.
        inputs: The names of the arrays that the network takes.
    """

    name: str
    inputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return the network's outputs by name.

        Args:
            inputs: An array for each of `inputs`, of the type and shape that the network was exported for; the first
                dimension is the batch.

        Raises:
            BundleError: They are not the arrays that this network takes, or it fails on them.
        """
        ...
