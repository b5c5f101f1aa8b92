import asyncio
import mmap
import os
import socket
import subprocess
import sys
import time

import pytest

from preloader.components.confined import open_confined
from preloader.components.contents import MODES, ConfinedFiles
from preloader.components.files import TYPICAL_BYTES, FileProvider
from preloader.errors import ConfigurationError, LoadError, UnknownResourceError
from preloader.scheduling.execution import InlineExecutor

HOUR_NS = 3_600_000_000_000


class Later:
    """A wall clock that can be moved on, past the time in which stamps are not trusted."""

    def __init__(self):
        self.ahead_ns = 0

    def __call__(self):
        return time.time_ns() + self.ahead_ns


@pytest.fixture
def clock():
    return Later()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"old content")
    return path


def replace(path, content):
    """Write as careful programs do: a new file, renamed over the old one."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def edit_behind_the_clock(path, content):
    """Change the content in place; size and mtime stay."""
    status = path.stat()
    assert len(content) == status.st_size
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def await_next_tick(path):
    """Return once a change of ``path`` would get another time than its last one had."""
    probe = path.with_suffix(".probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return probe.unlink()


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + HOUR_NS))


def truncate(path):
    os.truncate(path, 3)


def remove(path):
    path.unlink()


def become_a_directory(path):
    path.unlink()
    path.mkdir()


def become_a_way_out(path):
    outside = path.parent.parent / "outside.txt"
    path.rename(outside)  # the very same file, now beyond the root
    path.symlink_to(outside)


STALE = {
    "replaced by another": lambda path: replace(path, b"new content"),
    "replaced by a longer one": lambda path: replace(path, b"a longer content"),
    "edited, same size and mtime": lambda path: edit_behind_the_clock(path, b"new content"),
    "edited, same size": lambda path: path.write_bytes(b"new content"),
    "appended to": lambda path: path.write_bytes(b"old content and more"),
    "truncated": truncate,
    "removed": remove,
    "a directory now": become_a_directory,
    "a link out of the root now": become_a_way_out,
}
FRESH = {
    "nothing": lambda path: None,
    "touched": touch,
    "touched into the past": lambda path: os.utime(path, ns=(0, 0)),
    "chmod": lambda path: path.chmod(0o600),
    "replaced by its equal": lambda path: replace(path, b"old content"),
    "written again": lambda path: path.write_bytes(b"old content"),
}
SEEN_THROUGH_A_MAPPING = {"edited, same size and mtime", "edited, same size"}
RELOADED_WHEN_MAPPED = {"replaced by its equal"}


@pytest.mark.parametrize("hours", [0, 1], ids=["racy", "settled"])
@pytest.mark.parametrize("change", STALE)
def test_a_stale_byte_is_never_served(path, clock, change, hours):
    files = ConfinedFiles(path.parent, now_ns=clock)
    clock.ahead_ns = hours * HOUR_NS
    content = files.load("x.txt")
    assert content.settled == bool(hours)
    if content.settled:
        await_next_tick(path)
    STALE[change](path)
    assert not files.is_fresh("x.txt", content)


@pytest.mark.parametrize("hours", [0, 1], ids=["racy", "settled"])
@pytest.mark.parametrize("change", FRESH)
def test_what_did_not_change_stays_fresh(path, clock, change, hours):
    files = ConfinedFiles(path.parent, now_ns=clock)
    clock.ahead_ns = hours * HOUR_NS
    content = files.load("x.txt")
    FRESH[change](path)
    assert files.is_fresh("x.txt", content)


@pytest.mark.parametrize("change", STALE)
def test_a_mapping_shows_the_file_itself_or_is_stale(path, change):
    files = ConfinedFiles(path.parent, "mmap")
    content = files.load("x.txt")
    STALE[change](path)
    if change in SEEN_THROUGH_A_MAPPING:
        assert files.is_fresh("x.txt", content)
        assert content.data[:] == path.read_bytes() == b"new content"
    else:
        assert not files.is_fresh("x.txt", content)


@pytest.mark.parametrize("change", FRESH)
def test_a_mapping_outlives_a_touch(path, change):
    files = ConfinedFiles(path.parent, "mmap")
    content = files.load("x.txt")
    FRESH[change](path)
    assert files.is_fresh("x.txt", content) == (change not in RELOADED_WHEN_MAPPED)


def test_an_edit_in_the_same_tick_is_seen_though_the_stamp_is_the_same(path, monkeypatch):
    """Some file systems' clocks tick every two seconds: then not even ctime tells two versions apart."""
    frozen = path.stat()
    monkeypatch.setattr(os, "fstat", lambda _: frozen)
    files = ConfinedFiles(path.parent)
    content = files.load("x.txt")
    assert files.is_fresh("x.txt", content)
    path.write_bytes(b"new content")
    assert not files.is_fresh("x.txt", content)


