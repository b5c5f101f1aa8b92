"""The evaluator's operators, beside torch's where it has the same, beside their definition where not."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from preloader.errors import ExportError
from preloader.learning.export import to_coreml
from preloader.learning.mil import MilProgram
from preloader.learning.mil_lstm import lstm
from preloader.learning.mil_ops import OPERATORS

X = np.random.default_rng(0).normal(scale=2, size=(3, 4, 5)).astype(np.float32)
T = torch.from_numpy(X)

LIKE_TORCH = {
    "abs": ({"x": X}, T.abs()),
    "ceil": ({"x": X}, T.ceil()),
    "clip": ({"x": X, "alpha": -1.0, "beta": 0.5}, T.clamp(-1.0, 0.5)),
    "cumsum": ({"x": X, "axis": 1}, T.cumsum(1)),
    "elu": ({"x": X, "alpha": 0.7}, functional.elu(T, 0.7)),
    "erf": ({"x": X}, T.erf()),
    "exp": ({"x": X}, T.exp()),
    "floor_div": ({"x": X, "y": np.float32(0.7)}, torch.floor_divide(T, 0.7)),
    "gather_along_axis": ({"x": X, "indices": np.full((3, 1, 5), 2), "axis": 1}, T[:, 2:3]),
    "gelu": ({"x": X, "mode": "EXACT"}, functional.gelu(T)),
    "leaky_relu": ({"x": X, "alpha": 0.1}, functional.leaky_relu(T, 0.1)),
    "log": ({"x": np.abs(X)}, T.abs().log()),
    "logical_not": ({"x": X > 0}, ~(T > 0)),
    "maximum": ({"x": X, "y": X[::-1]}, torch.maximum(T, T.flip(0))),
    "mod": ({"x": X, "y": np.float32(0.7)}, torch.remainder(T, 0.7)),
    "pow": ({"x": np.abs(X), "y": 1.5}, T.abs().pow(1.5)),
    "reduce_argmax": ({"x": X, "axis": 1, "keep_dims": True}, T.argmax(1, keepdim=True)),
    "reduce_log_sum_exp": ({"x": X * 40, "axes": np.array([1]), "keep_dims": False}, (T * 40).logsumexp(1)),
    "reduce_max": ({"x": X, "axes": np.array([0, 2]), "keep_dims": True}, T.amax((0, 2), keepdim=True)),
    "reduce_prod": ({"x": X, "axes": np.array([-1])}, T.prod(-1)),
    "reduce_sum": ({"x": X}, T.sum()),
    "rsqrt": ({"x": np.abs(X)}, T.abs().rsqrt()),
    "sigmoid": ({"x": X * 50}, (T * 50).sigmoid()),
    "silu": ({"x": X}, functional.silu(T)),
    "softmax": ({"x": X * 40, "axis": 1}, (T * 40).softmax(1)),
    "softplus": ({"x": X * 30}, functional.softplus(T * 30)),
    "slice_by_size": ({"x": X, "begin": np.array([1, 0, 2]), "size": np.array([1, -1, 2])}, T[1:2, :, 2:4]),
    "tile": ({"x": X, "reps": np.array([2, 1, 3])}, T.repeat(2, 1, 3)),
}


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_an_operator_does_what_torch_does(name):
    given, wanted = LIKE_TORCH[name]
    np.testing.assert_allclose(OPERATORS[name](**given), wanted.numpy(), rtol=2e-5, atol=1e-6)


def whole(*values):
    return np.array(values)


BY_DEFINITION = [
    ("gather", {"x": np.eye(3), "indices": whole(2, -1, 0), "axis": 1}, np.eye(3)[:, [2, 2, 0]]),
    ("gather", {"x": whole([1, 2], [3, 4]), "indices": whole([1], [0]), "axis": 1, "batch_dims": 1}, [[2], [3]]),
    ("gather_nd", {"x": whole([1, 2], [3, 4]), "indices": whole([0, 1], [1, 1])}, [2, 4]),
    ("gather_nd", {"x": whole([1, 2], [3, 4]), "indices": whole([1], [0]), "batch_dims": 1}, [2, 3]),
    ("scatter", {"data": np.zeros(4), "indices": whole(1, 1), "updates": np.ones(2), "mode": "add"}, [0, 2, 0, 0]),
    ("scatter", {"data": np.eye(1, 3), "indices": whole(2), "updates": 5, "axis": 1, "mode": "update"}, [[1, 0, 5]]),
    ("scatter", {"data": np.ones(2), "indices": whole(0), "updates": whole(3), "mode": "max"}, [3, 1]),
    ("concat", {"values": [whole(1, 2), whole(3, 4)], "axis": 0, "interleave": True}, [1, 3, 2, 4]),
    ("stack", {"values": [whole(1, 2), whole(3, 4)], "axis": 1}, [[1, 3], [2, 4]]),
    ("one_hot", {"indices": whole(2, 0), "one_hot_vector_size": 3, "on_value": 7}, [[0, 0, 7], [7, 0, 0]]),
    ("cumsum", {"x": whole(1, 2, 3), "exclusive": True, "reverse": True}, [5, 3, 0]),
    ("reshape", {"x": np.arange(6).reshape(2, 3), "shape": whole(0, -1, 1)}, np.arange(6).reshape(2, 3, 1)),
    ("fill", {"shape": whole(2, 1), "value": 4.0}, [[4], [4]]),
    ("range_1d", {"start": 1, "end": 6, "step": 2}, [1, 3, 5]),
    ("shape", {"x": np.zeros((2, 3))}, [2, 3]),
    (
        "slice_by_index",
        {"x": np.arange(12).reshape(3, 4), "begin": whole(-1, 9), "end": whole(0, 9), "squeeze_mask": [True, False],
             "begin_mask": [False, True], "end_mask": [False, True], "stride": whole(1, -2)},
        [11, 9],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "wanted"), BY_DEFINITION)
def test_an_operator_does_what_it_is_defined_to_do(name, given, wanted):
    np.testing.assert_array_equal(OPERATORS[name](**given), wanted)


def test_a_split_has_several_outputs():
    parts = OPERATORS["split"](x=np.arange(5), split_sizes=np.array([2, 3]), axis=0)
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3, 4]]
    assert [len(part) for part in OPERATORS["split"](x=np.arange(6), num_splits=3)] == [2, 2, 2]


@pytest.mark.parametrize("mode", ["TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])
def test_approximations_of_gelu_are_near_it_and_not_it(mode):
    difference = np.abs(OPERATORS["gelu"](x=X, mode=mode) - functional.gelu(T).numpy()).max()
    assert 1e-5 < difference < 0.03


def test_a_bidirectional_layer_of_two_and_a_split_are_evaluated_as_saved(tmp_path):
    torch.manual_seed(0)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)

        def forward(self, x):
            states, (h, c) = self.read(x)
            there, back = states.chunk(2, -1)
            return there * back.amax((1, 2), keepdim=True), h.transpose(0, 1), c.transpose(0, 1)

    network, x = Both().eval(), torch.randn(1, 6, 3)
    to_coreml(network, {"x": x}, tmp_path / "m.mlpackage", "fp32", ["y", "h", "c"])
    said = MilProgram.load(tmp_path / "m.mlpackage").run({"x": x.numpy()})
    with torch.no_grad():
        for name, wanted in zip("yhc", network(x), strict=True):
            np.testing.assert_allclose(said[name], wanted.numpy(), atol=1e-5)


def test_an_lstm_with_parts_that_are_not_known_is_refused():
    zeros = np.zeros((1, 1), np.float32)
    with pytest.raises(ExportError, match=r"^an lstm with clip is not known here; export one without$"):
        lstm(zeros[None], zeros, zeros, np.zeros((4, 1)), np.zeros((4, 1)), clip=1.0)


def test_a_row_outside_a_table_is_an_error_of_ours(tmp_path):
    to_coreml(
        nn.Embedding(3, 2), {"input": torch.zeros(1, 1, dtype=torch.int32)}, tmp_path / "m.mlpackage", "fp32", "y"
    )
    program = MilProgram.load(tmp_path / "m.mlpackage")
    with pytest.raises(ExportError, match=r"gather .* cannot be evaluated"):
        program.run({"input": np.array([[7]], np.int32)})
