"""Learned models in service: one prediction of a network, the stages on the event loop, and `observe()` with a mixture.

The network is of the usual size with 500 outputs and has random weights: its own speed does not depend on them, and
finishing is slowest with them, since no key is hopeless. Run it with ``python -m benchmarks.bench_inference [--json]``;
it needs the ``train`` extra, for the network and the peer.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import ROUNDS, Figure, percentile, ratio, report
from preloader.events import Context, ContextTracker, Event
from preloader.learning.export import to_onnx
from preloader.learning.network import INPUTS, OUTPUTS, SequenceNetwork
from preloader.learning.settings import NetworkSettings
from preloader.manager import PreloadManager
from preloader.ndarray import NDArray
from preloader.ports import Cost, Predictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.features import Features, FeatureSettings
from preloader.prediction.sequence import Calibration, OnnxPredictor, Request, SequenceSpec
from preloader.prediction.users import UserVectors
from preloader.settings import Settings
from preloader.testing import FakeProvider, random_events

OUTPUTS_OF_ONE_STEP = 500
STEPS = 3
CALLS = 100
BATCH = 8
LEARNED, OBSERVED = 500, 300
KEYS = [f"component:item{number}" for number in range(OUTPUTS_OF_ONE_STEP - 1)]

Arrays = Mapping[str, NDArray[Any]]


def figures() -> Iterator[Figure]:
    """Measure everything, in order of the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features = FeatureSettings()
    network = SequenceNetwork(len(KEYS), STEPS, features, NetworkSettings()).eval()
    predictor = _predictor(network, features)
    requests = [predictor.begin(context, STEPS) for context in _contexts()]
    yield from predicting(network, predictor, requests)
    yield from staging(predictor, requests)
    yield from observing(partial(_predictor, network, features))


def predicting(network: SequenceNetwork, predictor: OnnxPredictor, requests: list[Request]) -> Iterator[Figure]:
    """Time one run of the network, beside torch and NumPy on the same inputs, interleaved."""
    batches = [{name: array[None] for name, array in request.arrays.items()} for request in requests]
    by_hand = _ByHand(network)
    _check_same(network, by_hand, predictor, batches[-1])
    sides: dict[str, Callable[[Arrays], object]] = {
        "ONNX": predictor.runtime.run,
        "torch": partial(_run_torch, network),
        "NumPy by hand": by_hand.run,
    }
    times = _interleaved_calls(sides, batches)
    for share, hold in ((0.5, 500.0), (0.99, None)):
        middle = statistics.median(percentile(calls, share) for calls in times["ONNX"])
        what = f"one prediction, ONNX, {OUTPUTS_OF_ONE_STEP} outputs, p{share * 100:.0f}"
        yield Figure(what=what, measured=middle, unit="µs", hold=hold, note="CPU time on one thread")
    middles = {name: [statistics.median(calls) for calls in rounds] for name, rounds in times.items()}
    for peer in ("torch", "NumPy by hand"):
        note = f"{statistics.median(middles[peer]):.3g} µs"
        yield Figure(what=f"  ONNX ÷ {peer}", measured=ratio(middles["ONNX"], middles[peer]), unit="x", note=note)
    at_once = {name: np.concatenate([batch[name] for batch in batches[:BATCH]]) for name in INPUTS}
    together = _interleaved_calls({"batch": predictor.runtime.run}, [at_once] * CALLS)["batch"]
    each = [statistics.median(calls) / BATCH for calls in together]
    yield Figure(what=f"  each of {BATCH} at once", measured=statistics.median(each), unit="µs")


def staging(predictor: OnnxPredictor, requests: list[Request]) -> Iterator[Figure]:
    """Time what a prediction takes on the event loop: before and after the network runs."""
    answers = predictor.infer(requests)
    contexts = [request.context for request in requests]
    begun = _interleaved_calls({"": lambda context: predictor.begin(context, STEPS)}, contexts)[""]
    pairs = list(zip(requests, answers, strict=True))
    finished = _interleaved_calls({"": lambda pair: predictor.finish(*pair)}, pairs)[""]
    for what, rounds in (("begin()", begun), ("finish()", finished)):
        middle = statistics.median(map(statistics.median, rounds))
        yield Figure(what=f"{what} on the event loop, p50", measured=middle, unit="µs", note="CPU time of one call")


