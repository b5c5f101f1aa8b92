"""Writes the model of the next action as ONNX, and refuses an export that does not say the same.

Its trees are walked all at once, level by level, as `preloader.prediction.trees` walks them: ``Gather``,
``LessOrEqual`` and ``Where``, as often as the deepest tree has levels. ONNX's own operator for trees is not used: in a
file that was tampered with it might follow a cycle for ever (`preloader.onnx_file` allows only operators that end).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from preloader.errors import ExportError, require
from preloader.ndarray import NDArray
from preloader.prediction.trees import BoostedTrees
from preloader.workspace.learn.action_model import ActionModel
from preloader.workspace.learn.action_onnx import NUMBERS, PROBABILITIES, WORDS, OnnxActions
from preloader.workspace.learn.models import Actions
from preloader.workspace.learn.turn import ACTIONS, WORD_BUCKETS

MOST_DIFFERENCE = 1e-9
"""How far any probability of the export may be from the model's: both reckon in double precision."""

ROWS = 1_000
"""On how many distinct invented inputs an export is verified."""

_OPSET, _IR = 17, 8
_MOST_WORDS = 60


def export_actions(model: Actions, path: Path, seed: int = 0) -> float:
    """Write a model as ONNX, after it was found to say what the model says.

    Args:
        model: What is exported.
        path: Where to (``.onnx``); `preloader.workspace.learn.models.load_models` runs it with ``actions=path``.
        seed: Of the inputs that it is verified on.

    Returns:
        The largest difference of a probability.

    Raises:
        ExportError: The export says something else, or the model is one itself.
        MissingExtraError: The ``train`` extra is not installed.
    """
    if not isinstance(model, ActionModel):
        raise ExportError("this model of the next action is an export: load the models without it")
    data = _onnx(model)
    exported = OnnxActions(data)
    inputs = _inputs(model.trees, np.random.default_rng(seed))
    apart = max(float(np.abs(exported.probabilities(*one) - model.probabilities(*one)).max()) for one in inputs)
    if not apart <= MOST_DIFFERENCE:
        raise ExportError(f"the exported probabilities differ by up to {apart:.2g}, {MOST_DIFFERENCE:g} is allowed")
    path.write_bytes(data)
    return apart


def _inputs(trees: BoostedTrees, random: np.random.Generator) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Return words and numbers; the numbers are thresholds of the trees, or lie right beside one."""
    arrays = trees.arrays
    inner = arrays["left"] != np.arange(arrays["left"].shape[1])
    features, thresholds = arrays["feature"][inner], arrays["threshold"][inner]
    columns = [thresholds[features == one] for one in range(len(ACTIONS), trees.features)]
    inputs = []
    for _ in range(ROWS):
        words = np.unique(random.integers(0, WORD_BUCKETS, random.integers(0, _MOST_WORDS)))
        drawn = [random.choice(one) if len(one) else random.normal() for one in columns]
        numbers = np.array(drawn, np.float32)
        beside = np.nextafter(numbers, np.float32(np.inf) * random.choice([-1, 1], len(numbers)).astype(np.float32))
        inputs.append((words, np.where(random.random(len(numbers)) < 0.5, numbers, beside).astype(np.float32)))
    return inputs


def _onnx(model: ActionModel) -> bytes:
    onnx = require("onnx", "train")
    helper, types = onnx.helper, onnx.TensorProto
    graph = _Graph(onnx)
    row = _row(graph, model, types)
    arrays = model.trees.arrays
    trees, nodes = arrays["feature"].shape
    first = np.arange(trees, dtype=np.int64) * nodes
    flat = {name: arrays[name].ravel() for name in ("threshold", "value")}
    flat |= {name: (arrays[name].astype(np.int64) + first[:, None]).ravel() for name in ("left", "right")}
    flat["feature"] = arrays["feature"].astype(np.int64).ravel()
    constants = {name: graph.constant(name, array) for name, array in flat.items()}
    node = graph.constant("roots", first)
    for _ in range(model.trees.depth):
        value = graph.add("Gather", row, graph.add("Gather", constants["feature"], node))
        left = graph.add("LessOrEqual", value, graph.add("Gather", constants["threshold"], node))
        children = (graph.add("Gather", constants[side], node) for side in ("left", "right"))
        node = graph.add("Where", left, *children)
    leaves = graph.add("Gather", constants["value"], node)
    outputs = np.eye(len(ACTIONS))[arrays["output"].astype(np.int64)]  # (trees, actions): which action a tree adds to
    sums = graph.add("MatMul", leaves, graph.constant("outputs", outputs))
    scores = graph.add("Add", sums, graph.constant("baseline", arrays["baseline"]))
    graph.add("Softmax", scores, output=PROBABILITIES, axis=-1)
    made = helper.make_graph(
        graph.nodes,
        "next action",
        [
            helper.make_tensor_value_info(WORDS, types.INT64, ["words"]),
            helper.make_tensor_value_info(NUMBERS, types.FLOAT, [model.trees.features - len(ACTIONS)]),
        ],
        [helper.make_tensor_value_info(PROBABILITIES, types.DOUBLE, [len(ACTIONS)])],
        graph.constants,
    )
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(whole)
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def _row(graph: _Graph, model: ActionModel, types: Any) -> str:
    """Add what makes the row that the trees see: what the words give each action, and the numbers."""
    weights = graph.add("Gather", graph.constant("weights", model.weights), WORDS)
    exact = graph.add("Cast", weights, to=types.DOUBLE)
    summed = graph.add("ReduceSum", exact, graph.constant("axis", np.zeros(1, np.int64)), keepdims=0)
    margins = graph.add("Add", summed, graph.constant("biases", model.biases.astype(np.float64)))
    centred = graph.add("Sub", margins, graph.add("ReduceMax", margins, axes=[0], keepdims=1))
    row = graph.add("Concat", graph.add("Cast", centred, to=types.FLOAT), NUMBERS, axis=0)
    return graph.add("Cast", row, to=types.DOUBLE)


class _Graph:
    """Collects nodes and constants; names are numbers, in the order in which they were added."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}.{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output
