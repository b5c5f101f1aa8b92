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
from typing import Any, NamedTuple, Protocol

import numpy as np

from preloader.errors import ExportError, require
from preloader.learning.mil_lstm import lstm
from preloader.learning.mil_ops import OPERATORS, Array, Operator

_OPERATORS: dict[str, Operator] = {**OPERATORS, "lstm": lstm}
_MAX_ROUNDS = 100_000
_WEIGHTS = Path("Data", "com.apple.CoreML", "weights")

_Values = list[Any]


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
        compiler = _Compiler(path)
        self._input_slots = {name: (compiler.slot(one), _dtype(one)) for name, one in function.inputs.items()}
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
            raise ExportError(f"{path} is no ML program that can be read: {_reason(error)}") from error
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
            values[slot] = _stored(inputs[name], dtype)
        with np.errstate(all="ignore"):  # an infinity or NaN is a result like any other, and is compared as one
            _run(self._steps, values)
        return {name: values[slot] for name, slot in self._output_slots}

    def run_rows(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of a program with a batch of one for several rows, each evaluated by itself.

        Raises:
            ExportError: As `run`.
        """
        count = min(map(len, inputs.values()))
        said = [self.run({name: array[row : row + 1] for name, array in inputs.items()}) for row in range(count)]
        return {name: np.concatenate([one[name] for one in said]) for name in self.outputs}


class _Runs(Protocol):
    def run(self, values: _Values) -> None: ...


class _Output(NamedTuple):
    slot: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None


class _Step(NamedTuple):
    """One operator, applied to slots of values and to constants."""

    label: str
    operator: Operator
    constants: dict[str, Any]
    slots: list[tuple[str, int]]
    lists: list[tuple[str, list[int]]]
    outputs: list[_Output]

    def run(self, values: _Values) -> None:
        given = self.constants.copy()
        for name, slot in self.slots:
            given[name] = values[slot]
        for name, slots in self.lists:
            given[name] = [values[slot] for slot in slots]
        try:
            result = self.operator(**given)
        except Exception as error:  # NumPy's own, or a parameter that the operator does not have
            raise ExportError(f"{self.label} cannot be evaluated: {_reason(error)}") from error
        results = result if isinstance(result, tuple) else (result,)
        for output, value in zip(self.outputs, results, strict=True):
            stored = _stored(value, output.dtype)
            if output.shape is not None and stored.shape != output.shape:
                raise ExportError(f"{self.label} states the shape {output.shape} and has {stored.shape}")
            values[output.slot] = stored


class _Loop(NamedTuple):
    """A ``while_loop``: what a recurrent layer becomes that has no operator of its own."""

    label: str
    initial: list[int]
    condition_inputs: list[int]
    condition: list[_Runs]
    is_on: int
    body_inputs: list[int]
    body: list[_Runs]
    body_outputs: list[int]
    outputs: list[int]

    def run(self, values: _Values) -> None:
        state = [values[slot] for slot in self.initial]
        for _ in range(_MAX_ROUNDS):
            _put(values, self.condition_inputs, state)
            _run(self.condition, values)
            if not values[self.is_on]:
                _put(values, self.outputs, state)
                return
            _put(values, self.body_inputs, state)
            _run(self.body, values)
            state = [values[slot] for slot in self.body_outputs]
        raise ExportError(f"{self.label} is not done after {_MAX_ROUNDS:,} rounds")


class _Compiler:
    """Makes steps of operations, a slot for each value, and computes what is constant."""

    def __init__(self, path: Path) -> None:
        self.values: _Values = []
        self._path = path
        self._slots: dict[int, int] = {}

    def slot(self, var: Any) -> int:
        """Return a value's place."""
        known = self._slots.get(id(var))
        if known is None:
            known = self._slots[id(var)] = len(self.values)
            self.values.append(None)
        return known

    def compile(self, block: Any) -> list[_Runs]:
        """Return the steps of a block that are not constant."""
        steps: list[_Runs] = []
        for operation in block.operations:
            if operation.op_type == "const":
                self.values[self.slot(operation.outputs[0])] = _constant(operation.outputs[0].val)
            elif operation.op_type == "while_loop":
                steps.append(self._loop(operation))
            else:
                step = self._step(operation)
                if step.slots or step.lists:
                    steps.append(step)
                else:
                    step.run(self.values)
        return steps

    def _step(self, operation: Any) -> _Step:
        operator = _OPERATORS.get(operation.op_type)
        if operator is None or operation.blocks:
            raise ExportError(
                f"{self._path} has the operator {operation.op_type!r} in {operation.name!r}, which the evaluator does "
                f"not know; it knows while_loop, {', '.join(sorted(_OPERATORS))}"
            )
        constants: dict[str, Any] = {}
        slots: list[tuple[str, int]] = []
        lists: list[tuple[str, list[int]]] = []
        for name, value in operation.inputs.items():
            if value is None:
                continue
            if isinstance(value, list | tuple):
                places = [self.slot(one) for one in value]
                if all(self.values[place] is not None for place in places):
                    constants[name] = [self.values[place] for place in places]
                else:
                    lists.append((name, places))
            elif self.values[self.slot(value)] is not None:
                constants[name] = self.values[self.slot(value)]
            else:
                slots.append((name, self.slot(value)))
        outputs = [_Output(self.slot(var), _dtype(var), _shape(var)) for var in operation.outputs]
        return _Step(
            f"{operation.op_type} {operation.name!r} of {self._path}", operator, constants, slots, lists, outputs
        )

    def _loop(self, operation: Any) -> _Loop:
        condition, body = operation.blocks
        return _Loop(
            label=f"while_loop {operation.name!r} of {self._path}",
            initial=[self.slot(var) for var in operation.loop_vars],
            condition_inputs=[self.slot(var) for var in condition.inputs],
            condition=self.compile(condition),
            is_on=self.slot(condition.outputs[0]),
            body_inputs=[self.slot(var) for var in body.inputs],
            body=self.compile(body),
            body_outputs=[self.slot(var) for var in body.outputs],
            outputs=[self.slot(var) for var in operation.outputs],
        )


def _run(steps: list[_Runs], values: _Values) -> None:
    for step in steps:
        step.run(values)


def _put(values: _Values, slots: list[int], state: list[Any]) -> None:
    for slot, value in zip(slots, state, strict=True):
        values[slot] = value


def _stored(value: Any, dtype: np.dtype[Any]) -> Array:
    """Return a value as the program stores it; half precision is rounded to, and kept in float32."""
    if dtype == np.float16:
        return np.asarray(value).astype(np.float16).astype(np.float32)
    return np.asarray(value).astype(dtype, copy=False)


def _constant(value: Any) -> Any:
    """Return a constant as operators take it: an array, or a plain number, text or truth value."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype == np.float16 else value
    if isinstance(value, np.float16):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _dtype(var: Any) -> np.dtype[Any]:
    types = require("coremltools.converters.mil.mil.types", "train")
    dtype: np.dtype[Any] = np.dtype(types.nptype_from_builtin(var.dtype))
    return dtype


def _shape(var: Any) -> tuple[int, ...] | None:
    """Return the shape that a program states, where it is a fixed one."""
    shape = tuple(var.shape)
    return shape if all(isinstance(size, int | np.integer) for size in shape) else None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