def observing(sequence: Callable[[], OnnxPredictor]) -> Iterator[Figure]:
    """Time `observe()` with a mixture of the online predictor and the network."""

    def mixture() -> Predictor:
        return MixturePredictor([OnlinePredictor(("component",), horizon=STEPS), sequence()])

    rounds = [asyncio.run(_observe_all(mixture())) for _ in range(ROUNDS)]
    for name, share, hold in (("observe()", 0.5, 1_000.0), ("observe()", 0.99, None), ("loop", 0.5, None)):
        middle = statistics.median(percentile(times[name], share) for times in rounds)
        what = (
            f"{name} with a mixture, p{share * 100:.0f}" if name == "observe()" else "  with landing and loading, p50"
        )
        yield Figure(what=what, measured=middle, unit="µs", hold=hold, note="CPU time on the event loop")
    decided = statistics.median(percentile(times["decided"], 0.5) for times in rounds)
    yield Figure(
        what="  until it is decided, p50", measured=decided, unit="µs", note="wall time, the thread's included"
    )


async def _observe_all(predictor: Predictor) -> dict[str, list[float]]:
    """Return microseconds of each event: of `observe()`, of the loop in all, and until its decisions were made."""
    times: dict[str, list[float]] = {"observe()": [], "loop": [], "decided": []}
    provider = FakeProvider({key: Cost(0.0, 1_000_000) for key in KEYS})
    settings = Settings(budget_bytes=len(KEYS) * 500_000, steps=STEPS)
    async with PreloadManager({"component": provider}, predictor=predictor, settings=settings) as manager:
        for number, event in enumerate(_history()[: LEARNED + OBSERVED]):
            began_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
            manager.observe(event)
            observed_ns = time.thread_time_ns()
            await manager.settled()
            if number >= LEARNED:
                times["observe()"].append((observed_ns - cpu_ns) / 1e3)
                times["loop"].append((time.thread_time_ns() - cpu_ns) / 1e3)
                times["decided"].append((time.perf_counter_ns() - began_ns) / 1e3)
    return times


def _interleaved_calls(sides: Mapping[str, Callable[[Any], object]], inputs: list[Any]) -> dict[str, list[list[float]]]:
    """Return each side's CPU microseconds of every call, by round: A B A B."""
    times: dict[str, list[list[float]]] = {name: [] for name in sides}
    for side in sides.values():
        side(inputs[0])
    for _ in range(ROUNDS):
        for name, side in sides.items():
            calls = []
            for one in inputs:
                began = time.thread_time_ns()
                side(one)
                calls.append((time.thread_time_ns() - began) / 1e3)
            times[name].append(calls)
    return times


def _run_torch(network: SequenceNetwork, arrays: Arrays) -> tuple[NDArray[Any], ...]:
    with torch.inference_mode():
        said = network(*(torch.from_numpy(np.asarray(arrays[name])) for name in INPUTS))
        return tuple(one.numpy() for one in said)


