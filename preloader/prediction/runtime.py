"""What runs a learned network: arrays in, arrays out. `OnnxRuntime` does everywhere, `CoreMLRuntime` on macOS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from preloader.errors import BundleError
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


def checked_output(said: Mapping[str, NDArray[np.generic]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an output of a network, once it is known to be what is asked of it.

    Args:
        said: What `Runtime.run` returned.
        name: Which output.
        shape: What its shape must be.

    Raises:
        BundleError: It is missing, of another shape or type, or holds what is no number.
    """
    output = said.get(name)
    if output is None or output.shape != shape:
        found = "missing" if output is None else f"of shape {output.shape}"
        raise BundleError(f"the network's output {name!r} is {found}, and its state asks for {shape}")
    if not np.issubdtype(output.dtype, np.floating):
        raise BundleError(f"the network's output {name!r} is of type {output.dtype}, and must be of floats")
    if not np.isfinite(output).all():
        raise BundleError(f"the network's output {name!r} holds what is no number")
    return output.astype(np.float64)
