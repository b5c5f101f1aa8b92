"""Writes a trained network as ONNX and as a CoreML package: the same inputs, outputs and names, and no weights outside.

Both are the same bytes every time for the same network and versions of the libraries, so that a bundle can be made
again and compared. Nothing in them names the machine that made them.
"""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import torch
from torch import Tensor, nn

from preloader.errors import ExportError, require

OPSET = 20
"""The version of ONNX's operators: the first that has GELU as one; onnxruntime runs it since 1.17."""

Precision = Literal["fp16", "fp32"]

_MAX_BATCH = 1 << 16
_MAX_MESSAGE = 300
_TALKATIVE = ("coremltools", "torch.onnx._internal.exporter._registration")
"""Loggers that warn of every library that is newer than they know, or that is not installed and not needed."""

_DTYPES = {torch.int32: np.int32, torch.float32: np.float32}


def to_onnx(network: nn.Module, example_inputs: Mapping[str, Tensor], output_names: Sequence[str]) -> bytes:
    """Return a network as an ONNX model whose batch may be of any size, and whose other dimensions are fixed.

    Args:
        network: It; its ``forward`` takes tensors, batch first, and returns a tensor or a tuple of them.
        example_inputs: A tensor for each of ``forward``'s parameters, int32 or float32, of any batch; the last ones
            may be left out where they have a default.
        output_names: What to call what it returns.

    Raises:
        ExportError: It cannot be exported.
        MissingExtraError: ``onnx`` or ``onnxscript`` is not installed.
    """
    onnx = require("onnx", "train")
    require("onnxscript", "train")
    arguments = _arguments(network, example_inputs)
    # a batch of one would be taken for a constant, so two rows stand for any number
    examples = tuple(value[:1].repeat(2, *[1] * (value.dim() - 1)) for value in arguments.values())
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    with _exporting(network, "ONNX"):
        program = torch.onnx.export(
            network,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(arguments),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: batch} for _ in examples),
            verbose=False,
        )
        model = program.model_proto  # type: ignore[union-attr]
        _forget_origins(model)
        onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def to_coreml(
    network: nn.Module,
    example_inputs: Mapping[str, Tensor],
    path: Path | str,
    precision: Precision,
    output_names: Sequence[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network as a CoreML package: an ML program for macOS 13 and later, with a batch of one.

    Args:
        network: As for `to_onnx`.
        example_inputs: As for `to_onnx`.
        path: Where; ends in ``.mlpackage``. What is there is replaced.
        precision: Of weights and computation; inputs and outputs are int32 and float32 in both. In ``fp16`` the last
            step to log-probabilities is computed in float32 still: most probabilities would vanish in half precision.
        output_names: What to call what it returns.
        metadata: What the package is to say of itself, such as its version and licence.

    Raises:
        ExportError: It cannot be exported.
        MissingExtraError: coremltools is not installed.
    """
    arguments = {name: value[:1] for name, value in _arguments(network, example_inputs).items()}
    with _exporting(network, "CoreML"):
        ct = require("coremltools", "train")
        traced = torch.jit.trace(network, tuple(arguments.values()), check_trace=False)  # type: ignore[no-untyped-call]
        model = ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[
                ct.TensorType(name=name, shape=tuple(value.shape), dtype=_DTYPES[value.dtype])
                for name, value in arguments.items()
            ],
            outputs=[ct.TensorType(name=name, dtype=np.float32) for name in output_names],
            minimum_deployment_target=ct.target.macOS13,
            compute_precision=_half_precision(ct) if precision == "fp16" else ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.user_defined_metadata.update(metadata or {})
        _save(model, Path(path))


def _arguments(network: nn.Module, example_inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the example in the order of ``forward``'s parameters."""
    parameters = inspect.signature(network.forward).parameters.values()
    names = [one.name for one in parameters if one.default is one.empty or one.name in example_inputs]
    if set(names) != example_inputs.keys():
        raise ExportError(f"the network takes {', '.join(names)}, and the example has {', '.join(example_inputs)}")
    for name in names:
        dtype = example_inputs[name].dtype
        if dtype not in _DTYPES:
            raise ExportError(f"the example of {name!r} is of {dtype}, and torch.int32 or torch.float32 is needed")
    return {name: example_inputs[name].detach() for name in names}


@contextmanager
def _exporting(network: nn.Module, what: str) -> Iterator[None]:
    """Let a library convert a network: in evaluation mode, silently, and with its errors made ours."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    was_training, had_fast_path = network.training, torch.backends.mha.get_fastpath_enabled()
    network.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator, which no exporter knows
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except ExportError:
        raise
    except Exception as error:  # the converters raise whatever they meet
        reason = " ".join(str(error).split())[:_MAX_MESSAGE] or type(error).__name__
        raise ExportError(f"{type(network).__name__} cannot be exported to {what}: {reason}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fast_path)
        network.train(was_training)


def _forget_origins(model: Any) -> None:
    """Remove what the exporter notes of where each operator is from: lines and paths of the program that exported."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]


def _half_precision(ct: Any) -> Any:
    """Return the rule of what is computed in half precision: everything but logarithms, and what they are taken of."""

    def is_exact(operation: Any) -> bool:
        return operation.op_type == "log" or any(
            later.op_type == "log" for output in operation.outputs for later in output.child_ops
        )

    return ct.transform.FP16ComputePrecision(op_selector=lambda operation: not is_exact(operation))


def _save(model: Any, path: Path) -> None:
    with TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        model.save(str(made))
        _name_items(made / "Manifest.json")
        specification = made / "Data" / "com.apple.CoreML" / "model.mlmodel"
        specification.write_bytes(model.get_spec().SerializeToString(deterministic=True))
        if path.exists():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, path)


def _name_items(manifest: Path) -> None:
    """Give a package's parts identifiers made of their places, where coremltools draws them at random."""
    text = manifest.read_text()
    for identifier, entry in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid5(NAMESPACE_URL, entry["path"])))
    table = json.loads(text)
    table["itemInfoEntries"] = dict(sorted(table["itemInfoEntries"].items()))
    manifest.write_text(json.dumps(table, indent=4) + "\n")
