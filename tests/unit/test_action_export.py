"""The model of the next action as ONNX: it says the same, and nothing else is run in its place."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from preloader.cli import main
from preloader.errors import BundleError, ConfigurationError, ExportError
from preloader.prediction.trees import BoostedTrees
from preloader.workspace.learn import action_export
from preloader.workspace.learn.action_export import export_actions
from preloader.workspace.learn.action_model import ActionModel
from preloader.workspace.learn.action_onnx import OnnxActions
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.models import load_models, save_models
from preloader.workspace.learn.predictor import StepPredictor
from preloader.workspace.learn.turn import Turn

MODELS = Path(__file__).parents[2] / "models/workspace/models.npz"


@pytest.fixture(scope="module")
def models():
    return load_models(MODELS)


@pytest.fixture(scope="module")
def exported(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "actions.onnx"
    assert export_actions(models.actions, path) <= action_export.MOST_DIFFERENCE
    return path


def turns():
    turn = Turn()
    yield turn
    for item in (
        Item("user_text", text="The total of the cart is wrong."),
        Item("assistant_text", text="Let me look at the tests."),
        Item("tool_call", id="1", tool="Bash", arguments={"command": "pytest -q"}),
        Item("tool_result", id="1", text="1 failed", failed=True, characters=8),
        Item("thinking", text="I should read `cart.py` now."),
    ):
        turn.feed(item)
        yield turn


def test_the_export_says_what_the_model_says(models, exported):
    run = OnnxActions(exported.read_bytes())
    said = [models.actions.predict(turn) for turn in turns()]
    assert [pytest.approx(run.predict(turn), abs=1e-9) for turn in turns()] == said
    assert len({max(one, key=one.get) for one in said}) > 1


def test_the_same_model_makes_the_same_bytes(models, exported, tmp_path):
    export_actions(models.actions, tmp_path / "again.onnx", seed=5)
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_a_predictor_runs_the_export(exported):
    predictor = StepPredictor("owner/shop", load_models(MODELS, actions=exported))
    predictor.feed(Item("assistant_text", text="Let me read `src/cart.py`."))
    assert sum(predictor.actions().values()) == pytest.approx(1)
    assert len(predictor.calls()) <= 3


def test_an_export_that_says_something_else_is_not_written(models, tmp_path, monkeypatch):
    honest = models.actions
    arrays = honest.trees.arrays
    trees = BoostedTrees({**arrays, "value": arrays["value"] * 1.01}, honest.trees.features)
    other = ActionModel(honest.weights, honest.biases, trees)
    make = action_export._onnx
    monkeypatch.setattr(action_export, "_onnx", lambda _: make(other))
    with pytest.raises(ExportError, match="differ by up to"):
        export_actions(honest, tmp_path / "actions.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_such_model_is_refused_with_its_place(exported, tmp_path):
    other = tmp_path / "other.onnx"
    for data in (b"", b"no model", exported.read_bytes()[:5_000]):
        other.write_bytes(data)
        with pytest.raises(BundleError, match=r"other\.onnx: is no model of the next action"):
            load_models(MODELS, actions=other)
    with pytest.raises(BundleError, match="is no model of the next action"):
        load_models(MODELS, actions=tmp_path / "nowhere.onnx")


def test_a_model_of_other_inputs_is_refused(tmp_path):
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BundleError, match="other inputs or outputs"):
        OnnxActions(model.SerializeToString())


def test_an_export_is_not_saved_or_exported_again(exported, tmp_path):
    models = load_models(MODELS, actions=exported)
    with pytest.raises(ConfigurationError, match="load the models without it"):
        save_models(models, tmp_path / "models.npz")
    with pytest.raises(ExportError, match="load the models without it"):
        export_actions(models.actions, tmp_path / "actions.onnx")


def test_the_command_writes_the_export_and_says_how_far_it_is(exported, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["preloader", "workspace", "export", str(MODELS), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, *capsys.readouterr()

    code, said, _ = run("--out", tmp_path / "a.onnx", "--json")
    written = json.loads(said)
    assert (code, written["bytes"], written["inputs"]) == (0, exported.stat().st_size, 1_000)
    assert written["difference"] <= 1e-9
    assert (tmp_path / "a.onnx").read_bytes() == exported.read_bytes()
    code, _, complaint = run("--out", tmp_path / "no" / "a.onnx")
    assert (code, complaint.count("\n")) == (2, 1)
    assert np.isfinite(written["difference"])
