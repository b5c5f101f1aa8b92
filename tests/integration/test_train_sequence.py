"""A sequence model from a recipe to a bundle: trained, calibrated, exported, verified, loaded, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest
from safetensors import safe_open
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from preloader.cli import build
from preloader.errors import BundleError, ConfigurationError
from preloader.events import Context, ContextTracker
from preloader.history import load_sessions
from preloader.learning.trainer import Fit
from preloader.prediction import load_bundle
from preloader.prediction.experts import MixturePredictor

HOUSEHOLD = "household:seed=1,users=2,days=10"
RECIPE = """
name = "tiny"
model = "sequence"
[data]
format = "household"
kinds = ["component"]
licence = "none: simulated"
min_sessions = 5
min_items = 20
[online]
max_contexts = 500
word_bits = 10
max_sessions = 4
[features]
rows = 6
pieces = 3
piece_bits = 6
words = 12
word_bits = 8
[sequence]
min_uses = 12
[network]
width = 12
hidden = 16
word_width = 8
user_width = 4
[training]
epochs = 3
batch = 32
[validation]
bootstraps = 5
baselines = []
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


def arguments(recipe, out, *more):
    return ["train", "--history", HOUSEHOLD, "--recipe", str(recipe), "--out", str(out), "--json", *more]


def trained(recipe, out, *more):
    result = CliRunner().invoke(build(), arguments(recipe, out, *more))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def made(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "bundle"
    return out, trained(recipe, out)


def test_the_bundle_is_a_mixture_that_predicts(made):
    out, told = made
    predictor = load_bundle(out).predictor()
    assert isinstance(predictor, MixturePredictor)
    assert [expert.name for expert in predictor.experts] == ["online", "sequence_component"]
    assert predictor.predict(Context("person1", "new"))
    assert sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) < 5_000_000
    rows = {(row["predictor"], row["learn"]) for row in told["validation"]["component"]}
    assert {("mixture", "online"), ("sequence_component", "frozen"), ("online", "frozen"), ("order2", "frozen")} <= rows
    assert told["networks"][0]["losses"][-1] < told["networks"][0]["losses"][0]
    assert len(told["networks"][0]["verification"]) >= 3


def test_card_and_manifest_tell_of_the_network_that_is_there_and_of_its_draft(made):
    out, told = made
    bundle = load_bundle(out)
    (network,) = told["networks"]
    spec = bundle.predictor().experts[1].spec
    assert (network["refitted"], network["vocabulary"], network["draft"]["vocabulary"]) == (True, 18, 16)
    assert network["vocabulary"] == len(spec.vocabulary) == bundle.manifest.facts.vocabulary
    assert network["losses"] != network["draft"]["losses"]
    calibration = msgspec.to_builtins(spec.calibration)
    assert calibration["slopes"] != (1.0, 1.0)
    assert bundle.manifest.facts.calibration["component"] == json.loads(msgspec.json.encode(calibration))
    card = (out / "CARD.md").read_text()
    assert "18 keys, 2 users" in card
    assert "held out: " in card
    assert "16 keys, 2 users" in card
    assert "19 were held out to validate and calibrate, and learned once that was done" in card
    assert "the names of the users" in card
    assert "compared on 1,024 distinct inputs" in card


def test_the_bundle_holds_no_events(made):
    state = (made[0] / "state.json").read_text()
    spoken = {event.text for session in load_sessions([HOUSEHOLD], "household") for event in session.events} - {None}
    assert spoken
    assert not [text for text in spoken if text in state]
    assert not [one.session for one in load_sessions([HOUSEHOLD], "household") if f'"{one.session}"' in state]


def test_a_bundle_goes_on_from_its_own_state(made):
    bundle = load_bundle(made[0])
    one, other = bundle.predictor(), bundle.predictor()
    tracker = ContextTracker()
    for event in load_sessions([HOUSEHOLD], "household")[-1].events:
        one.learn_one(event)
        context = tracker.observe(event)
    other.restore(one.snapshot())
    assert other.predict(context) == one.predict(context)


def test_weights_that_nobody_adapts_are_left_out_and_change_nothing_else(recipe, made, tmp_path):
    trained(recipe, tmp_path / "bundle", "--set", "sequence.adaptable=false")
    lean, whole = load_bundle(tmp_path / "bundle").files, load_bundle(made[0]).files
    assert set(whole) - set(lean) == {"component.safetensors"}
    assert lean["component.onnx"] == whole["component.onnx"]


def test_a_tampered_network_is_refused(made, tmp_path):
    copy = tmp_path / "bundle"
    subprocess.run(["cp", "-r", made[0], copy], check=True)
    model = copy / "component.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(BundleError, match=r"component\.onnx does not match its SHA-256"):
        load_bundle(copy)


def test_a_run_that_was_killed_goes_on_to_the_same_result(recipe, made, tmp_path):
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "preloader", *arguments(recipe, out, "--set", "training.epochs=200")]
    checkpoint = tmp_path / ".bundle.training" / "component-draft-0.safetensors"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        while not checkpoint.exists():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    with pytest.raises(ConfigurationError, match="another recipe"):
        trained(recipe, out, "--resume")
    (tmp_path / ".bundle.training").rename(tmp_path / ".other.training")


def test_without_an_interrupted_run_there_is_nothing_to_resume(recipe, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no run for .* was interrupted"):
        trained(recipe, tmp_path / "bundle", "--resume")


def test_a_resumed_run_is_bit_equal(recipe, made, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "preloader", *arguments(recipe, out)]
    workplace = tmp_path / ".bundle.training"
    killed = workplace / "component-draft-0.safetensors"
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=alone)
    try:
        while not killed.exists() and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    before = sum(map(epochs_in, workplace.glob("component-*.safetensors")))
    assert 1 <= before < 6
    taken = []
    run_epoch = Fit.run_epoch
    monkeypatch.setattr(Fit, "run_epoch", lambda fit: (taken.append(fit.epoch), run_epoch(fit))[1])
    with threadpool_limits(2):  # however many threads there were, and are now
        trained(recipe, out, "--resume")
    assert len(taken) == 6 - before  # three of the draft, three of what is fitted to everything
    one, other = load_bundle(made[0]), load_bundle(out)
    assert [name for name in one.files if one.files[name] != other.files.get(name)] == []
    for name in ("state.json", "arrays.npz"):
        assert (made[0] / name).read_bytes() == (out / name).read_bytes()
    assert one.manifest.facts == other.manifest.facts  # calibration, figures on what was held out, distances
    assert not workplace.exists()


def epochs_in(checkpoint):
    with safe_open(checkpoint, framework="numpy") as file:
        return json.loads(file.metadata()["progress"])["epoch"]


def test_work_divided_among_processes_comes_to_the_same_bytes(recipe, made, tmp_path, monkeypatch):
    monkeypatch.setattr("preloader.learning.example_shards._EVENTS", 100)  # many shards, where the other had one
    trained(recipe, tmp_path / "bundle", "--jobs", "2")
    one, other = load_bundle(made[0]), load_bundle(tmp_path / "bundle")
    assert one.files.keys() == other.files.keys()
    assert all(one.files[name] == other.files[name] for name in one.files if not name.endswith(".png"))
    for name in ("state.json", "arrays.npz"):
        assert (made[0] / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()


def test_a_cluster_that_does_not_answer_is_told(recipe, tmp_path):
    with pytest.raises(ConfigurationError, match=r"^--scheduler 'tcp://127.0.0.1:1' does not answer"):
        trained(recipe, tmp_path / "bundle", "--scheduler", "tcp://127.0.0.1:1")
