"""The forms in which a bundle holds a network: made, compared with the network itself, and only then given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save as encode_tensors
from torch import Tensor, nn

from preloader.learning.export import Precision, to_coreml
from preloader.learning.mil_shapes import Array
from preloader.learning.verify import MIN_ROWS, Compared, Verification, verify

_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")

Files = dict[str, bytes | Path]


def forms_of(
    name: str,
    network: nn.Module,
    onnx: bytes,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    kept: Sequence[Precision] = ("fp16",),
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[Files, list[str]]:
    """Return a bundle's files for a network, and in words how far they are from it.

    CoreML programs are made in both precisions and compared; those that are not kept show that the export is right.

    Args:
        name: What the files are called.
        network: It.
        onnx: Its ONNX model.
        inputs: Real inputs to compare on, as many as `verify` asks for; some may be the same where no more differ.
        outputs: What its outputs are called.
        kept: The precisions of the CoreML programs to give out.
        weights: What is to be trained on from later, if anything is.

    Raises:
        ExportError: A form cannot be made, or does not say what the network says.
    """
    files: Files = {f"{name}.onnx": onnx}
    if weights is not None:
        files[f"{name}.safetensors"] = encode_tensors(dict(weights))
    with TemporaryDirectory() as made:
        packages = {precision: Path(made) / f"{precision}.mlpackage" for precision in _PRECISIONS}
        for precision, path in packages.items():
            to_coreml(network, {key: value[:1] for key, value in inputs.items()}, path, precision, outputs)
        arrays: dict[str, Array] = {key: value.numpy() for key, value in inputs.items()}
        verification = verify(network, arrays, onnx, packages, outputs)
        for precision in kept:
            files |= _package(packages[precision], f"{name}-{precision}.mlpackage")
    return files, in_words(verification)


def in_words(verification: Verification) -> list[str]:
    """Return on how many inputs exported models were compared with a network, and how far each is from it."""
    few = "" if verification.rows >= MIN_ROWS else f", all that there are: {MIN_ROWS:,} are wanted"
    return [
        f"compared on {verification.rows:,} distinct inputs{few}",
        *(_distance(model, one) for model, one in verification.models.items()),
    ]


def _distance(model: str, compared: Compared) -> str:
    differences = ", ".join(f"{name} within {most:.1e}" for name, most in compared.differences.items())
    return f"{model}: {differences} nats, likeliest the same in {next(iter(compared.agreement.values())):.2%}"


def _package(path: Path, name: str) -> dict[str, bytes]:
    return {f"{name}/{file.relative_to(path)}": file.read_bytes() for file in path.rglob("*") if file.is_file()}
