"""What is exported does what the network does, and an export that does not is refused."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from preloader.errors import ExportError
from preloader.learning import mil_steps
from preloader.learning.export import to_coreml, to_onnx
from preloader.learning.forms import in_words
from preloader.learning.mil import MilProgram
from preloader.learning.verify import verify
from preloader.prediction.onnx import OnnxRuntime
from tests.unit.export_sample import OUTPUTS, EveryLayer, as_arrays, sample_inputs

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


class Exported:
    def __init__(self, folder):
        torch.set_num_threads(1)
        self.network = EveryLayer().eval()
        self.inputs = as_arrays(sample_inputs(1_000, seed=1))
        self.onnx = to_onnx(self.network, sample_inputs(2), OUTPUTS)
        self.packages = {precision: folder / f"{precision}.mlpackage" for precision in ("fp32", "fp16")}
        for precision, path in self.packages.items():
            to_coreml(self.network, sample_inputs(2), path, precision, OUTPUTS, {"licence": "none"})

    def verify(self, model=None, **packages):
        return verify(self.network, self.inputs, model or self.onnx, packages, OUTPUTS)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("exported"))


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(12.0).reshape(3, 4))

    def forward(self, x):
        return x @ self.weight.T


def test_every_exported_model_does_what_the_network_does(exported):
    found = exported.verify(**exported.packages)
    assert found.rows == 1_000
    assert list(found.models) == ["onnx", "coreml-fp32", "coreml-fp16"]
    for name in ("onnx", "coreml-fp32"):
        assert max(found.models[name].differences.values()) <= 1e-5
    half = found.models["coreml-fp16"]
    assert 1e-5 < max(half.differences.values()) <= 2e-2
    assert min(half.agreement.values()) >= 0.995


@pytest.mark.parametrize(
    ("precision", "weight"), [("fp32", "keys.weight"), ("fp32", "flags.weight"), ("fp16", "keys.weight")]
)
def test_a_tampered_weight_of_a_package_is_caught(exported, tmp_path, precision, weight):
    path = shutil.copytree(exported.packages[precision], tmp_path / "tampered.mlpackage")
    dtype = np.float32 if precision == "fp32" else np.float16
    held = exported.network.state_dict()[weight].numpy().astype(dtype)
    content = (path / WEIGHTS).read_bytes()
    at = content.index(held.tobytes())
    changed = held.copy().ravel()
    changed[3] *= -1.5
    tampered = content[:at] + changed.tobytes() + content[at + held.nbytes :]
    (path / WEIGHTS).write_bytes(tampered)
    with pytest.raises(ExportError, match=f"of coreml-{precision} .*allowed|likeliest"):
        exported.verify(**{precision: path})


@pytest.mark.parametrize("number", [0, 4, 9])
def test_a_tampered_weight_of_an_onnx_model_is_caught(exported, number):
    model = onnx.load_from_string(exported.onnx)
    reals = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    weight = reals[number]
    changed = numpy_helper.to_array(weight).copy()
    changed.ravel()[: max(changed.size // 8, 1)] += 0.1
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    with pytest.raises(ExportError, match=r"'\w+' of onnx is up to .* at most 0.0001 is allowed"):
        exported.verify(model.SerializeToString())


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        ("select", lambda cond, a, b: np.where(cond, b, a)),
        ("log", lambda x, epsilon: x * np.nan),
        ("gelu", lambda x, mode: x / (1 + np.exp(-1.702 * x))),
    ],
)
def test_an_operator_that_does_something_else_is_caught(exported, monkeypatch, operator, wrong):
    monkeypatch.setitem(mil_steps._OPERATORS, operator, wrong)
    with pytest.raises(ExportError, match="of coreml-fp32 is up to"):
        exported.verify(fp32=exported.packages["fp32"])


def test_another_networks_model_is_caught(exported):
    other = EveryLayer()
    other.bias.data[0, 0] += 1.0
    with pytest.raises(ExportError, match="'log_probabilities' of onnx is up to"):
        verify(other, exported.inputs, exported.onnx, {}, OUTPUTS)


def test_too_few_inputs_prove_nothing(exported):
    few = {name: array[:999] for name, array in exported.inputs.items()}
    with pytest.raises(ExportError, match="at least 1,000 inputs, and 999"):
        verify(exported.network, few, exported.onnx, {}, OUTPUTS)


def test_an_input_counts_once_however_often_it_is_given(exported, monkeypatch):
    """One near-tie that half precision decides otherwise would be half of all rows, were they counted as given."""
    run_rows = MilProgram.run_rows
    tie = {name: array[:1] for name, array in exported.inputs.items()}

    def tied(program, inputs):
        said = run_rows(program, inputs)
        same = np.all([(array == tie[name]).reshape(len(array), -1).all(1) for name, array in inputs.items()], axis=0)
        said[OUTPUTS[0]][same] = np.sort(said[OUTPUTS[0]][same], axis=-1)[..., ::-1]
        return said

    monkeypatch.setattr("preloader.learning.verify.MAX_HALF_DIFFERENCE", np.inf)
    monkeypatch.setattr(MilProgram, "run_rows", tied)
    often = {name: np.concatenate([array, array[:1].repeat(1_000, 0)]) for name, array in exported.inputs.items()}
    assert OnnxRuntime(exported.onnx).run(tie)[OUTPUTS[0]].argmax() != 0  # which `tied` makes the likeliest
    found = verify(exported.network, often, exported.onnx, {"fp16": exported.packages["fp16"]}, OUTPUTS)
    assert found.rows == 1_000
    assert 0.995 <= found.models["coreml-fp16"].agreement[OUTPUTS[0]] <= 0.999


def test_fewer_inputs_than_wanted_are_compared_where_no_more_differ_and_that_is_said(exported):
    few = {name: np.resize(array[:300], (1_000, *array.shape[1:])) for name, array in exported.inputs.items()}
    found = verify(exported.network, few, exported.onnx, {}, OUTPUTS)
    assert found.rows == 300
    assert in_words(found)[0] == "compared on 300 distinct inputs, all that there are: 1,000 are wanted"
    assert in_words(exported.verify())[0] == "compared on 1,000 distinct inputs"


def test_the_onnx_model_takes_any_batch_and_only_that_is_open(exported):
    runtime = OnnxRuntime(exported.onnx)
    for count in (1, 2, 7):
        said = runtime.run({name: array[:count] for name, array in exported.inputs.items()})
        assert [said[name].shape for name in OUTPUTS] == [(count, 1, 12), (count, 1, 12)]
    graph = onnx.load_from_string(exported.onnx).graph
    for one in (*graph.input, *graph.output):
        first, *others = one.type.tensor_type.shape.dim
        assert first.dim_param
        assert all(dim.dim_value > 0 for dim in others)


def test_recurrent_layers_are_one_operator_and_nothing_tells_where_they_are_from(exported):
    model = onnx.load_from_string(exported.onnx)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("LSTM") == operators.count("GRU") == 1
    assert not any(node.metadata_props for node in model.graph.node)
    package = exported.packages["fp32"]
    for content in (exported.onnx, *(path.read_bytes() for path in package.rglob("*") if path.is_file())):
        assert b".py" not in content
        assert str(Path(torch.__file__).parents[2]).encode() not in content


def test_half_precision_keeps_what_is_improbable(tmp_path):
    network = nn.Module()
    network.forward = lambda x: x.log_softmax(-1)
    example = {"x": torch.zeros(1, 3)}
    to_coreml(network, example, tmp_path / "half.mlpackage", "fp16", ["said"])
    said = MilProgram.load(tmp_path / "half.mlpackage").run({"x": np.array([[0.0, -40.0, 3.0]], np.float32)})["said"]
    np.testing.assert_allclose(said, [[-3.0486, -43.0486, -0.0486]], atol=1e-3)


def test_the_same_network_makes_the_same_bytes(tmp_path):
    models, trees = set(), set()
    for name in "ab":
        models.add(to_onnx(Affine(), {"x": torch.zeros(1, 4)}, ["y"]))
        to_coreml(Affine(), {"x": torch.zeros(1, 4)}, tmp_path / name / "m.mlpackage", "fp32", ["y"])
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        trees.add(tuple((path.name, path.read_bytes()) for path in files))
    assert len(models) == len(trees) == 1


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"y": torch.zeros(1, 4)}, "takes x, and the example has y"),
        ({"x": torch.zeros(1, 4, dtype=torch.float64)}, "'x' is of torch.float64"),
        ({"x": torch.zeros(1, 5)}, "Affine cannot be exported to CoreML: "),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_sentence(tmp_path, example, words):
    with pytest.raises(ExportError, match=words) as caught:
        to_coreml(Affine(), example, tmp_path / "m.mlpackage", "fp32", ["y"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.mlpackage").exists()


def test_an_unknown_operator_is_refused_by_name(tmp_path):
    network = nn.Module()
    network.forward = lambda x: x.sinh()
    to_coreml(network, {"x": torch.zeros(1, 3)}, tmp_path / "m.mlpackage", "fp32", ["y"])
    with pytest.raises(ExportError, match="operator 'sinh'"):
        MilProgram.load(tmp_path / "m.mlpackage")


@pytest.mark.parametrize("damage", ["missing", "cut", "junk"])
def test_a_damaged_package_is_refused(exported, tmp_path, damage):
    path = shutil.copytree(exported.packages["fp32"], tmp_path / "m.mlpackage")
    model = path / "Data/com.apple.CoreML/model.mlmodel"
    content = model.read_bytes()
    model.unlink()
    if damage != "missing":
        model.write_bytes(content[: len(content) // 2] if damage == "cut" else b"junk" * 100)
    with pytest.raises(ExportError, match="no ML program that can be read") as caught:
        MilProgram.load(path)
    assert "\n" not in str(caught.value)


def test_inputs_of_another_name_or_shape_are_refused(exported):
    program = MilProgram.load(exported.packages["fp32"])
    row = {name: array[:1] for name, array in exported.inputs.items()}
    with pytest.raises(ExportError, match="takes items"):
        program.run({"items": row["items"]})
    with pytest.raises(ExportError, match=r"'moment' of the shape \(1, 4\), not \(1, 3\)"):
        program.run({**row, "moment": row["moment"][:, :3]})
