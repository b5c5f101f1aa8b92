"""A network that is written down by hand, small and quick to make, which onnxruntime runs like any other."""

import numpy as np
import onnx
from onnx import helper

from preloader.events import Context
from preloader.prediction.features import Features, FeatureSettings
from preloader.prediction.sequence import Calibration, OnnxPredictor, SequenceSpec
from preloader.prediction.users import UserVectors

OUTPUTS = ("log_probabilities", "uses")
FEATURES = FeatureSettings(rows=4, pieces=2, piece_bits=6, texts=1, words=4, word_bits=6)
_USER_WIDTH = 2
_TYPES = {"int32": onnx.TensorProto.INT32, "float32": onnx.TensorProto.FLOAT}


def small_predictor(kind, keys, steps, seed=0):
    """Return a sequence predictor, and its ONNX model."""
    spec = SequenceSpec(
        kind=kind,
        vocabulary=list(keys),
        horizon=steps,
        features=FEATURES,
        calibration=Calibration(temperatures=(1.0,) * steps),
    )
    users = UserVectors((), np.zeros((0, _USER_WIDTH), np.float32), np.zeros((0, len(keys) + 1), np.float32))
    arrays = Features(kind, keys, FEATURES).of(Context()) | {"user": users.of("")}
    model = _network(arrays, steps, len(keys) + 1, seed)
    return OnnxPredictor(spec, users, model), model


def _network(arrays, steps, outputs, seed):
    """Return a model that takes all inputs, and goes by the moment and the keys' ages alone."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], []
    for name, rows in (("log_probabilities", steps), ("uses", 2)):
        size = arrays["moment"].shape[0], rows * outputs
        weights.append(onnx.numpy_helper.from_array(rng.normal(size=size).astype(np.float32), f"{name}.weight"))
        weights.append(onnx.numpy_helper.from_array(np.array((-1, rows, outputs), np.int64), f"{name}.shape"))
        nodes += [
            helper.make_node("MatMul", ["moment", f"{name}.weight"], [f"{name}.flat"]),
            helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [f"{name}.moment"]),
            helper.make_node("Add", [f"{name}.moment", "aged"], [f"{name}.scores"]),
        ]
    weights.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"))
    aged = [
        helper.make_node("Cast", ["ages"], ["ages.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["ages.float", "axis"], ["aged"]),  # (batch, 1, outputs)
    ]
    said = [
        helper.make_node("LogSoftmax", ["log_probabilities.scores"], ["log_probabilities"], axis=-1),
        helper.make_node("Identity", ["uses.scores"], ["uses"]),
    ]
    graph = helper.make_graph(
        [*aged, *nodes, *said],
        "network",
        [helper.make_tensor_value_info(k, _TYPES[str(v.dtype)], ["batch", *v.shape]) for k, v in arrays.items()],
        [
            helper.make_tensor_value_info(name, _TYPES["float32"], ["batch", rows, outputs])
            for name, rows in zip(OUTPUTS, (steps, 2), strict=True)
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
