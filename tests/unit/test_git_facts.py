import asyncio
import os
import subprocess
import sys
import time

import pytest

from preloader.errors import LoadError, RefusedPathError, UnknownResourceError
from preloader.workspace import footprint, git_facts, reading
from preloader.workspace.git_facts import Change
from tests.unit.workspace_tree import Desk, git, repository, write

FILES = {"src/app.py": "one\ntwo\nthree\n", "README.md": "hello\n", "a b/ü.txt": "x\n", ".env": "KEY=first\n"}


@pytest.fixture
def root(tmp_path):
    repository(tmp_path / "root", FILES)
    return tmp_path / "root"


def look(root, *asked, between=lambda: None):
    """Return the values of facts, asked for twice with something ``between``, and the hits and misses."""

    async def main():
        async with Desk(root) as desk:
            values = [await desk.fact(name) for name in asked]
            between()
            return values + [await desk.fact(name) for name in asked], desk.outcomes()

    return asyncio.run(main())


def test_status(root):
    write(root, {"src/app.py": "changed\n", "new.txt": "x", "sub/new.txt": "x", ".env": "KEY=second\n", "a.log": "x"})
    write(root, {".gitignore": "*.log\n"})
    git(root, "rm", "-q", "--cached", "README.md")
    (status, _), _ = look(root, "git status")
    assert status.branch == "main"
    assert len(status.commit) == 40
    assert set(status.changes) == {
        Change(".M", "src/app.py"),
        Change("D.", "README.md"),
        *(Change("??", name) for name in ("README.md", "new.txt", "sub/new.txt", ".gitignore")),
    }
    assert status.hidden == 1


def test_a_rename_and_a_conflict(root):
    git(root, "mv", "src/app.py", "src/main.py")
    (status, _), _ = look(root, "git status")
    assert set(status.changes) in (
        {Change("R.", "src/main.py", before="src/app.py")},
        {Change("D.", "src/app.py"), Change("A.", "src/main.py")},
    )
    git(root, "commit", "-qm", "move")
    git(root, "checkout", "-q", "-b", "other", "HEAD~1")
    write(root, {"README.md": "theirs\n"})
    git(root, "commit", "-qam", "theirs")
    git(root, "checkout", "-q", "main")
    write(root, {"README.md": "ours\n"})
    git(root, "commit", "-qam", "ours")
    with pytest.raises(Exception, match="non-zero"):
        git(root, "merge", "other")
    (status, _), _ = look(root, "git status")
    assert Change("UU", "README.md") in status.changes


def test_a_file_that_was_renamed_from_a_secret_does_not_name_it(root):
    git(root, "mv", ".env", "settings.txt")
    (status, _), _ = look(root, "git status")
    assert {(change.path, change.before) for change in status.changes} == {("settings.txt", "")}


def test_diff_of_all_and_of_one_and_never_of_a_secret(root):
    write(root, {"src/app.py": "one\nTWO\nthree\n", "README.md": "bye\n", ".env": "KEY=second\n"})
    git(root, "add", "README.md")
    (diff, one, *_), _ = look(root, "git diff", "git diff src/app.py")
    assert set(diff.paths) == {"src/app.py", "README.md"}
    assert diff.hidden == 1
    assert "+TWO" in diff.patch
    assert "+bye" in diff.patch
    assert "KEY" not in diff.patch
    assert one.paths == ("src/app.py",)
    assert "bye" not in one.patch
    with pytest.raises(RefusedPathError):
        look(root, "git diff .env")


def test_a_long_diff_is_cut_and_says_so(root, monkeypatch):
    monkeypatch.setattr(git_facts, "MAX_DIFF_BYTES", 100)
    write(root, {"src/app.py": "line\n" * 1_000})
    (diff, _), _ = look(root, "git diff")
    assert diff.truncated
    assert len(diff.patch) == 100


def test_before_the_first_commit(tmp_path):
    write(tmp_path, {"x.txt": "x"})
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "x.txt")
    (status, diff, recent, *_), _ = look(tmp_path, "git status", "git diff", "git recent")
    assert status.commit == "(initial)"
    assert diff.paths == ("x.txt",)
    assert recent == ()


def test_blame_of_lines_that_a_mention_names(root):
    git(root, "commit", "-q", "--allow-empty", "-m", "empty")
    write(root, {"src/app.py": "one\ntwo\nTHREE\n"})
    (lines, around, *_), _ = look(root, "git blame src/app.py:2-3", "git blame src/app.py:2")
    assert [(line.line, line.author, line.summary) for line in lines[:1]] == [(2, "Ada", "first")]
    assert set(lines[1].commit) == {"0"}  # not committed yet
    assert [line.line for line in around] == [1, 2, 3]
    for wrong in ("src/app.py:9-12", "src/app.py:3-2", "absent.py:1-2", "src/app.py"):
        with pytest.raises(UnknownResourceError):
            look(root, f"git blame {wrong}")


