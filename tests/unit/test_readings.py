"""What a reading of a workspace writes down, and what that proves."""

import time
from pathlib import Path

import pytest

from preloader.errors import LoadError, RefusedPathError, UnknownResourceError
from preloader.workspace import reading as reading_module
from preloader.workspace.files import SourceFiles
from preloader.workspace.footprint import Verdict
from preloader.workspace.paths import Confined
from preloader.workspace.reading import Reading
from tests.unit.workspace_tree import write

FILES = {"a.py": "a", "src/b.py": "b", "src/deep/c.py": "c", ".env": "x", "x.log": "x", ".gitignore": "*.log\nout/\n"}
FILES["out/d.py"] = "d"


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "root", FILES)
    return tmp_path / "root"


@pytest.fixture
def settled(monkeypatch):
    """A clock that is an hour ahead, so that every stamp has settled."""
    now = time.time_ns
    monkeypatch.setattr(reading_module.time, "time_ns", lambda: now() + 3_600_000_000_000)


def change(root, files):
    """Write files, past the tick of the clock in which they were made."""
    time.sleep(0.02)
    write(root, files)


def read(root):
    return Reading(SourceFiles(Confined(root)), {}, 10.0)


def verdict(root, reading):
    return reading.footprint().verdict(root, {})


def test_a_walk_shows_what_may_be_looked_at(root):
    (root / "link").symlink_to("src")
    (root / "src/file_link.py").symlink_to("b.py")
    assert list(map(str, read(root).walk())) == [".gitignore", "a.py", "src/b.py", "src/deep/c.py"]
    assert list(map(str, read(root).walk("src"))) == ["src/b.py", "src/deep/c.py"]
    assert list(map(str, read(root).walk("link"))) == ["link/b.py", "link/deep/c.py"]
    assert len(list(read(root).walk(most=2))) == 2
    for wrong in ("out", ".env", "..", "a.py", "absent"):
        with pytest.raises(UnknownResourceError):
            list(read(root).walk(wrong))


def test_contents_are_those_of_the_files(root):
    one, other = read(root), read(root)
    found = {str(path): data for path, data, _ in one.contents(reading_module._HERE, lambda path: path.suffix == ".py")}
    assert (
        found
        == {path: other.file(path).data for path in found}
        == {"a.py": b"a", "src/b.py": b"b", "src/deep/c.py": b"c"}
    )


def test_a_directory_reached_by_a_link_obeys_the_rules_where_it_lies(root):
    """Its own ignore file, and the root's about its real path."""
    write(root, {"src/.gitignore": "deep/\n"})
    (root / "link").symlink_to("src")
    (root / "to_out").symlink_to("out")
    assert list(map(str, read(root).walk("link"))) == ["link/.gitignore", "link/b.py"]
    with pytest.raises(RefusedPathError, match="it is ignored"):
        list(read(root).walk("to_out"))


def test_equal_stamps_prove_an_equal_result_once_settled(root, settled):
    reading = read(root)
    list(reading.contents(reading_module._HERE, lambda path: True))
    assert verdict(root, reading) is Verdict.SAME
    change(root, {"src/deep/c.py": "C"})
    assert verdict(root, reading) is Verdict.CHANGED


def test_before_that_they_prove_nothing(root):
    reading = read(root)
    reading.file("a.py")
    assert verdict(root, reading) is Verdict.UNSURE


@pytest.mark.parametrize("way", ["file", "directory"])
def test_what_comes_after_the_look_and_goes_after_the_reading_proves_nothing(root, settled, monkeypatch, way):
    """Else what was seen first would come back, and prove a result that was made of something else."""
    look = reading_module.look

    def look_and_make(path):
        seen = look(path)
        if path.endswith("/late"):
            (root / "late").mkdir() if way == "directory" else (root / "late").write_text("late")
        return seen

    monkeypatch.setattr(reading_module, "look", look_and_make)
    reading = read(root)
    if way == "file":
        assert reading.file("late").data == b"late"
        (root / "late").unlink()
    else:
        assert reading.entries("late") == []
        (root / "late").rmdir()
    assert verdict(root, reading) is Verdict.CHANGED


def test_a_file_that_is_read_twice_and_changed_in_between_proves_nothing(root, settled):
    reading = read(root)
    reading.file("a.py")
    change(root, {"a.py": "A"})
    list(reading.contents(reading_module._HERE, lambda path: True))
    assert verdict(root, reading) is Verdict.CHANGED


def test_a_link_and_what_it_leads_to_both_count(root, settled):
    (root / "link.py").symlink_to("src/b.py")
    reading = read(root)
    assert reading.file("link.py").data == b"b"
    assert verdict(root, reading) is Verdict.SAME
    change(root, {"src/b.py": "B"})
    assert verdict(root, reading) is Verdict.CHANGED
    again = read(root)
    again.file("link.py")
    change(root, {"src/.gitignore": "b.py"})
    assert verdict(root, again) is Verdict.CHANGED
    again = read(root)
    with pytest.raises(RefusedPathError):
        again.file("link.py")
    (root / "link.py").unlink()
    (root / "link.py").symlink_to("a.py")
    assert verdict(root, again) is Verdict.CHANGED


def test_what_was_not_there_counts_too(root, settled):
    reading = read(root)
    assert reading.find("absent.py") is None
    assert verdict(root, reading) is Verdict.SAME
    change(root, {"absent.py": ""})
    assert verdict(root, reading) is Verdict.CHANGED


def test_a_version_that_counts_up_changes_what_hangs_on_it(root):
    versions = {"answer": 1}
    reading = Reading(SourceFiles(Confined(root)), versions, 10.0)
    reading.note_version("answer")
    assert reading.footprint().verdict(root, versions) is Verdict.SAME
    versions["answer"] += 1
    assert reading.footprint().verdict(root, versions) is Verdict.CHANGED


def test_a_directory_of_too_many_entries(root, monkeypatch):
    monkeypatch.setattr(reading_module, "MAX_ENTRIES", 3)
    with pytest.raises(LoadError, match=r"'\.' has more than 3 entries: too many to list"):
        read(root).entries()


def test_nothing_stays_open(root):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("descriptors can be counted on Linux only")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        reading = read(root)
        list(reading.contents(reading_module._HERE, lambda path: True))
        next(iter(reading.walk()))
        with pytest.raises(UnknownResourceError):
            reading.entries("a.py")
    assert len(list(descriptors.iterdir())) == before