def test_a_settled_stamp_spares_reading_again(path, clock, monkeypatch):
    files = ConfinedFiles(path.parent, now_ns=clock)
    content = files.load("x.txt")
    clock.ahead_ns = HOUR_NS
    assert files.is_fresh("x.txt", content)  # compares once more, and settles
    monkeypatch.setattr("preloader.components.contents._holds", lambda *_: pytest.fail("the file was read again"))
    assert files.is_fresh("x.txt", content)


@pytest.mark.parametrize("mode", MODES)
def test_content_and_size(path, mode):
    content = ConfinedFiles(path.parent, mode).load("x.txt")
    assert bytes(content.data) == b"old content"
    assert content.nbytes == 11
    content.close()


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_file(path, mode):
    path.write_bytes(b"")
    files = ConfinedFiles(path.parent, mode)
    content = files.load("x.txt")
    assert (bytes(content.data), content.nbytes) == (b"", 0)
    assert files.is_fresh("x.txt", content)
    path.write_bytes(b"x")
    assert not files.is_fresh("x.txt", content)
    content.close()


def test_a_mapping_is_read_only_and_closed(path):
    content = ConfinedFiles(path.parent, "mmap").load("x.txt")
    assert isinstance(content.data, mmap.mmap)
    with pytest.raises(TypeError):
        content.data[0] = 0
    content.close()
    assert content.data.closed


def test_closing_a_mapping_that_is_viewed_leaves_the_view_intact(path):
    content = ConfinedFiles(path.parent, "mmap").load("x.txt")
    view = memoryview(content.data)
    content.close()
    assert view.tobytes() == b"old content"