def test_recent_files_come_latest_first_and_without_secrets(root):
    write(root, {"README.md": "again\n", ".env": "KEY=third\n"})
    git(root, "commit", "-qam", "second")
    (recent, _), _ = look(root, "git recent")
    assert [(file.path, file.commits) for file in recent[:1]] == [("README.md", 2)]
    assert {file.path for file in recent} == {"README.md", "src/app.py", "a b/ü.txt"}


def test_recent_files_are_those_that_are_not_ignored_by_now(root, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr(reading.time, "time_ns", lambda: now() + 3_600_000_000_000)
    (before, after), _ = look(root, "git recent", between=lambda: write(root, {"src/.gitignore": "app.py\n"}))
    assert {one.path for one in before} - {one.path for one in after} == {"src/app.py"}


def test_the_log(root):
    write(root, {"README.md": "again\n"})
    git(root, "commit", "-qam", "second")

    async def main():
        async with Desk(root) as desk:
            whole = await desk.call("git_log")
            of_one = await desk.call("git_log", path="src/app.py", limit=5)
            assert [commit.subject for commit in whole] == ["second", "first"]
            assert [(commit.subject, commit.author) for commit in of_one] == [("first", "Ada")]

    asyncio.run(main())


CHANGES = {
    "an edit": lambda root: write(root, {"src/app.py": "x\n"}),
    "an edit of the same size": lambda root: write(root, {"src/app.py": "ONE\ntwo\nthree\n"}),
    "a new file": lambda root: write(root, {"src/new.py": "x"}),
    "a new file in a new directory": lambda root: write(root, {"deep/er/new.py": "x"}),
    "a file removed": lambda root: (root / "README.md").unlink(),
    "a file renamed": lambda root: (root / "README.md").rename(root / "READYOU.md"),
    "a file staged": lambda root: (write(root, {"README.md": "y"}), git(root, "add", "-A")),
    "a commit": lambda root: git(root, "commit", "-q", "--allow-empty", "-m", "x"),
    "another branch": lambda root: git(root, "checkout", "-q", "-b", "other"),
    "an ignore rule": lambda root: write(root, {".gitignore": "x"}),
    "the repository's own ignore rules": lambda root: write(root, {".git/info/exclude": "untracked.txt\n"}),
    "a mode": lambda root: (root / "src/app.py").chmod(0o755),
    "a link in a file's place": lambda root: ((root / "README.md").unlink(), (root / "README.md").symlink_to("src")),
}


@pytest.mark.parametrize("settled", [False, True], ids=["racy", "settled"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_status_is_what_git_would_say_now(root, monkeypatch, change, settled):
    """After any change, what is served equals what is made anew; stamps that have settled are believed alone."""
    write(root, {"untracked.txt": "x", "un/tracked.txt": "x"})
    if settled:
        now = time.time_ns
        monkeypatch.setattr(reading.time, "time_ns", lambda: now() + 3_600_000_000_000)

    async def main():
        async with Desk(root) as desk:
            await desk.fact("git status")
            await asyncio.sleep(0.02)  # past the tick of the file system's clock, where stamps are believed
            CHANGES[change](root)
            async with Desk(root) as fresh:
                expected = await fresh.fact("git status")
            assert await desk.fact("git status") == expected

    asyncio.run(main())


def test_what_did_not_change_is_a_hit_without_git_once_settled(root, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr(reading.time, "time_ns", lambda: now() + 3_600_000_000_000)

    def no_git():
        monkeypatch.setattr(reading.Reading, "run", lambda *_, **__: pytest.fail("git was run again"))

    names = ("git status", "git diff", "git recent", "git blame src/app.py:1-2")
    values, (hits, misses) = look(root, *names, between=no_git)
    assert values[:4] == values[4:]
    assert (hits, misses) == (4, 4)


def test_until_stamps_settle_the_fact_is_made_again_and_compared(root):
    values, (hits, misses) = look(root, "git status")
    assert values[0] == values[1]
    assert (hits, misses) == (1, 1)


def test_a_change_that_no_stamp_shows_is_seen_until_stamps_settle(root, monkeypatch):
    """Some file systems' clocks tick every two seconds: then not even ctime tells two versions apart."""
    stamp = footprint.look(f"{root}/README.md")  # written a moment ago, so that it has not settled
    monkeypatch.setattr(reading, "look", lambda path: stamp)
    monkeypatch.setattr(footprint, "look", lambda path: stamp)
    values, _ = look(root, "git status", between=lambda: write(root, {"src/app.py": "changed\n", "new.py": "x"}))
    assert {change.path for change in values[1].changes} - {change.path for change in values[0].changes} == {
        "src/app.py",
        "new.py",
    }


def test_a_further_worktree_is_understood(root, tmp_path):
    git(root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))

    async def main():
        async with Desk(tmp_path / "side") as desk:
            first = await desk.fact("git status")
            assert (first.branch, first.changes) == ("side", ())
            write(tmp_path / "side", {"README.md": "x"})
            git(tmp_path / "side", "commit", "-qam", "aside")
            assert (await desk.fact("git status")).commit != first.commit

    asyncio.run(main())


def test_a_submodule_is_understood(root, tmp_path):
    repository(tmp_path / "inner", {"i.py": "1\n"})
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "inner"), "sub")
    write(root, {"sub/i.py": "2\n"})
    (status, _), _ = look(root / "sub", "git status")
    assert (status.branch, status.changes) == ("main", (Change(".M", "i.py"),))
    (outer, _), _ = look(root, "git status")
    assert {change.path for change in outer.changes} == {".gitmodules"}, "git is not run in submodules"


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes no such names")
def test_a_name_that_is_no_text_is_watched_too(root, monkeypatch):
    now = time.time_ns
    monkeypatch.setattr(reading.time, "time_ns", lambda: now() + 3_600_000_000_000)
    name = root / os.fsdecode(b"f\xff.txt")
    name.write_text("1")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "odd")

    (before, after), _ = look(root, "git status", between=lambda: name.write_text("22"))
    assert len(before.changes) + before.hidden == 0
    assert len(after.changes) + after.hidden == 1


