"""Watching a tree: no link is followed, and what comes in new directories is noticed however soon."""

import shutil
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("watchfiles")

from preloader.workspace import watching
from preloader.workspace.watching import Stop, watch

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a tree is watched as one")


def watches():
    """Return how many watches this process has, by inotify."""
    lines = []
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            lines += info.read_text().splitlines()
        except OSError:  # closed meanwhile
            continue
    return sum(line.startswith("inotify wd:") for line in lines)


class Watched:
    """A watch in a thread, and what it has told."""

    def __init__(self, root):
        self.told = set()
        self._change = threading.Condition()
        begun = threading.Event()
        self._stop = Stop(begun.set)
        self._thread = threading.Thread(target=watch, args=(root, self._stop, self._tell))
        self._thread.start()
        assert begun.wait(30)

    def _tell(self, paths):
        with self._change:
            self.told |= set(paths)
            self._change.notify_all()

    def until(self, *paths):
        with self._change:
            assert self._change.wait_for(lambda: self.told >= set(paths), 30), self.told

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()


@on_linux
def test_links_are_not_followed_wherever_they_lead(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in ("src/deep", "docs"):
        (root / directory).mkdir(parents=True)
    (outside / "inner").mkdir(parents=True)
    for name, target in (("to_slash", "/"), ("src/to_above", "../.."), ("to_itself", "."), ("to_outside", outside)):
        (root / name).symlink_to(target)
    before = watches()
    with Watched(root) as watched:
        assert watches() - before == 4  # the root and the three directories in it
        (outside / "page.txt").write_text("nobody's business")
        (root / "src/new").mkdir()
        (root / "src/new/to_slash").symlink_to("/")
        watched.until("src/new")
        (root / "src/deep/last.py").write_text("x = 1\n")
        watched.until("src/deep/last.py")
        assert not [path for path in watched.told if "page.txt" in path]
        assert watches() - before <= 5
    assert watches() == before


@on_linux
def test_what_comes_in_new_directories_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_AGAIN_S", 0.0)
    root = tmp_path / "root"
    (root / "old").mkdir(parents=True)
    with Watched(root) as watched:
        (root / "a/b/c").mkdir(parents=True)
        watched.until("a")  # told of as a whole: whoever is told lists it
        for number in range(5):
            (root / f"n_{number}").mkdir()
            (root / f"n_{number}/file.py").write_text("x = 1\n")
            (root / "old/file.py").write_text(f"x = {number}\n")
            watched.until(f"n_{number}")
        watched.told.clear()
        while "a/b/c/file.py" not in watched.told:  # directories are looked for after they were told of
            (root / "a/b/c/file.py").write_text("x = 1\n")
            threading.Event().wait(0.01)
        watched.until("a/b/c/file.py")
        (root / "a").rename(root / "z")
        watched.until("a", "z")
        shutil.rmtree(root / "z")
        (root / "old/file.py").unlink()
        watched.until("old/file.py")


@on_linux
def test_a_directory_that_goes_while_the_watch_begins_is_no_fault(tmp_path, monkeypatch):
    found = watching._directories
    monkeypatch.setattr(watching, "_directories", lambda root: [*found(root), str(root / "gone")])
    with Watched(tmp_path) as watched:
        (tmp_path / "file.py").write_text("x = 1\n")
        watched.until("file.py")
