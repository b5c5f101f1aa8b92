"""What only a Mac can show of a bundle: its networks in CoreML against ONNX Runtime, on CPU, GPU and Neural Engine.

Run it with ``python -m benchmarks.macos_check BUNDLE``, under ``sudo`` for the energy. It prints a table, and writes
it to ``benchmarks/RESULTS-macos.md``. Elsewhere it says that it needs macOS, and exits with 2; `preloader.learning`
verifies the exported programs there, operator by operator.
"""

from __future__ import annotations

import argparse
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import power
from benchmarks.anonymous_inputs import anonymous_inputs
from benchmarks.harness import ROUNDS, percentile
from preloader.errors import PreloaderError
from preloader.events import Context, Event
from preloader.ndarray import NDArray
from preloader.ports import Predictor
from preloader.prediction import Bundle, load_bundle
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.coreml import COMPUTE_UNITS, CoreMLRuntime
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.runtime import Runtime
from preloader.prediction.sequence import SequencePredictor

RESULTS = Path(__file__).with_name("RESULTS-macos.md")
LOG_PROBABILITIES = "log_probabilities"
_TIMED = 200
_SEED = 0
_WARM_UP = 20

Arrays = Mapping[str, NDArray[np.generic]]
Network = SequencePredictor | AnonymousPredictor
OpenCoreML = Callable[[Bundle, str, str], Runtime]


class Row(msgspec.Struct, frozen=True):
    """One form of a network in one place.

    Attributes:
        network: What runs: ``ONNX``, or the package's name.
        where: Its compute units.
        difference: Largest difference of a log-probability to ONNX's, in nats.
        agreement: Share of inputs and steps whose likeliest key is the same.
        p50_us: Median wall time of a prediction, in microseconds.
        p99_us: The 99th percentile.
        energy_mj: Energy of a prediction in millijoules; ``None`` where it was not read.
    """

    network: str
    where: str
    difference: float
    agreement: float
    p50_us: float
    p99_us: float
    energy_mj: float | None = None


def open_coreml(bundle: Bundle, package: str, where: str) -> Runtime:
    """Open one of a bundle's packages."""
    return CoreMLRuntime.of_files(bundle.files, package, compute_units=where)


def check(
    bundle: Bundle,
    inputs: int,
    open_package: OpenCoreML = open_coreml,
    energy: Callable[[Callable[[], object]], float] | None = None,
) -> Iterator[Row]:
    """Compare every package of a bundle, on every compute unit, with the same network's ONNX model.

    Args:
        bundle: It.
        inputs: On how many inputs.
        open_package: Opens a package on some compute units.
        energy: Returns the millijoules of a call, where they can be read.

    Raises:
        BundleError: A network cannot be run.
    """
    for predictor in networks_of(bundle.predictor("onnx")):
        rows = list(rows_of(predictor, inputs))
        expected = [predictor.runtime.run(row) for row in rows]
        yield _row("ONNX", "CPU", predictor.runtime, rows, expected, energy)
        for package in packages_of(bundle, stem_of(predictor)):
            for where in COMPUTE_UNITS:
                yield _row(package, where, open_package(bundle, package, where), rows, expected, energy)


def networks_of(predictor: Predictor) -> list[Network]:
    """Return the predictors with a network that a predictor is, or is made of."""
    if isinstance(predictor, MixturePredictor):
        return [network for expert in predictor.experts for network in networks_of(expert)]
    return [predictor] if isinstance(predictor, SequencePredictor | AnonymousPredictor) else []


def stem_of(predictor: Network) -> str:
    """Return what the names of a network's files begin with."""
    return predictor.spec.stem if isinstance(predictor, SequencePredictor) else predictor.name


def rows_of(predictor: Network, count: int) -> Iterator[Arrays]:
    """Yield a network's inputs, each with a batch of one: the same ones every time."""
    if isinstance(predictor, SequencePredictor):
        return inputs_of(predictor, count)
    return anonymous_inputs(predictor, count)


def packages_of(bundle: Bundle, stem: str) -> list[str]:
    """Return the names of a network's CoreML packages, sorted."""
    names = {name.partition("/")[0] for name in bundle.files}
    return sorted(name for name in names if name.startswith(f"{stem}-") and name.endswith(".mlpackage"))