def test_looking_at_a_shrunk_mapping_is_survived(path):
    """In a process of its own: were the mapping touched, SIGBUS would kill it."""
    path.write_bytes(b"x" * 1_000_000)
    program = f"""
import os
from preloader.components.contents import ConfinedFiles
files = ConfinedFiles({str(path.parent)!r}, "mmap")
content = files.load("x.txt")
os.truncate({str(path)!r}, 0)
print(files.is_fresh("x.txt", content))
content.close()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, "False\n")


def test_a_file_that_changes_while_it_is_read_is_read_again(path, monkeypatch):
    files = ConfinedFiles(path.parent)
    loaded, changes = files._loaded, iter([b"second content", b"third content!"])

    def disturbed(file, name):
        for content in changes:
            path.write_bytes(content)  # after opening, before reading
            os.utime(path, ns=(0, 0))
            break
        return loaded(file, name)

    monkeypatch.setattr(files, "_loaded", disturbed)
    assert files.load("x.txt").data == b"second content"


def test_a_file_that_never_rests_is_given_up(path, monkeypatch):
    size = iter(range(100))
    real = os.fstat

    def growing(descriptor):
        with path.open("ab") as file:
            file.write(b"x" * next(size))
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(LoadError, match=r"'x.txt' changed during each of 3 attempts"):
        ConfinedFiles(path.parent).load("x.txt")


def test_a_file_that_is_too_large_is_refused(path):
    with pytest.raises(LoadError, match=r"'x.txt' has 11 bytes, more than the allowed 10"):
        ConfinedFiles(path.parent, max_bytes=10).load("x.txt")
    assert ConfinedFiles(path.parent, max_bytes=11).load("x.txt").nbytes == 11


def test_a_file_that_may_not_be_read(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LoadError, match=r"'x.txt' beneath .* cannot be opened: Permission denied"):
        ConfinedFiles(path.parent).load("x.txt")


# ---- confinement ----


def make_fifo(root):
    os.mkfifo(root / "odd")


def make_socket(root):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("odd")  # relative, since a socket's path may not be long


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (None, "", "'' is no file name here: it must be relative, and go down only"),
        (None, ".", r"'\.' is no file name here"),
        (None, "/etc/passwd", "'/etc/passwd' is no file name here"),
        (None, "../outside.txt", r"'\.\./outside\.txt' is no file name here"),
        (None, "sub/../../outside.txt", "is no file name here"),
        (None, "x.txt\0.png", "is no file name here"),
        (None, "absent", "there is no file 'absent' beneath"),
        (None, "x.txt/absent", "there is no file 'x.txt/absent' beneath"),
        (None, "x" * 300, "there is no file 'xxx"),
        (lambda root: (root / "odd").mkdir(), "odd", "'odd' is a directory: only regular files can be loaded"),
        (make_fifo, "odd", "'odd' is a FIFO: only regular files"),
        (make_socket, "odd", "'odd' is a socket: only regular files"),
        (lambda root: (root / "odd").symlink_to("/dev/null"), "odd", "'odd' leads to /dev/null, outside of"),
        (
            lambda root: (root / "odd").symlink_to(root.parent / "outside.txt"),
            "odd",
            "'odd' leads to .*outside.txt, outs",
        ),
        (lambda root: (root / "odd").symlink_to(".."), "odd/outside.txt", "outside of"),
        (lambda root: (root / "odd").symlink_to("."), "odd", "outside of"),
        (lambda root: (root / "odd").symlink_to("odd"), "odd", "there is no file 'odd'"),
        (lambda root: (root / "odd").symlink_to("absent"), "odd", "there is no file 'odd'"),
    ],
)
def test_only_regular_files_beneath_the_root(tmp_path, monkeypatch, make, name, reason):
    root = tmp_path / "root"
    root.mkdir()
    (root / "x.txt").write_text("x")
    (tmp_path / "outside.txt").write_text("secret")
    monkeypatch.chdir(root)
    if make is not None:
        make(root)
    with pytest.raises(UnknownResourceError, match=reason):
        ConfinedFiles(root).load(name)


def test_a_sibling_whose_name_begins_alike_is_outside(tmp_path):
    for name in ("root", "root2"):
        (tmp_path / name).mkdir()
    (tmp_path / "root2" / "x").write_text("secret")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root2" / "x")
    with pytest.raises(UnknownResourceError, match="outside of"):
        ConfinedFiles(tmp_path / "root").load("link")


def test_links_within_the_root_are_followed(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x").write_text("found")
    (tmp_path / "file").symlink_to("deep/er/x")
    (tmp_path / "directory").symlink_to("deep")
    (tmp_path / "root").symlink_to(tmp_path)  # a root may be reached through a link itself
    files = ConfinedFiles(tmp_path / "root")
    for name in ("file", "directory/er/x", "deep/./er//x"):
        assert files.load(name).data == b"found"


@pytest.mark.parametrize(("swapped", "target"), [("sub", "out"), ("sub/x", "out/x")])
def test_a_link_put_there_after_resolving_is_not_followed(tmp_path, monkeypatch, swapped, target):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "x").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("secret")
    resolve = os.path.realpath

    def resolve_and_swap(path, **options):
        real = resolve(path, **options)
        (root / swapped).rename(tmp_path / "moved")
        (root / swapped).symlink_to(tmp_path / target)
        return real

    monkeypatch.setattr(os.path, "realpath", resolve_and_swap)
    with pytest.raises(UnknownResourceError):
        open_confined(root, "sub/x")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"root": "absent"}, "root must be a directory, not 'absent'"),
        ({"mode": "map"}, "mode must be one of read, mmap, not 'map'"),
        ({"max_bytes": -1}, "max_bytes must be a whole number, not -1"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, reason):
    with pytest.raises(ConfigurationError, match=reason):
        FileProvider(**{"root": tmp_path, **arguments})


def test_cost_asks_no_disk(tmp_path):
    provider = FileProvider(tmp_path, executor=InlineExecutor())
    guess = provider.cost("file:x.txt")
    assert guess.bytes == TYPICAL_BYTES
    (tmp_path / "x.txt").write_bytes(b"x" * 1_000_000)
    assert provider.cost("file:x.txt") == guess
    asyncio.run(provider.load("file:x.txt"))
    assert provider.cost("file:x.txt").bytes == 1_000_000
    assert provider.cost("file:x.txt").seconds > guess.seconds
    with pytest.raises(UnknownResourceError):
        provider.cost("file:../x.txt")
