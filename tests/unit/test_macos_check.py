"""The check for Macs, as far as it can be tested without one: a stand-in answers for CoreML."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx")

from benchmarks import macos_check, power
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.coreml import COMPUTE_UNITS, CoreMLRuntime
from tests.unit.small_network import small_predictor

KEYS = [f"tool:t{at}" for at in range(6)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    predictor, model = small_predictor("tool", KEYS, 2)
    for part in ("Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"):
        (folder / "made.mlpackage" / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / "made.mlpackage" / part).write_bytes(b"for CoreML")
    files = {"tool.onnx": model, "tool-fp32.mlpackage": folder / "made.mlpackage"}
    save_bundle(folder / "bundle", predictor.snapshot(), files=files)
    return load_bundle(folder / "bundle")


class Model:
    """Answers for ``MLModel`` as the network's ONNX model does."""

    def __init__(self, runtime):
        self._runtime = runtime

    def get_spec(self):
        return SimpleNamespace(
            description=SimpleNamespace(input=[SimpleNamespace(name=name) for name in self._runtime.inputs])
        )

    def predict(self, row):
        return self._runtime.run(row)


SHIPPED = Path(__file__).parents[2] / "models" / "default"


def open_shipped(bundle, package, where):
    (_, network) = bundle.predictor("onnx").experts
    return CoreMLRuntime(package, Model(network.runtime))


def test_a_network_without_a_vocabulary_is_compared_too(monkeypatch):
    monkeypatch.setattr(macos_check, "ROUNDS", 1)
    rows = list(macos_check.check(load_bundle(SHIPPED), 20, open_shipped))
    assert [(row.network, row.where) for row in rows] == [
        ("ONNX", "CPU"),
        *(("anonymous-fp16.mlpackage", where) for where in COMPUTE_UNITS),
    ]
    assert all(row.difference < 1e-4 and row.agreement == 1.0 for row in rows)
    off = list(macos_check.check(load_bundle(SHIPPED), 20, lambda *package: Off(open_shipped(*package))))
    assert off[1].difference > 1.0
    assert off[1].agreement < 0.8


def test_a_network_without_a_vocabulary_gets_the_same_inputs_every_time_however_many():
    (_, network) = load_bundle(SHIPPED).predictor("onnx").experts
    first, again = (list(macos_check.rows_of(network, 620)) for _ in range(2))
    assert len(first) == 620
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert all(len(array) == 1 for array in one.values())
    assert len({one["candidates"].tobytes() for one in first}) > 600
    assert max(one["present"].sum() for one in first) > 30


def open_package(bundle, package, where):
    assert where in COMPUTE_UNITS
    return CoreMLRuntime(package, Model(bundle.predictor("onnx").runtime))


def test_each_package_is_compared_on_each_compute_unit(bundle, monkeypatch):
    monkeypatch.setattr(macos_check, "ROUNDS", 1)
    rows = list(macos_check.check(bundle, 10, open_package))
    assert [(row.network, row.where) for row in rows] == [
        ("ONNX", "CPU"),
        *(("tool-fp32.mlpackage", where) for where in COMPUTE_UNITS),
    ]
    assert rows[0].difference == 0.0
    for row in rows:
        assert row.difference < 1e-4
        assert row.agreement == 1.0
        assert 0 < row.p50_us <= row.p99_us
        assert row.energy_mj is None


class Off:
    """A runtime that says the opposite at the first step."""

    name = "off"

    def __init__(self, runtime):
        self._runtime = runtime
        self.inputs = runtime.inputs

    def run(self, arrays):
        said = self._runtime.run(arrays)
        logs = said["log_probabilities"].copy()
        logs[:, 0] *= -1.0
        return said | {"log_probabilities": logs}


def test_a_package_that_is_off_is_seen(bundle, monkeypatch):
    monkeypatch.setattr(macos_check, "ROUNDS", 1)
    rows = list(macos_check.check(bundle, 10, lambda *package: Off(open_package(*package)), energy=lambda call: 0.25))
    assert rows[1].difference > 1.0
    assert rows[1].agreement == 0.5  # of two steps
    assert rows[1].energy_mj == 0.25


def test_inputs_are_the_same_every_time_and_differ_from_each_other(bundle):
    predictor = bundle.predictor("onnx")
    first, again = (list(macos_check.inputs_of(predictor, 30)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len({one["moment"].tobytes() for one in first}) > 20


def test_the_table_names_machine_and_figures():
    rows = [macos_check.Row("a-fp16.mlpackage", "CPU_AND_NE", 0.0123, 0.998, 101.2, 340.0, None)]
    shown = macos_check.table(rows, "Apple M4", "Energy was not read: no root.")
    assert "Apple M4" in shown
    assert "| a-fp16.mlpackage | CPU_AND_NE | 0.012 | 99.80% | 101 | 340 | not read |" in shown


def test_on_a_mac_the_results_are_written(bundle, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(macos_check.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(macos_check, "ROUNDS", 1)
    monkeypatch.setattr(macos_check.check, "__defaults__", (open_package, None))
    monkeypatch.setattr(macos_check, "_machine", lambda: "a Mac")
    out = tmp_path / "results.md"
    assert macos_check.main([str(bundle.path), "--inputs", "3", "--out", str(out)]) == 0
    assert out.read_text().count("tool-fp32.mlpackage") == len(COMPUTE_UNITS)
    assert out.read_text().strip() in capsys.readouterr().out


@pytest.mark.parametrize("content", ["nothing", "no network"])
def test_on_a_mac_what_cannot_be_checked_is_one_sentence(content, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(macos_check.platform, "system", lambda: "Darwin")
    if content == "no network":
        save_bundle(tmp_path / "bundle", OnlinePredictor(("tool",)).snapshot())
    assert macos_check.main([str(tmp_path / "bundle")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_elsewhere_it_says_that_it_needs_macos(monkeypatch, capsys):
    monkeypatch.setattr(macos_check.platform, "system", lambda: "Linux")
    assert macos_check.main(["bundle"]) == 2
    assert capsys.readouterr().err == "macos_check needs macOS: CoreML does not run on Linux\n"


REPORT = """*** Sampled system activity (Sat Nov 21 10:00:00 2026 +0000) (2003.11ms elapsed) ***

**** Processor usage ****
CPU Power: {cpu} mW
GPU Power: 27 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): {all} mW
"""


def test_power_is_read_from_the_report():
    assert power.milliwatts(REPORT.format(cpu=1034, all=1061)) == 1061
    with pytest.raises(ValueError, match="no combined power"):
        power.milliwatts("CPU Power: 3 mW")


def test_energy_is_what_a_call_takes_beyond_idling():
    reports = iter([REPORT.format(cpu=0, all=100), REPORT.format(cpu=900, all=1_100)])
    calls = []

    def sample():
        program = f"import time; time.sleep(0.2); print({next(reports)!r})"
        return subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE, text=True)

    energy = power.millijoules_a_call(lambda: calls.append(1), sample)
    assert calls
    assert energy * len(calls) > 0.2 * 1_000  # 1,000 mW more for at least the time that the sampler slept


def test_what_hinders_reading_power_is_said(monkeypatch):
    monkeypatch.setattr(power.shutil, "which", lambda name: None)
    assert power.unreadable() == "there is no powermetrics on this system"
    monkeypatch.setattr(power.shutil, "which", lambda name: str(Path("/usr/bin") / name))
    monkeypatch.setattr(power.os, "geteuid", lambda: 501)
    assert power.unreadable() == "powermetrics needs root: run this with sudo"
    monkeypatch.setattr(power.os, "geteuid", lambda: 0)
    assert power.unreadable() == ""
