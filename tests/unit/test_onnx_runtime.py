"""An ONNX model that reaches out of itself, is damaged, or is none, is refused before anything is run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from preloader.errors import BundleError
from preloader.prediction.onnx import OnnxRuntime

FLOATS = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "xy"]


def model(nodes=None, initializers=(), opsets=(("", 20),), **options):
    nodes = nodes or [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", FLOATS[:1], FLOATS[1:], list(initializers))
    opset_imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return helper.make_model(graph, opset_imports=opset_imports, ir_version=9, **options)


def external(name="w"):
    tensor = numpy_helper.from_array(np.ones(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "8")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def branch(tensor):
    output = helper.make_tensor_value_info("w", TensorProto.FLOAT, [2])
    return helper.make_graph([], "branch", [], [output], [tensor])


def assert_refused(data, words):
    with pytest.raises(BundleError, match=words) as caught:
        OnnxRuntime(data)
    assert "\n" not in str(caught.value)


def test_a_plain_model_runs():
    runtime = OnnxRuntime(model().SerializeToString())
    assert (runtime.name, runtime.inputs, runtime.outputs) == ("onnx", ("x",), ("y",))
    np.testing.assert_array_equal(runtime.run({"x": np.array([[-1, 2]], np.float32)})["y"], [[0, 2]])


def add_weight(tensor):
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def constant(tensor):
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])]
    return model(nodes)


def inside_a_branch(tensor):
    condition = numpy_helper.from_array(np.array(True), "c")
    choose = helper.make_node("If", ["c"], ["b"], then_branch=branch(tensor), else_branch=branch(tensor))
    return model([choose, helper.make_node("Add", ["x", "b"], ["y"])], [condition])


@pytest.mark.parametrize("place", [add_weight, constant, inside_a_branch])
def test_weights_in_other_files_are_refused_wherever_they_are(place, tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(np.ones(2, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)  # where onnxruntime would find them
    inside = numpy_helper.from_array(np.ones(2, np.float32), "w")
    assert OnnxRuntime(place(inside).SerializeToString()).run({"x": np.zeros((1, 2), np.float32)})["y"].sum() == 2
    assert_refused(place(external()).SerializeToString(), "keeps weights in other files")


def test_operators_of_other_domains_are_refused():
    foreign = [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]
    assert_refused(model(foreign, opsets=(("", 20), ("com.microsoft", 1))).SerializeToString(), "'com.microsoft'")
    assert_refused(model(foreign).SerializeToString(), "'com.microsoft'")


def test_functions_are_refused():
    body = helper.make_function("", "Own", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [])
    assert_refused(model(functions=[body]).SerializeToString(), "functions of its own")


def test_graphs_in_graphs_have_a_bottom():
    graph = branch(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    for _ in range(30):
        node = helper.make_node("If", ["c"], ["w"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "deeper", [], [])
        graph.node[0].attribute.pop()
    deep = model()
    deep.graph.CopyFrom(graph)
    assert_refused(deep.SerializeToString(), "more than 24 deep")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no graph"),
        (b"not a model", "damaged|cannot be run"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "number that does not end"),
        (b"\x3a\x7f", "ends in the middle"),
        (b"\x38\x01", "number where a message"),
        (model([helper.make_node("Nonsense", ["x"], ["y"])]).SerializeToString(), "cannot be run"),
        (model([helper.make_node("Relu", ["z"], ["y"])]).SerializeToString(), "cannot be run"),
        (model(opsets=(("", 99),)).SerializeToString(), "cannot be run"),
    ],
)
def test_what_is_no_model_is_refused(data, words):
    assert_refused(data, words)


@settings(max_examples=150, deadline=None)
@given(junk=st.binary(max_size=200))
def test_junk_is_refused(junk):
    with pytest.raises(BundleError):
        OnnxRuntime(junk)


def test_a_cut_model_is_refused_or_whole():
    data = add_weight(numpy_helper.from_array(np.ones(2, np.float32), "w")).SerializeToString()
    for kept in range(len(data)):
        with pytest.raises(BundleError):
            OnnxRuntime(data[:kept])
