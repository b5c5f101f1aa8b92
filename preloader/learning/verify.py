"""Compares what was exported with the network it was made of, on real inputs, and refuses an export that differs.

Log-probabilities and log-odds are compared, not probabilities: damage to the weights of what is improbable hardly moves
those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import torch
from torch import nn

from preloader.errors import ExportError
from preloader.learning.distinct import distinct
from preloader.learning.export import Precision
from preloader.learning.mil import MilProgram
from preloader.learning.mil_shapes import Array
from preloader.prediction.onnx import OnnxRuntime

MIN_ROWS = 1_000
"""On how many distinct inputs an export is verified, where there are as many: else on all that there are."""

MAX_DIFFERENCE = 1e-4
"""How far any output of a model in float32 may be from torch's, in nats."""

MIN_AGREEMENT = 0.995
"""In what share of the rows the likeliest entry of a model in half precision must be torch's."""

MAX_HALF_DIFFERENCE = 0.1
"""How far any output of a model in half precision may be from torch's, in nats: rounding moves it by hundredths."""

_BATCH = 256
_SINGLE_ROWS = 8


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """How far one exported model's outputs are from torch's.

    Attributes:
        differences: The largest absolute difference, in nats, by output.
        agreement: The share of rows whose likeliest entry is the same, by output; every step or head of every distinct
            input is a row.
        seconds: How long the evaluation of all rows took.
    """

    differences: dict[str, float]
    agreement: dict[str, float]
    seconds: float


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found; it is only returned where every bound holds.

    Attributes:
        rows: How many distinct inputs were compared.
        models: What was found, by model: ``onnx``, and ``coreml-fp32`` and ``coreml-fp16`` where they were given.
    """

    rows: int
    models: dict[str, Compared]


def verify(
    network: nn.Module,
    inputs: Mapping[str, Array],
    onnx: bytes,
    packages: Mapping[Precision, Path | str],
    output_names: Sequence[str],
) -> Verification:
    """Compare exported models with the network on real inputs.

    Args:
        network: What was exported; its ``forward`` takes the inputs by name.
        inputs: At least `MIN_ROWS` rows of each, batch first. Only those that differ are compared, each once; some may
            be the same where no more are to be had that differ (see `choose_distinct`).
        onnx: The ONNX model.
        packages: CoreML packages by their precision.
        output_names: What the outputs are called, in the network's order.

    Raises:
        ExportError: There are fewer rows; or an output differs by more than `MAX_DIFFERENCE` in float32, or by more
            than `MAX_HALF_DIFFERENCE` or in more rows than `MIN_AGREEMENT` allows in half precision; or a model cannot
            be evaluated.
        BundleError: onnxruntime refuses the model.
    """
    rows = min(map(len, inputs.values()), default=0)
    if rows < MIN_ROWS:
        raise ExportError(f"an export is verified on at least {MIN_ROWS:,} inputs, and {rows:,} were given")
    inputs = distinct(inputs)
    wanted = _of_network(network, inputs, output_names)
    models = {"onnx": _compared("onnx", "fp32", wanted, partial(_of_onnx, OnnxRuntime(onnx), inputs))}
    for precision, path in packages.items():
        program = MilProgram.load(path)
        name = f"coreml-{precision}"
        models[name] = _compared(name, precision, wanted, partial(program.run_rows, inputs))
    return Verification(rows=len(next(iter(inputs.values()))), models=models)


def _of_network(network: nn.Module, inputs: Mapping[str, Array], output_names: Sequence[str]) -> dict[str, Array]:
    was_training = network.training
    network.eval()
    parts = []
    try:
        with torch.no_grad():
            for batch in _batches(inputs, 0):
                said = network(**{name: torch.from_numpy(array) for name, array in batch.items()})
                parts.append([one.numpy() for one in (said if isinstance(said, tuple) else (said,))])
    finally:
        network.train(was_training)
    return {name: np.concatenate(part) for name, part in zip(output_names, zip(*parts, strict=True), strict=True)}


def _of_onnx(runtime: OnnxRuntime, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs for all rows: the first singly, the others in batches, as both occur in service."""
    parts = [runtime.run(batch) for batch in _batches(inputs, _SINGLE_ROWS)]
    return {name: np.concatenate([part[name] for part in parts]) for name in runtime.outputs}


def _batches(inputs: Mapping[str, Array], single: int) -> list[dict[str, Array]]:
    rows = min(map(len, inputs.values()))
    bounds = [*range(single), *range(single, rows, _BATCH), rows]
    return [{name: array[start:stop] for name, array in inputs.items()} for start, stop in pairwise(bounds)]


def _compared(
    name: str, precision: Precision, wanted: Mapping[str, Array], evaluate: Callable[[], dict[str, Array]]
) -> Compared:
    start_s = perf_counter()
    found = evaluate()
    seconds = perf_counter() - start_s
    differences, agreement = {}, {}
    for output, right in wanted.items():
        if output not in found or found[output].shape != right.shape:
            shape = found[output].shape if output in found else "none"
            raise ExportError(f"{name} must have the output {output!r} of the shape {right.shape}, and has {shape}")
        differences[output] = float(np.max(np.abs(found[output] - right)))
        agreement[output] = float(np.mean(found[output].argmax(-1) == right.argmax(-1)))
        _check(f"{output!r} of {name}", precision, differences[output], agreement[output])
    return Compared(differences=differences, agreement=agreement, seconds=seconds)


def _check(what: str, precision: Precision, difference: float, agreement: float) -> None:
    bound = MAX_DIFFERENCE if precision == "fp32" else MAX_HALF_DIFFERENCE
    if not difference <= bound:  # so that NaN is refused, too
        raise ExportError(f"{what} is up to {difference:.3g} from the network's, and at most {bound:g} is allowed")
    if precision == "fp16" and agreement < MIN_AGREEMENT:
        raise ExportError(
            f"{what} has the network's likeliest entry in {agreement:.2%} of the rows, not {MIN_AGREEMENT:.1%}"
        )
