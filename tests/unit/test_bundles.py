"""Bundles are written whole or not at all, and nothing that was changed is believed."""

import io
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.errors import BundleError
from preloader.events import Context
from preloader.ports import Snapshot
from preloader.prediction import FittedOn, OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.arrays import decode_arrays, encode_arrays
from preloader.prediction.bundle_files import recover, write_files
from preloader.prediction.manifest import MAX_SESSIONS, encode_manifest, session_hash
from preloader.testing import random_events

FILES = ("manifest.json", "state.json", "arrays.npz", "CARD.md")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    predictor = OnlinePredictor(["component"], word_bits=8, max_sessions=4, max_contexts=256)
    for event in random_events(1, users=2, sessions=2):
        predictor.learn_one(event)
    path = tmp_path_factory.mktemp("bundles") / "good"
    fitted_on = FittedOn(format="jsonl", sessions=[session_hash("user0", "session0")], events=160)
    save_bundle(path, predictor.snapshot(), fitted_on=fitted_on, command="preloader train", card="# A card\n")
    return path, predictor


@pytest.fixture
def bundle(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "bundle")


def reseal(path, **changes):
    """Write a manifest that matches the files as they are now, as an attacker would."""
    manifest = load_manifest(path)
    files = {name: sha256((path / name).read_bytes()).hexdigest() for name in manifest.files if (path / name).exists()}
    manifest = msgspec.structs.replace(manifest, **{"files": files, **changes})
    (path / "manifest.json").write_bytes(encode_manifest(manifest))


def load_manifest(path):
    from preloader.prediction.manifest import Manifest

    return msgspec.convert(json.loads((path / "manifest.json").read_bytes())["manifest"], Manifest)


def assert_refused(path, *words):
    with pytest.raises(BundleError) as caught:
        load_bundle(path).predictor()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


def test_a_bundle_says_what_it_is_and_predicts_as_before(saved):
    path, predictor = saved
    loaded = load_bundle(path)
    assert loaded.predictor().predict(Context("user0", "new")) == predictor.predict(Context("user0", "new"))
    assert loaded.manifest.predictor == "online"
    assert loaded.manifest.kinds == ["component"]
    assert loaded.manifest.command == "preloader train"
    assert loaded.manifest.fitted_on.holds("user0", "session0")
    assert not loaded.manifest.fitted_on.holds("user0", "session1")


def test_the_same_state_makes_the_same_bytes(saved, tmp_path):
    snapshot = saved[1].snapshot()
    for name in "ab":
        save_bundle(tmp_path / name, snapshot)
    for file in FILES[:3]:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_byte_anywhere_is_found(saved, data, tmp_path_factory):
    path = shutil.copytree(saved[0], tmp_path_factory.mktemp("changed") / "bundle")
    name = data.draw(st.sampled_from(FILES))
    content = bytearray((path / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (path / name).write_bytes(content)
    assert_refused(path, "bundle")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 0.5, -1])
def test_a_truncated_file_is_found(bundle, name, kept):
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[: int(kept * len(content)) if kept >= 0 else -1])
    assert_refused(bundle, name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    assert_refused(bundle, name)


@pytest.mark.parametrize("name", ["evil.py", ".hidden", "manifest.json.bak", "arrays"])
def test_an_additional_file_is_named(bundle, name):
    (bundle / name).write_text("import os")
    assert_refused(bundle, name, "does not belong")


def test_a_file_that_the_manifest_does_not_list_is_named(bundle):
    manifest = load_manifest(bundle)
    files = {name: digest for name, digest in manifest.files.items() if name != "CARD.md"}
    reseal(bundle, files=files)
    assert_refused(bundle, "CARD.md", "not list")


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed(bundle, name, tmp_path):
    (bundle / name).rename(tmp_path / name)
    (bundle / name).symlink_to(tmp_path / name)
    assert_refused(bundle, name, "no regular file")


def test_a_directory_or_pipe_in_place_of_a_file_is_refused(bundle):
    (bundle / "CARD.md").unlink()
    os.mkfifo(bundle / "CARD.md")
    assert_refused(bundle, "CARD.md", "no regular file")


@pytest.mark.parametrize("name", ["../state.json", "/etc/passwd", "a/b", "", "..", "x" * 80])
def test_a_manifest_that_names_other_places_is_refused(bundle, name):
    sealed = json.loads((bundle / "manifest.json").read_bytes())
    sealed["manifest"]["files"][name] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(sealed))
    assert_refused(bundle, "manifest.json")