def inputs_of(predictor: SequencePredictor, count: int) -> Iterator[Arrays]:
    """Yield the inputs of contexts that walk through the vocabulary at random: the same ones every time."""
    rng = random.Random(_SEED)
    keys = predictor.spec.vocabulary
    context = Context("somebody", "walk")
    for number in range(count):
        key = rng.choice(keys)
        text = rng.choice((None, "open it", "what is next", "no, the other one"))
        event = Event(
            user=context.user,
            session=context.session,
            time_s=1_750_000_000.0 + 30.0 * number,
            action=key,
            text=text,
            resources=(key,),
            duration_s=rng.expovariate(1.0),
            ok=rng.random() < 0.9,
        )
        context = Context("somebody", "walk") if rng.random() < 0.02 else context.after(event)
        yield predictor.inputs([predictor.begin(context, predictor.horizon)])


def compared(found: Sequence[Arrays], expected: Sequence[Arrays]) -> tuple[float, float]:
    """Return the largest difference of a log-probability, and how often the likeliest key of a step is the same."""
    ours = np.concatenate([one[LOG_PROBABILITIES] for one in found]).astype(np.float64)  # (inputs, steps, 1 + V)
    theirs = np.concatenate([one[LOG_PROBABILITIES] for one in expected]).astype(np.float64)
    return float(np.abs(ours - theirs).max()), float((ours.argmax(-1) == theirs.argmax(-1)).mean())


def table(rows: Iterable[Row], machine: str, note: str) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Results on macOS",
        "",
        f"{machine}. Differences are to ONNX Runtime's, in nats; times are wall time of one prediction. {note}",
        "",
        "| network | compute units | largest difference | likeliest the same | p50, µs | p99, µs | energy, mJ |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        energy = "not read" if row.energy_mj is None else f"{row.energy_mj:.3g}"
        figures = (f"{row.difference:.2g}", f"{row.agreement:.2%}", f"{row.p50_us:.0f}", f"{row.p99_us:.0f}", energy)
        lines.append(f"| {' | '.join((row.network, row.where, *figures))} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a bundle; return 0, or 1 where it cannot be run and 2 where this is not macOS."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.macos_check", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--inputs", type=int, default=1_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if platform.system() != "Darwin":
        print(f"macos_check needs macOS: CoreML does not run on {platform.system()}", file=sys.stderr)
        return 2
    why_not = power.unreadable()
    try:
        rows = list(check(load_bundle(options.bundle), options.inputs, energy=None if why_not else _millijoules))
    except PreloaderError as error:
        print(error, file=sys.stderr)
        return 1
    if not rows:
        print(f"{options.bundle} holds no network", file=sys.stderr)
        return 1
    shown = table(
        rows, _machine(), f"Energy was not read: {why_not}." if why_not else "Energy is beyond that of idling."
    )
    print(shown)
    options.out.write_text(shown)
    return 0


def _row(
    network: str,
    where: str,
    runtime: Runtime,
    rows: Sequence[Arrays],
    expected: Sequence[Arrays],
    energy: Callable[[Callable[[], object]], float] | None,
) -> Row:
    difference, agreement = compared([runtime.run(row) for row in rows], expected)
    times_us = _times_us(runtime, rows[:_TIMED])
    energy_mj = None if energy is None else energy(lambda: runtime.run(rows[0]))
    return Row(network, where, difference, agreement, percentile(times_us, 0.5), percentile(times_us, 0.99), energy_mj)


def _times_us(runtime: Runtime, rows: Sequence[Arrays]) -> list[float]:
    for row in rows[:_WARM_UP]:
        runtime.run(row)
    times = []
    for _ in range(ROUNDS):
        for row in rows:
            began = time.perf_counter_ns()
            runtime.run(row)
            times.append((time.perf_counter_ns() - began) / 1e3)
    return times


def _millijoules(call: Callable[[], object]) -> float:
    return power.millijoules_a_call(call)


def _machine() -> str:
    chip = _said("sysctl", "-n", "machdep.cpu.brand_string")
    return f"{chip}, macOS {platform.mac_ver()[0]}, Python {platform.python_version()}"


def _said(*command: str) -> str:
    run: Any = subprocess.run(command, capture_output=True, text=True)
    return str(run.stdout).strip() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
