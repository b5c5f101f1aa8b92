"""An ONNX model that reaches out of itself, is damaged, or is none, is refused before anything is run."""

from functools import partial

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


def assert_refused(data, words, **allowed):
    with pytest.raises(BundleError, match=words) as caught:
        OnnxRuntime(data, **allowed)
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
    runtime = OnnxRuntime(place(inside).SerializeToString(), operators=None)
    assert runtime.run({"x": np.zeros((1, 2), np.float32)})["y"].sum() == 2
    assert_refused(place(external()).SerializeToString(), "keeps weights in other files")
    assert_refused(place(external()).SerializeToString(), "keeps weights in other files", operators=None)


def test_operators_of_other_domains_are_refused():
    foreign = [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]
    assert_refused(model(foreign, opsets=(("", 20), ("com.microsoft", 1))).SerializeToString(), "'com.microsoft'")
    assert_refused(model(foreign).SerializeToString(), "'com.microsoft'")


def endless_loop(passes=2**62):
    """A model that is as it should be in every way, and does nothing all day."""
    scalar = partial(helper.make_tensor_value_info, shape=[])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["before"], ["after"])],
        "body",
        [scalar("pass", TensorProto.INT64), scalar("go", TensorProto.BOOL), *same("before")],
        [scalar("on", TensorProto.BOOL), *same("after")],
    )
    given = [numpy_helper.from_array(np.array(value), name) for name, value in (("passes", passes), ("go0", True))]
    return model([helper.make_node("Loop", ["passes", "go0", "x"], ["y"], body=body)], given)


def same(name):
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])]


def test_a_loop_of_ever_so_many_passes_is_refused():
    row = {"x": np.ones((1, 2), np.float32)}
    assert OnnxRuntime(endless_loop(3).SerializeToString(), operators=None).run(row)["y"].sum() == 2
    assert_refused(endless_loop().SerializeToString(), "cannot be run: it has the operator 'Loop'")


def test_a_branch_is_refused_as_is_what_is_hidden_in_one():
    plain = inside_a_branch(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    assert_refused(plain.SerializeToString(), "the operator 'If'")
    hidden = inside_a_branch(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    hidden.graph.node[0].attribute[0].g.node.extend(endless_loop().graph.node)
    allowed = {"If", "Add", "Identity", "Relu"}
    assert_refused(hidden.SerializeToString(), "the operator 'Loop'", operators=allowed)


def test_onnxruntimes_own_format_is_not_read(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    own = (tmp_path / "model.ort").read_bytes()
    assert own[4:8] == b"ORTM"  # which is how onnxruntime would tell it
    with pytest.MonkeyPatch.context() as unchecked:
        unchecked.setattr("preloader.prediction.onnx.check_onnx", lambda *_: None)
        assert_refused(own, "cannot be run")


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
