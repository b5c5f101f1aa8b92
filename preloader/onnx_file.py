"""Looks through an ONNX file for what is not allowed in one that is not trusted, before onnxruntime sees it.

A model may name other files for its weights, which would be read from wherever it says, operators of other domains
than ONNX's own, and loops that never end. All are found by walking the file's Protocol Buffers encoding
(https://protobuf.dev/programming-guides/encoding/), for which the ``onnx`` package is not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from preloader.checks import shown
from preloader.errors import BundleError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""The operator domains of the ONNX standard."""

OPERATORS = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Exp", "Log", "Clip", "Where", "Greater", "LessOrEqual"),
        *("Relu", "Gelu", "Softmax", "LogSoftmax", "LayerNormalization", "Gemm", "MatMul", "LSTM", "GRU"),
        *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceLogSumExp"),
        *("Gather", "GatherElements", "Cast", "Concat", "Constant", "Expand", "Identity", "Reshape", "Shape", "Slice"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    )
)
"""What `preloader.learning.export` writes of this program's models, and of networks much like them.

Each ends after as many steps as its tensors have entries. ``Loop``, ``Scan`` and ``If``, which hold graphs, are not
among them: a ``Loop`` takes the number of its passes from a tensor.
"""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DEPTH = 24

# The numbers of the messages' fields, from onnx.proto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_NODE_OPERATOR, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_SPARSE_TENSORS = 1, 5, 15
_SPARSE_TENSOR_PARTS = (1, 2)
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)

_Fields = Iterator[tuple[int, int | memoryview]]


def check_onnx(model: bytes, operators: Collection[str] | None = OPERATORS) -> None:
    """Refuse a file that reaches out of itself, or that has other operators than it may.

    Args:
        model: The file's content.
        operators: What operators it may have; ``None`` for all of ONNX's own, which may take for ever.

    Raises:
        BundleError: It is damaged, names other files, or has operators that it may not have.
    """
    graphs = 0
    for number, value in _fields(memoryview(model)):
        if number == _MODEL_GRAPH:
            _check_graph(_message(value), 0, operators)
            graphs += 1
        elif number == _MODEL_OPSETS:
            _check_opset(_message(value))
        elif number == _MODEL_FUNCTIONS:
            raise BundleError("the ONNX model defines functions of its own, which is not allowed")
    if not graphs:
        raise BundleError("the ONNX model is empty: it has no graph")


def _check_opset(opset: memoryview) -> None:
    for number, value in _fields(opset):
        if number == _OPSET_DOMAIN:
            _check_domain(_message(value))


def _check_domain(domain: memoryview) -> None:
    name = bytes(domain).decode(errors="replace")
    if name not in DOMAINS:
        raise BundleError(f"the ONNX model has operators of the domain {shown(name)}, and only ONNX's own are allowed")


def _check_operator(name: memoryview, operators: Collection[str] | None) -> None:
    operator = bytes(name).decode(errors="replace")
    if operators is not None and operator not in operators:
        raise BundleError(
            f"the ONNX model cannot be run: it has the operator {shown(operator)}, and in a bundle only those are "
            "allowed that this program's own exports have"
        )


def _check_graph(graph: memoryview, depth: int, operators: Collection[str] | None) -> None:
    if depth > _MAX_DEPTH:
        raise BundleError(f"the ONNX model has graphs in graphs, more than {_MAX_DEPTH} deep")
    for number, value in _fields(graph):
        if number == _GRAPH_NODES:
            _check_node(_message(value), depth, operators)
        elif number == _GRAPH_TENSORS:
            _check_tensor(_message(value))
        elif number == _GRAPH_SPARSE_TENSORS:
            _check_sparse_tensor(_message(value))


def _check_node(node: memoryview, depth: int, operators: Collection[str] | None) -> None:
    for number, value in _fields(node):
        if number == _NODE_DOMAIN:
            _check_domain(_message(value))
        elif number == _NODE_ATTRIBUTES:
            _check_attribute(_message(value), depth, operators)
    for number, value in _fields(node):  # only then, so that what reaches out is named before what is merely unknown
        if number == _NODE_OPERATOR:
            _check_operator(_message(value), operators)


def _check_attribute(attribute: memoryview, depth: int, operators: Collection[str] | None) -> None:
    for number, value in _fields(attribute):
        if number in _ATTRIBUTE_TENSORS:
            _check_tensor(_message(value))
        elif number in _ATTRIBUTE_GRAPHS:
            _check_graph(_message(value), depth + 1, operators)
        elif number in _ATTRIBUTE_SPARSE_TENSORS:
            _check_sparse_tensor(_message(value))


def _check_sparse_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number in _SPARSE_TENSOR_PARTS:
            _check_tensor(_message(value))


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            raise BundleError("the ONNX model keeps weights in other files, which is not allowed")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise BundleError("the ONNX model is damaged: it has a number where a message must be")
    return value


def _fields(message: memoryview) -> _Fields:
    """Yield the numbers and values of a message's fields: numbers as such, the rest as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise BundleError(f"the ONNX model is damaged: it has a field of the wire type {wire}")
        if size > len(message) - at:
            raise BundleError("the ONNX model is damaged: it ends in the middle")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if at + shift >= len(message):
            break
        byte = message[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise BundleError("the ONNX model is damaged: it has a number that does not end")