class _ByHand:
    """The network's forward pass in plain NumPy, as one would write it without a runtime."""

    def __init__(self, network: SequenceNetwork) -> None:
        self._w = {name: value.detach().numpy() for name, value in network.state_dict().items()}
        self._steps, self._heads, self._vocabulary = network.steps, network.heads, network.vocabulary

    def run(self, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        w = self._w
        rows = w["keys.weight"][arrays["items"]] + w["pieces.weight"][arrays["pieces"]].sum(2)  # (batch, rows, width)
        rows = rows + self._linear("flags", arrays["flags"])
        middle = rows - rows.mean(-1, keepdims=True)
        rows = middle / np.sqrt((middle * middle).mean(-1, keepdims=True) + 1e-5) * w["enter.weight"] + w["enter.bias"]
        heard = (w["words.weight"][arrays["words"]] * arrays["word_weights"][..., None]).sum(2)  # (batch, texts, words)
        around = w["pieces.weight"][arrays["circumstances"]].sum(1)
        evidence = [self._recurrent(rows), heard.reshape(len(heard), -1), around, arrays["moment"], arrays["user"]]
        joined = np.maximum(self._linear("join.1", np.concatenate(evidence, axis=1)), 0.0)
        joined = joined + np.maximum(self._linear("deepen.1", joined), 0.0)  # (batch, hidden)
        turned = self._linear("turn", joined).reshape(len(joined), self._heads, -1)
        scores = turned @ w["keys.weight"][: self._vocabulary + 1].T + w["bias"]  # (batch, heads, 1 + V)
        used = w["ages.weight"][arrays["ages"]] + w["counts.weight"][arrays["counts"]]  # (batch, 1 + V, used width)
        scores = scores + self._linear("weigh", joined).reshape(len(joined), self._heads, -1) @ used.transpose(0, 2, 1)
        logs, uses = scores[:, : self._steps], scores[:, self._steps :]
        logs = logs - logs.max(-1, keepdims=True)
        return logs - np.log(np.exp(logs).sum(-1, keepdims=True)), uses

    def _linear(self, name: str, inputs: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(inputs @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"])

    def _recurrent(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the LSTM's state after the last row: (batch, hidden)."""
        w = self._w
        entering = rows @ w["recurrent.weight_ih_l0"].T + (w["recurrent.bias_ih_l0"] + w["recurrent.bias_hh_l0"])
        size = entering.shape[-1] // 4
        state = cell = np.zeros((len(rows), size), np.float32)
        for row in entering.transpose(1, 0, 2):
            gates = row + state @ w["recurrent.weight_hh_l0"].T  # (batch, 4 × hidden): in, forget, cell, out
            opened = 1.0 / (1.0 + np.exp(-gates))
            cell = opened[:, size : 2 * size] * cell + opened[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
            state = opened[:, 3 * size :] * np.tanh(cell)
        return state


def _check_same(network: SequenceNetwork, by_hand: _ByHand, predictor: OnnxPredictor, arrays: Arrays) -> None:
    """Check that the sides compute the same, or their times would say nothing."""
    expected = _run_torch(network, arrays)
    onnx = predictor.runtime.run(dict(arrays))
    for want, *found in zip(expected, by_hand.run(arrays), (onnx[name] for name in OUTPUTS), strict=True):
        for got in found:
            np.testing.assert_allclose(got, want, atol=1e-4)


def _predictor(network: SequenceNetwork, features: FeatureSettings) -> OnnxPredictor:
    spec = SequenceSpec(
        kind="component",
        vocabulary=KEYS,
        horizon=STEPS,
        features=features,
        calibration=Calibration(temperatures=(1.0,) * STEPS),
    )
    users = UserVectors(
        (), np.zeros((0, NetworkSettings().user_width), np.float32), np.zeros((0, len(KEYS) + 1), np.float32)
    )
    return OnnxPredictor(spec, users, to_onnx(network, _example(spec, users), OUTPUTS))


def _example(spec: SequenceSpec, users: UserVectors) -> dict[str, torch.Tensor]:
    arrays = Features(spec.kind, spec.vocabulary, spec.features).of(Context())
    arrays["user"] = users.of("")
    return {name: torch.from_numpy(np.asarray(arrays[name]))[None] for name in INPUTS}


def _contexts() -> list[Context]:
    tracker = ContextTracker()
    return [tracker.observe(event) for event in _history()[:CALLS]]


def _history() -> list[Event]:
    return random_events(seed=11, users=10, sessions=6, length=60, items=len(KEYS))


if __name__ == "__main__":
    report("bench_inference", figures)
