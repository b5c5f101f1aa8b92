"""Learned models in a bundle are listed and checked like everything else in it, and nothing leads out of it."""

import json
import os
import shutil

import msgspec
import pytest

from preloader.errors import BundleError
from preloader.ports import Snapshot
from preloader.prediction import bundle_files, load_bundle, save_bundle
from preloader.prediction.manifest import Facts, Source

PACKAGE = {
    "net.mlpackage/Manifest.json": b"{}",
    "net.mlpackage/Data/com.apple.CoreML/model.mlmodel": b"program",
    "net.mlpackage/Data/com.apple.CoreML/weights/weight.bin": bytes(range(100)),
}
FILES = {"net.onnx": b"graph", "net.safetensors": b"weights", "curve.png": b"\x89PNG", **PACKAGE}
FACTS = Facts(
    features={"rows": 16, "use_words": True},
    vocabulary=71,
    calibration={"temperature": 1.25},
    metrics={"tool": {"top1": 0.63, "interval": [0.62, 0.64]}},
    sources=[Source(name="agent sessions", licence="CC-BY-4.0", url="https://example.org")],
)


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def bundle(tmp_path):
    write(tmp_path / "made", PACKAGE)
    path = tmp_path / "bundle"
    files = {name: data for name, data in FILES.items() if name not in PACKAGE}
    (tmp_path / "made" / "net.onnx").write_bytes(files["net.onnx"])
    files["net.onnx"] = tmp_path / "made" / "net.onnx"
    files["net.mlpackage"] = tmp_path / "made" / "net.mlpackage"
    save_bundle(path, Snapshot({"predictor": "sequence"}, {}), files=files, facts=FACTS, card="# A card\n")
    return path


def assert_refused(path, *words):
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


def test_models_and_facts_come_back_as_they_were(bundle):
    loaded = load_bundle(bundle)
    assert loaded.files == FILES
    assert loaded.manifest.facts == FACTS
    assert set(loaded.manifest.files) == {*FILES, "state.json", "arrays.npz", "CARD.md"}


def test_a_bundle_without_models_has_no_word_of_them(tmp_path):
    save_bundle(tmp_path / "plain", Snapshot({"predictor": "online"}, {}))
    assert "facts" not in json.loads((tmp_path / "plain" / "manifest.json").read_bytes())["manifest"]
    assert load_bundle(tmp_path / "plain").files == {}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_found(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    assert_refused(bundle, name, "SHA-256")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    assert_refused(bundle, name, "missing")


@pytest.mark.parametrize(
    "name",
    [
        "net.pt",
        "net.pkl",
        ".net.onnx",
        "net.onnx.data",
        "net.mlpackage/evil.py",
        "net.mlpackage/Data/weight.bin",
        "net.mlpackage/Data/com.apple.CoreML/weights/more/weight.bin",
        "net.mlpackage/Data/com.apple.CoreML/weights/other.bin",
        "folder/net.onnx",
        "more.mlpackage/net.mlpackage/Manifest.json",
    ],
)
def test_a_file_that_does_not_belong_is_named(bundle, name):
    write(bundle, {name: b"?"})
    assert_refused(bundle, "does not belong into a bundle")


def test_a_model_that_the_manifest_does_not_list_is_named(bundle):
    (bundle / "more.onnx").write_bytes(b"graph")
    assert_refused(bundle, "more.onnx", "does not list")


@pytest.mark.parametrize(
    "name",
    [
        "../net.onnx",
        "/etc/net.onnx",
        "net.mlpackage/../../net.onnx",
        "../net.mlpackage/Manifest.json",
        "net.mlpackage/Data/../../../Manifest.json",
        "net.mlpackage/Data/com.apple.CoreML/weights/../model.mlmodel",
        "net.mlpackage//Manifest.json",
        "net.mlpackage\\Manifest.json",
        "net.onnx\n",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_when_read_and_when_written(bundle, tmp_path, name):
    with pytest.raises(BundleError, match="does not belong"):
        save_bundle(tmp_path / "new", Snapshot({"predictor": "sequence"}, {}), files={name: b"?"})
    assert not (tmp_path / "new").exists()
    sealed = json.loads((bundle / "manifest.json").read_bytes())
    sealed["manifest"]["files"][name] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(sealed))
    assert_refused(bundle, "manifest.json is no manifest")


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_a_file_is_not_followed(bundle, tmp_path, name):
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert_refused(bundle, name, "no regular file")


@pytest.mark.parametrize("name", ["net.mlpackage", "net.mlpackage/Data", "net.mlpackage/Data/com.apple.CoreML/weights"])
def test_a_link_to_a_directory_is_not_followed(bundle, tmp_path, name):
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert_refused(bundle, name, "no directory")


def test_a_pipe_in_place_of_a_model_is_refused_without_waiting(bundle):
    (bundle / "net.onnx").unlink()
    os.mkfifo(bundle / "net.onnx")
    assert_refused(bundle, "net.onnx", "no regular file")


def test_a_package_to_be_saved_may_hold_no_link(bundle, tmp_path):
    made = tmp_path / "made" / "net.mlpackage"
    (made / "Manifest.json").unlink()
    (made / "Manifest.json").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="no regular file"):
        save_bundle(tmp_path / "new", Snapshot({"predictor": "sequence"}, {}), files={"net.mlpackage": made})


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "arrays.npz", "CARD.md"])
def test_the_bundles_own_files_are_not_given(tmp_path, name):
    with pytest.raises(BundleError, match="own file"):
        save_bundle(tmp_path / "new", Snapshot({"predictor": "online"}, {}), files={name: b"?"})


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"gone\.onnx cannot be read"):
        save_bundle(tmp_path / "new", Snapshot({"predictor": "online"}, {}), files={"net.onnx": tmp_path / "gone.onnx"})