@pytest.mark.parametrize("way", ["file", "link", "worktree setting", "setting of another"])
def test_another_repository_is_not_shown(root, tmp_path, way):
    """A stranger's archive may bring a ``.git`` that points at a repository of the user's."""
    place = tmp_path / "place"
    write(place, {"x.txt": "x"})
    if way in ("file", "setting of another"):
        write(place, {".git": f"gitdir: {root}/.git\n"})
        if way == "setting of another":
            git(root, "config", "core.worktree", str(tmp_path))
    elif way == "link":
        (place / ".git").symlink_to(root / ".git")
    else:
        git(place, "init", "-q")
        git(place, "config", "core.worktree", str(root))
    if way == "worktree setting":
        (status, _), _ = look(place, "git status")
        assert [change.path for change in status.changes] == ["x.txt"]
        return
    for fact in ("git diff", "git status", "git recent"):
        with pytest.raises(UnknownResourceError):
            look(place, fact)


def test_where_there_is_no_repository(tmp_path):
    with pytest.raises(UnknownResourceError, match="is not the root of a git repository"):
        look(tmp_path, "git status")
    repository(tmp_path, FILES)
    with pytest.raises(UnknownResourceError, match="is not the root of a git repository"):
        look(tmp_path / "src", "git status")


def test_filters_that_cannot_be_disarmed_keep_git_from_running(root):
    with (root / ".git/config").open("a") as file:
        for number in range(101):
            file.write(f'[filter "f{number}"]\n\tclean = touch x\n')
    with pytest.raises(LoadError, match="configures filters that cannot be disarmed"):
        look(root, "git status")


def test_nothing_is_fetched_that_a_partial_clone_lacks(root, tmp_path):
    """The remote is a program here, which even a configuration that allows it everything does not get run."""
    write(root, {"big.txt": "committed\n"})
    git(root, "add", "-A")
    git(root, "commit", "-qm", "big")
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::touch {tmp_path}/ran",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
    }.items():
        git(root, "config", name, value)
    blob = subprocess.run(["git", "rev-parse", "HEAD:big.txt"], cwd=root, capture_output=True, text=True).stdout.strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    write(root, {"big.txt": "changed\n"})
    with pytest.raises(LoadError):
        look(root, "git diff")
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "diff"], cwd=root, capture_output=True)
    assert (tmp_path / "ran").exists()  # which git by itself would have done


def test_git_takes_nothing_from_this_process_environment(root, tmp_path, monkeypatch):
    repository(tmp_path / "other", {"y.txt": "y"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {tmp_path}/ran")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.pager=false'")
    write(root, {"README.md": "bye\n"})
    (diff, *_), _ = look(root, "git diff")
    assert diff.paths == ("README.md",)
    assert not (tmp_path / "ran").exists()


def test_a_status_that_nobody_waits_for_ends(root, monkeypatch):
    """Cancelling the load kills git and frees its thread."""
    slow = root.parent / "bin"
    write(slow, {"git": "#!/bin/sh\necho $$ > $TMPDIR/pid\nexec sleep 600\n"})
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(root.parent))

    async def main():
        async with Desk(root) as desk:
            need = asyncio.create_task(desk.fact("git status"))
            pid = root.parent / "pid"
            while not (pid.exists() and pid.read_text()):
                await asyncio.sleep(0.002)
            need.cancel()
            with pytest.raises(asyncio.CancelledError):
                await need
            while desk.facts.executor.live:
                await asyncio.sleep(0.002)

    asyncio.run(main())
