"""Evaluates a saved ML program in NumPy, operator by operator: what CoreML would compute, on any machine.

CoreML runs on macOS only, so this is how an export is checked elsewhere. The package is read back from disk, weights
and all, with coremltools' own reader; nothing of the network that it was made of is used. Values are stored in the type
that the program states for them, rounded to half precision where that is fp16, while each operator computes inside in
float32, as accelerators accumulate. What is constant is computed once, when the program is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from preloader.errors import ExportError, require
from preloader.learning.mil_shapes import Array
from preloader.learning.mil_steps import Compiler, dtype_of, reason_of, run, stored

_WEIGHTS = Path("Data", "com.apple.CoreML", "weights")


class MilProgram:
    """A saved ML program, ready to be evaluated.

    Attributes:
        path: The package it was loaded from.
        inputs: The shapes of its inputs by name.
        outputs: The names of its outputs.
    """

    def __init__(self, path: Path, function: Any) -> None:
        self.path = path
        self.inputs = {name: tuple(one.shape) for name, one in function.inputs.items()}
        self.outputs = tuple(var.name for var in function.outputs)
        compiler = Compiler(path)
        self._input_slots = {name: (compiler.slot(one), dtype_of(one)) for name, one in function.inputs.items()}
        self._steps = compiler.compile(function)
        self._output_slots = [(var.name, compiler.slot(var)) for var in function.outputs]
        self._constants = compiler.values

    @classmethod
    def load(cls, path: Path | str) -> MilProgram:
        """Return the program of an ``.mlpackage``.

        Raises:
            ExportError: It is damaged, or has an operator that is not known here.
            MissingExtraError: coremltools is not installed.
        """
        path = Path(path)
        logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns, as it is imported, of all newer libraries
        ct = require("coremltools", "train")
        milproto = require("coremltools.converters.mil.frontend.milproto.load", "train")
        try:
            spec = ct.utils.load_spec(str(path))
            program = milproto.load(spec, spec.specificationVersion, str(path / _WEIGHTS))
            function = program.functions["main"]
        except Exception as error:  # the reader raises whatever it meets
            raise ExportError(f"{path} is no ML program that can be read: {reason_of(error)}") from error
        return cls(path, function)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the program's outputs by name.

        Args:
            inputs: An array for each of `inputs`, of just that shape.

        Raises:
            ExportError: They are other arrays, or an operator cannot be applied to what reaches it.
        """
        if inputs.keys() != self.inputs.keys():
            raise ExportError(f"{self.path} takes {', '.join(self.inputs)}, not {', '.join(inputs) or 'nothing'}")
        values = self._constants.copy()
        for name, (slot, dtype) in self._input_slots.items():
            if inputs[name].shape != self.inputs[name]:
                raise ExportError(
                    f"{self.path} takes {name!r} of the shape {self.inputs[name]}, not {inputs[name].shape}"
                )
            values[slot] = stored(inputs[name], dtype)
        with np.errstate(all="ignore"):  # an infinity or NaN is a result like any other, and is compared as one
            run(self._steps, values)
        return {name: values[slot] for name, slot in self._output_slots}

    def run_rows(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of a program with a batch of one for several rows, each evaluated by itself.

        Raises:
            ExportError: As `run`.
        """
        count = min(map(len, inputs.values()))
        said = [self.run({name: array[row : row + 1] for name, array in inputs.items()}) for row in range(count)]
        return {name: np.concatenate([one[name] for one in said]) for name in self.outputs}
