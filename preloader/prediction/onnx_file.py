"""Looks through an ONNX file for what is not allowed in a bundle, before onnxruntime sees it.

A model may name other files for its weights, which would be read from wherever it says, and operators of other domains
than ONNX's own. Both are found by walking the file's Protocol Buffers encoding
(https://protobuf.dev/programming-guides/encoding/), for which the ``onnx`` package is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator

from preloader.checks import shown
from preloader.errors import BundleError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""The operator domains of the ONNX standard."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DEPTH = 24

# The numbers of the messages' fields, from onnx.proto.
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_FUNCTIONS = 7, 8, 25
_OPSET_DOMAIN = 1
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_NODE_ATTRIBUTES, _NODE_DOMAIN = 5, 7
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_SPARSE_TENSORS = 1, 5, 15
_SPARSE_TENSOR_PARTS = (1, 2)
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)

_Fields = Iterator[tuple[int, int | memoryview]]


def check_onnx(model: bytes) -> None:
    """Refuse a file that reaches out of itself.

    Raises:
        BundleError: It is damaged, names other files, or has operators that are not ONNX's own.
    """
    seen = False
    for number, value in _fields(memoryview(model)):
        if number == _MODEL_GRAPH:
            _check_graph(_message(value), 0)
            seen = True
        elif number == _MODEL_OPSETS:
            _check_opset(_message(value))
        elif number == _MODEL_FUNCTIONS:
            raise BundleError("the ONNX model defines functions of its own, which is not allowed in a bundle")
    if not seen:
        raise BundleError("the ONNX model is empty: it has no graph")


def _check_opset(opset: memoryview) -> None:
    for number, value in _fields(opset):
        if number == _OPSET_DOMAIN:
            _check_domain(_message(value))


def _check_domain(domain: memoryview) -> None:
    name = bytes(domain).decode(errors="replace")
    if name not in DOMAINS:
        raise BundleError(f"the ONNX model has operators of the domain {shown(name)}, and only ONNX's own are allowed")


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BundleError(f"the ONNX model has graphs in graphs, more than {_MAX_DEPTH} deep")
    for number, value in _fields(graph):
        if number == _GRAPH_NODES:
            _check_node(_message(value), depth)
        elif number == _GRAPH_TENSORS:
            _check_tensor(_message(value))
        elif number == _GRAPH_SPARSE_TENSORS:
            _check_sparse_tensor(_message(value))


def _check_node(node: memoryview, depth: int) -> None:
    for number, value in _fields(node):
        if number == _NODE_DOMAIN:
            _check_domain(_message(value))
        elif number == _NODE_ATTRIBUTES:
            _check_attribute(_message(value), depth)


def _check_attribute(attribute: memoryview, depth: int) -> None:
    for number, value in _fields(attribute):
        if number in _ATTRIBUTE_TENSORS:
            _check_tensor(_message(value))
        elif number in _ATTRIBUTE_GRAPHS:
            _check_graph(_message(value), depth + 1)
        elif number in _ATTRIBUTE_SPARSE_TENSORS:
            _check_sparse_tensor(_message(value))


def _check_sparse_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number in _SPARSE_TENSOR_PARTS:
            _check_tensor(_message(value))


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0):
            raise BundleError("the ONNX model keeps weights in other files, which is not allowed in a bundle")


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