@pytest.mark.parametrize(("schema", "word"), [(0, "older"), (2, "newer")])
def test_other_versions_are_refused(bundle, schema, word):
    reseal(bundle, schema=schema)
    assert_refused(bundle, word, str(schema))


def test_a_state_of_another_version_is_refused(bundle):
    state = json.loads((bundle / "state.json").read_bytes())
    (bundle / "state.json").write_text(json.dumps({**state, "version": 7}))
    reseal(bundle)
    assert_refused(bundle, "version 7")


def test_another_predictors_bundle_is_refused(bundle):
    reseal(bundle, predictor="sequence")
    assert_refused(bundle, "sequence")


@pytest.mark.parametrize("state", ["[]", "{", "null", "[" * 100_000, '{"predictor": "online"}'])
def test_a_state_that_is_none_is_refused(bundle, state):
    (bundle / "state.json").write_text(state)
    reseal(bundle)
    assert_refused(bundle)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/should-never-exist",)


def npz(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(shape, descr="<f8"):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HOSTILE = {
    "a pickle as an object array": npz([("x.npy", npy(np.array([Bomb()], dtype=object), allow_pickle=True))]),
    "a bare pickle": npz([("x.npy", pickle.dumps(Bomb()))]),
    "a pickle in place of the archive": pickle.dumps(Bomb()),
    "a path that leads out": npz([("../../x.npy", npy(np.zeros(1)))]),
    "an absolute path": npz([("/x.npy", npy(np.zeros(1)))]),
    "no array's name": npz([("x.txt", b"hello")]),
    "a shape larger than the data": npz([("x.npy", header((1 << 40,)) + b"\0" * 64)]),
    "a negative shape": npz([("x.npy", header((-1,)) + b"\0" * 64)]),
    "text": npz([("x.npy", npy(np.array(["a"])))]),
    "times": npz([("x.npy", npy(np.array(["2026-01-01"], dtype="datetime64[D]")))]),
    "records": npz([("x.npy", npy(np.zeros(2, dtype=[("a", "<f8"), ("b", "O")]), allow_pickle=True))]),
    "a header that is code": npz([("x.npy", header((1,), "<f8").replace(b"'<f8'", b"exit()"))]),
    "too many members": npz([(f"x{number}.npy", b"") for number in range(5_000)]),
    "nothing": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused(bundle, case):
    (bundle / "arrays.npz").write_bytes(HOSTILE[case])
    reseal(bundle)
    assert_refused(bundle, "arrays.npz")
    assert not Path("/tmp/should-never-exist").exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    bomb = npz([("x.npy", header((8_000_000,)) + b"\0" * 64_000_000)])
    assert len(bomb) < 100_000
    with pytest.raises(BundleError, match="more than the allowed"):
        decode_arrays(bomb, max_bytes=1_000_000)


def test_a_zip_bomb_that_lies_about_its_size_is_refused():
    bomb = bytearray(npz([("x.npy", header((8_000_000,)) + b"\0" * 64_000_000)]))
    directory = bomb.rindex(b"PK\x01\x02")
    bomb[directory + 24 : directory + 28] = (1_000).to_bytes(4, "little")
    with pytest.raises(BundleError):
        decode_arrays(bytes(bomb), max_bytes=1_000_000)


@settings(max_examples=100, deadline=None)
@given(junk=st.binary(max_size=400))
def test_junk_is_no_array_file(junk):
    with pytest.raises(BundleError):
        decode_arrays(junk)


def test_arrays_come_back_as_they_were():
    arrays = {
        "0.empty": np.zeros((0, 3), np.float32),
        "a": np.arange(12, dtype=np.int16).reshape(3, 4),
        "flags": np.array([True, False]),
    }
    back = decode_arrays(encode_arrays(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_what_is_no_bundle_is_not_replaced(saved, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    for path in (tmp_path / "thesis", tmp_path / "thesis" / "chapter1.txt"):
        with pytest.raises(BundleError, match="is no bundle"):
            save_bundle(path, saved[1].snapshot())
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_a_writer_that_fails_leaves_the_old_bundle(bundle, saved, monkeypatch):
    before = {name: (bundle / name).read_bytes() for name in FILES}

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BundleError, match="No space left"):
        save_bundle(bundle, Snapshot({"predictor": "online"}, {}))
    assert {name: (bundle / name).read_bytes() for name in FILES} == before
    assert [entry.name for entry in bundle.parent.iterdir()] == [bundle.name]


def test_what_could_not_be_read_again_is_not_written(bundle, saved):
    before = (bundle / "manifest.json").read_bytes()
    many = FittedOn(format="jsonl", sessions=[f"{number:010x}" for number in range(940_000)])
    with pytest.raises(BundleError) as caught:
        save_bundle(bundle, saved[1].snapshot(), fitted_on=many)
    larger = "manifest.json is larger than 16,777,216 bytes"
    assert str(caught.value) == f"{bundle} is not written, since it could not be read again: {larger}"
    assert (bundle / "manifest.json").read_bytes() == before
    assert [entry.name for entry in bundle.parent.iterdir()] == [bundle.name]


def test_a_manifest_can_name_as_many_sessions_as_may_be_learned(tmp_path, saved):
    most = FittedOn(format="jsonl", sessions=[f"{number:010x}" for number in range(MAX_SESSIONS)])
    save_bundle(tmp_path / "bundle", saved[1].snapshot(), fitted_on=most)
    assert len(load_bundle(tmp_path / "bundle").manifest.fitted_on.sessions) == MAX_SESSIONS


@pytest.mark.parametrize(("umask", "directory", "file"), [(0o077, 0o700, 0o600), (0o022, 0o755, 0o644)])
def test_whoever_the_umask_lets_may_read_a_bundle(tmp_path, umask, directory, file):
    path = tmp_path / "bundle"
    before = os.umask(umask)
    try:
        for _ in range(2):  # anew, and over another
            write_files(path, {"state.json": b"{}", "a.mlpackage/Manifest.json": b"{}"})
    finally:
        os.umask(before)
    modes = {str(one.relative_to(path)): stat.S_IMODE(one.stat().st_mode) for one in (path, *path.rglob("*"))}
    assert modes == {
        ".": directory,
        "state.json": file,
        "a.mlpackage": directory,
        "a.mlpackage/Manifest.json": file,
    }
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_a_writer_killed_between_its_renames_loses_nothing(bundle, saved):
    bundle.rename(bundle.with_name(".bundle.previous"))
    assert load_bundle(bundle).manifest.predictor == "online"
    save_bundle(bundle, saved[1].snapshot())
    assert [entry.name for entry in bundle.parent.iterdir()] == [bundle.name]
    assert load_bundle(bundle).manifest.fitted_on is None


KILLED = """
import os, signal, sys
from preloader.ports import Snapshot
from preloader.prediction import save_bundle

os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
save_bundle(sys.argv[1], Snapshot({"predictor": "online"}, {}))
"""


def beside(path):
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


def test_what_a_killed_writer_had_begun_is_removed_by_the_next(bundle, saved):
    before = (bundle / "manifest.json").read_bytes()
    assert subprocess.run([sys.executable, "-c", KILLED, bundle], check=False).returncode == -signal.SIGKILL
    assert (bundle / "manifest.json").read_bytes() == before
    (left,) = beside(bundle)
    assert left.startswith(".bundle.draft-")
    save_bundle(bundle, saved[1].snapshot())
    assert beside(bundle) == []


def test_what_a_writer_is_at_work_on_is_left_alone_as_are_others_files(bundle, saved, monkeypatch):
    others = [".bundle.training", ".bundle2.draft-x", "bundle.draft-x"]
    for name in others:
        bundle.with_name(name).mkdir()
    fsync, seen = os.fsync, []

    def meanwhile(descriptor):
        if not seen:
            seen.append(beside(bundle))
            recover(bundle)
            assert beside(bundle) == seen[0]
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    save_bundle(bundle, saved[1].snapshot())
    assert len(seen[0]) == len(others) + 1
    assert beside(bundle) == sorted(others)


def test_what_is_missing_or_no_directory_is_refused(tmp_path):
    assert_refused(tmp_path / "nowhere", "No such file")
    (tmp_path / "file").write_text("")
    assert_refused(tmp_path / "file", "Not a directory")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "no bundle")


def test_a_way_of_packing_that_is_not_known_is_refused():
    data = npz([("a.npy", npy(np.zeros(3)))], zipfile.ZIP_STORED)
    place = data.index(b"PK\x01\x02")  # the directory's entry, whose bytes 10 and 11 say how it is packed
    with pytest.raises(BundleError, match="cannot be read"):
        decode_arrays(data[: place + 10] + (99).to_bytes(2, "little") + data[place + 12 :])