def test_what_is_too_large_is_refused_when_read_and_when_written(bundle, tmp_path, monkeypatch):
    limits = tuple((pattern, 2_000) for pattern, _ in bundle_files._MAX_FILE_BYTES)
    monkeypatch.setattr(bundle_files, "_MAX_FILE_BYTES", limits)
    (bundle / "net.onnx").write_bytes(b"x" * 2_001)
    assert_refused(bundle, "net.onnx is larger than 2,000 bytes")
    with pytest.raises(BundleError, match=r"net\.onnx is larger than 2,000 bytes"):
        save_bundle(tmp_path / "new", Snapshot({"predictor": "online"}, {}), files={"net.onnx": b"x" * 2_001})


def test_many_files_and_much_of_them_are_refused(bundle, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(bundle_files, "_MAX_TOTAL_BYTES", 50)
        assert_refused(bundle, "larger than 50 bytes together")
    monkeypatch.setattr(bundle_files, "_MAX_FILES", 5)
    assert_refused(bundle, "6 files, and 5 are allowed")


def test_changed_facts_are_found(bundle):
    sealed = json.loads((bundle / "manifest.json").read_bytes())
    sealed["manifest"]["facts"]["metrics"]["tool"]["top1"] = 0.99
    (bundle / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n")
    assert_refused(bundle, "does not match the SHA-256")


def test_a_bundle_with_models_replaces_one_without_and_back(bundle):
    save_bundle(bundle, Snapshot({"predictor": "online"}, {}))
    assert load_bundle(bundle).files == {}
    assert not (bundle / "net.mlpackage").exists()
    save_bundle(bundle, Snapshot({"predictor": "sequence"}, {}), files={"net.onnx": b"graph"})
    assert load_bundle(bundle).files == {"net.onnx": b"graph"}
    assert [entry.name for entry in bundle.parent.glob(".*")] == []


def test_a_bundle_may_be_reached_through_a_link(bundle, tmp_path):
    (tmp_path / "current").symlink_to(bundle)
    assert load_bundle(tmp_path / "current").files == FILES


def test_a_copy_is_as_good(bundle, tmp_path):
    assert load_bundle(shutil.copytree(bundle, tmp_path / "copy")).files == FILES
