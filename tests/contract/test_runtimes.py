"""Every runtime runs the same network, and says in one sentence what it cannot run."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from preloader.errors import BundleError
from preloader.learning.export import to_coreml, to_onnx
from preloader.prediction.coreml import CoreMLRuntime
from preloader.prediction.onnx import OnnxRuntime
from tests.contract.mil_model import MilModel

OUTPUTS = ("log_probabilities", "uses")
RUNTIMES = ("onnx", "coreml")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.keys = nn.Embedding(9, 4)
        self.out = nn.Linear(6, 5)

    def forward(self, items, moment):
        scores = self.out(torch.cat([self.keys(items).sum(1), moment], 1))
        return scores.log_softmax(-1), scores[:, :2]


def rows(count, seed=0):
    drawn = np.random.default_rng(seed)
    return {
        "items": drawn.integers(0, 9, (count, 3), dtype=np.int32),
        "moment": drawn.normal(size=(count, 2)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    network = Small().eval()
    example = {name: torch.from_numpy(array) for name, array in rows(1).items()}
    path = tmp_path_factory.mktemp("runtimes") / "small.mlpackage"
    to_coreml(network, example, path, "fp32", OUTPUTS)
    runtimes = {
        "onnx": OnnxRuntime(to_onnx(network, example, OUTPUTS)),
        "coreml": CoreMLRuntime(path, MilModel(path)),
    }
    return network, runtimes, path


@pytest.fixture(params=RUNTIMES)
def runtime(small, request):
    return small[1][request.param]


def of_network(network, inputs):
    with torch.no_grad():
        said = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return dict(zip(OUTPUTS, [one.numpy() for one in said], strict=True))


@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_batch_gives_what_the_network_gives(small, runtime, count):
    said = runtime.run(rows(count))
    assert said.keys() == set(OUTPUTS)
    for name, right in of_network(small[0], rows(count)).items():
        assert said[name].dtype == np.float32
        np.testing.assert_allclose(said[name], right, atol=1e-5)


def test_it_says_what_it_is_and_takes(runtime):
    assert runtime.name in RUNTIMES
    assert sorted(runtime.inputs) == ["items", "moment"]


def test_threads_do_not_disturb_each_other(small, runtime):
    batches = [rows(1 + seed % 3, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(runtime.run, batches))
    for batch, one in zip(batches, said, strict=True):
        np.testing.assert_allclose(
            one["log_probabilities"], of_network(small[0], batch)["log_probabilities"], atol=1e-5
        )


@pytest.mark.parametrize("names", [["items"], ["items", "moment", "more"], []])
def test_other_inputs_are_named(runtime, names):
    given = {name: rows(1).get(name, np.zeros((1, 2), np.float32)) for name in names}
    with pytest.raises(BundleError, match="takes items, moment"):
        runtime.run(given)


def test_another_shape_is_refused_in_one_sentence(runtime):
    with pytest.raises(BundleError, match="model fails on its inputs: ") as caught:
        runtime.run({**rows(1), "moment": np.zeros((1, 3), np.float32)})
    assert "\n" not in str(caught.value)


def test_coreml_opens_just_the_files_that_were_checked(small, monkeypatch, tmp_path):
    files = {
        f"net.mlpackage/{path.relative_to(small[2])}": path.read_bytes()
        for path in small[2].rglob("*")
        if path.is_file()
    }
    opened = []

    def stand_in(path, compute_units):
        opened.append((path, compute_units))
        return MilModel(path)

    monkeypatch.setattr("preloader.prediction.coreml._open", stand_in)
    runtime = CoreMLRuntime.of_files(files, "net.mlpackage", compute_units="CPU_ONLY")
    assert runtime.run(rows(2)).keys() == set(OUTPUTS)
    [(path, units)] = opened
    assert (path.name, units) == ("net.mlpackage", "CPU_ONLY")
    assert not path.exists()
    with pytest.raises(BundleError, match=r"no other\.mlpackage"):
        CoreMLRuntime.of_files(files, "other.mlpackage")


def test_coreml_is_refused_where_there_is_none(small, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(BundleError, match="only macOS runs") as caught:
        CoreMLRuntime(small[2])
    assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match="must be one of ALL"):
        CoreMLRuntime(small[2], compute_units="TPU")


def test_a_model_that_fails_is_reported(small):
    class Failing(MilModel):
        def predict(self, data):
            raise RuntimeError("Neural Engine\nis busy")

    with pytest.raises(BundleError, match="fails on its inputs: Neural Engine is busy"):
        partial(CoreMLRuntime(small[2], Failing(small[2])).run, rows(1))()
