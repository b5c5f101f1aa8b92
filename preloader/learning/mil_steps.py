"""An ML program's blocks as lists of steps: each applies one operator to slots of values, and fills others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from preloader.errors import ExportError, require
from preloader.learning.mil_lstm import lstm
from preloader.learning.mil_ops import OPERATORS
from preloader.learning.mil_shapes import Array, Operator

_OPERATORS: dict[str, Operator] = {**OPERATORS, "lstm": lstm}
_MAX_ROUNDS = 100_000

Values = list[Any]
"""What has been computed so far, by slot."""


class Runs(Protocol):
    """One operation of a block."""

    def run(self, values: Values) -> None:
        """Compute it on what has been computed so far, and add what comes of it."""
        ...


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

    def run(self, values: Values) -> None:
        given = self.constants.copy()
        for name, slot in self.slots:
            given[name] = values[slot]
        for name, slots in self.lists:
            given[name] = [values[slot] for slot in slots]
        try:
            result = self.operator(**given)
        except Exception as error:  # NumPy's own, or a parameter that the operator does not have
            raise ExportError(f"{self.label} cannot be evaluated: {reason_of(error)}") from error
        results = result if isinstance(result, tuple) else (result,)
        for output, value in zip(self.outputs, results, strict=True):
            kept = stored(value, output.dtype)
            if output.shape is not None and kept.shape != output.shape:
                raise ExportError(f"{self.label} states the shape {output.shape} and has {kept.shape}")
            values[output.slot] = kept


class _Loop(NamedTuple):
    """A ``while_loop``: what a recurrent layer becomes that has no operator of its own."""

    label: str
    initial: list[int]
    condition_inputs: list[int]
    condition: list[Runs]
    is_on: int
    body_inputs: list[int]
    body: list[Runs]
    body_outputs: list[int]
    outputs: list[int]

    def run(self, values: Values) -> None:
        state = [values[slot] for slot in self.initial]
        for _ in range(_MAX_ROUNDS):
            _put(values, self.condition_inputs, state)
            run(self.condition, values)
            if not values[self.is_on]:
                _put(values, self.outputs, state)
                return
            _put(values, self.body_inputs, state)
            run(self.body, values)
            state = [values[slot] for slot in self.body_outputs]
        raise ExportError(f"{self.label} is not done after {_MAX_ROUNDS:,} rounds")


class Compiler:
    """Makes steps of operations, a slot for each value, and computes what is constant."""

    def __init__(self, path: Path) -> None:
        self.values: Values = []
        self._path = path
        self._slots: dict[int, int] = {}

    def slot(self, var: Any) -> int:
        """Return a value's place."""
        known = self._slots.get(id(var))
        if known is None:
            known = self._slots[id(var)] = len(self.values)
            self.values.append(None)
        return known

    def compile(self, block: Any) -> list[Runs]:
        """Return the steps of a block that are not constant."""
        steps: list[Runs] = []
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
        outputs = [_Output(self.slot(var), dtype_of(var), _shape(var)) for var in operation.outputs]
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


def run(steps: list[Runs], values: Values) -> None:
    """Run a block's steps one after another."""
    for step in steps:
        step.run(values)


def _put(values: Values, slots: list[int], state: list[Any]) -> None:
    for slot, value in zip(slots, state, strict=True):
        values[slot] = value


def stored(value: Any, dtype: np.dtype[Any]) -> Array:
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


def dtype_of(var: Any) -> np.dtype[Any]:
    """Return the type that a program states for a value."""
    types = require("coremltools.converters.mil.mil.types", "train")
    dtype: np.dtype[Any] = np.dtype(types.nptype_from_builtin(var.dtype))
    return dtype


def _shape(var: Any) -> tuple[int, ...] | None:
    """Return the shape that a program states, where it is a fixed one."""
    shape = tuple(var.shape)
    return shape if all(isinstance(size, int | np.integer) for size in shape) else None


def reason_of(error: Exception) -> str:
    """Return an error of somebody else's as part of a sentence."""
    return " ".join(str(error).split())[:300] or type(error).__name__
