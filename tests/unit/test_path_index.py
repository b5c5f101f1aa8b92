"""The index of a workspace's files: what belongs to it, and how it follows what happens to them."""

import asyncio
import subprocess

import pytest

from preloader.errors import ClosedError, ConfigurationError, LoadError
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.workspace import listing
from preloader.workspace.index import PathIndex

WITHIN_S = 20


def git(root, *words):
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=root, check=True, capture_output=True
    )


def write(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


@pytest.fixture(params=["git", "walk"])
def root(request, tmp_path):
    if request.param == "git":
        git(tmp_path, "init", "-q")
    write(tmp_path, "src/app.py", "src/my notes.md", "docs/é.md", "build/out.js", "a.log", "keep.log", "src/deep/b.log")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
    (tmp_path / "src/deep/.gitignore").write_text("!b.log\n")
    return tmp_path


def run(root, act, **how):
    async def body():
        async with PathIndex(root, **how) as index:
            return await act(index)

    return asyncio.run(body())


async def until(condition):
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.002)


KEPT = {".gitignore", "src/app.py", "src/my notes.md", "docs/é.md", "keep.log", "src/deep/b.log", "src/deep/.gitignore"}


def test_what_is_ignored_is_left_out(root):
    async def act(index):
        return set(index.table)

    assert run(root, act, watch=False) == KEPT


def test_tracked_files_are_kept_though_ignored_and_left_out_when_deleted(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.log", "gone.py", "b.py")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "gone.py").unlink()

    async def act(index):
        return set(index.table)

    assert run(tmp_path, act, watch=False) == {".gitignore", "a.log", "b.py"}


def test_a_tracked_file_that_is_ignored_is_kept_when_it_comes_back(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.log")
    git(tmp_path, "add", "-f", ".")
    (tmp_path / ".gitignore").write_text("*.log\n")

    async def act(index):
        (tmp_path / "a.log").unlink()
        await index.changed(["a.log"])
        assert "a.log" not in index.table
        write(tmp_path, "a.log", "b.log")
        await index.changed(["a.log", "b.log"])
        return set(index.table)

    assert run(tmp_path, act, watch=False) == {".gitignore", "a.log"}


def test_what_happens_to_files_is_noticed(root):
    told = []

    async def act(index):
        assert index.statistics().watching
        write(root, "src/new.py", "new.log", "far/away/from/here.ts")
        await until(lambda: {"src/new.py", "far/away/from/here.ts"} <= set(index.table))
        (root / "src/app.py").rename(root / "src/main.py")
        await until(lambda: "src/main.py" in index.table and "src/app.py" not in index.table)
        (root / "src/my notes.md").unlink()
        await until(lambda: "src/my notes.md" not in index.table)
        (root / "docs").rename(root / "papers")
        await until(lambda: "papers/é.md" in index.table and not index.table.is_directory("docs"))
        (root / "src/main.py").write_text("edited")
        await until(lambda: any("src/main.py" in paths for paths in told[-1:]))
        return set(index.table)

    left = run(root, act, on_change=told.append)
    assert left == (KEPT - {"src/app.py", "src/my notes.md", "docs/é.md"}) | {
        "src/new.py",
        "far/away/from/here.ts",
        "src/main.py",
        "papers/é.md",
    }
    assert not any("new.log" in paths for paths in told)


def test_a_directory_put_in_anothers_place_brings_its_own_files(root):
    write(root, "one/a.py", "two/b.py")

    async def act(index):
        (root / "one").rename(root / "old")
        (root / "two").rename(root / "one")
        await index.changed(["one", "two", "old"])
        return {path for path in index.table if path.startswith(("one", "two", "old"))}

    assert run(root, act, watch=False) == {"one/b.py", "old/a.py"}


def test_a_change_of_what_is_ignored_lists_all_again(root):
    async def act(index):
        assert "a.log" not in index.table
        (root / ".gitignore").write_text("build/\n")
        await until(lambda: "a.log" in index.table)
        return index.statistics()

    assert run(root, act).listings == 2


def test_changes_can_be_told_of_and_paths_outside_are_left_out(root):
    async def act(index):
        write(root, "src/new.py", "src/other.log")
        await index.changed(["src/new.py", "src/other.log", "../else.py", "/etc/passwd", "nul\0.py", "."])
        assert "src/new.py" in index.table
        assert "src/other.log" not in index.table
        (root / "src/new.py").unlink()
        await index.changed(["./src/new.py"])
        return set(index.table)

    assert run(root, act, watch=False) == KEPT


def test_links_and_what_is_no_file(root):
    (root / "link.py").symlink_to("src/app.py")
    (root / "loop").symlink_to(".")
    import os

    os.mkfifo(root / "pipe")

    async def act(index):
        await index.changed(["pipe", "link.py"])
        return set(index.table)

    assert run(root, act, watch=False) >= KEPT | {"link.py"}
    assert "pipe" not in run(root, act, watch=False)


def test_hundreds_of_changes_at_once(root):
    async def act(index):
        write(root, *(f"many/f{number}.py" for number in range(350)))
        await index.changed(["many"])
        assert len(index.table.files_in("many")) == 350
        for path in (root / "many").iterdir():
            path.unlink()
        await index.changed([f"many/f{number}.py" for number in range(350)])
        return set(index.table)

    assert run(root, act, watch=False) == KEPT


def test_a_root_that_is_none(tmp_path):
    async def act(index):
        pass

    with pytest.raises(ConfigurationError, match="is no directory"):
        run(tmp_path / "missing", act)


def test_a_repository_that_git_cannot_read_is_an_error_and_no_empty_index(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py")
    git(tmp_path, "add", ".")

    async def act(index):
        whole = (tmp_path / ".git/index").read_bytes()
        (tmp_path / ".git/index").write_bytes(b"damaged")
        with pytest.raises(LoadError, match="git cannot list"):
            await index.refresh()
        assert list(index.table) == ["a.py"]
        (tmp_path / ".git/index").write_bytes(whole)

    run(tmp_path, act, watch=False)
    (tmp_path / ".git/index").write_bytes(b"damaged")
    with pytest.raises(LoadError, match="git cannot list"):
        run(tmp_path, act, watch=False)


def test_a_virtual_clock_needs_no_threads(root):
    async def act(index):
        write(root, "src/new.py")
        await index.changed(["src/new.py"])
        return set(index.table)

    assert run(root, act, watch=False, executor=InlineExecutor()) == KEPT | {"src/new.py"}


def test_a_directory_that_its_repository_ignores_is_walked(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("scratch/\n")
    write(tmp_path, "scratch/a.py")

    async def act(index):
        return list(index.table)

    assert run(tmp_path / "scratch", act, watch=False) == ["a.py"]


def test_the_index_is_of_its_root_whatever_repository_the_environment_names(tmp_path, monkeypatch):
    for name in ("one", "two"):
        write(tmp_path, f"{name}/{name}.py")
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "add", ".")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "two/.git"))

    async def act(index):
        return list(index.table)

    assert run(tmp_path / "one", act, watch=False) == ["one.py"]


def test_a_repository_configures_nothing_that_runs(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py")
    hook = tmp_path.parent / f"{tmp_path.name}-hook"
    hook.write_text(f"#!/bin/sh\ntouch '{hook}.ran'\n")
    hook.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(hook))

    async def act(index):
        await index.changed(["a.py", "b.py"])
        return list(index.table)

    assert run(tmp_path, act, watch=False) == ["a.py"]
    assert not hook.with_name(hook.name + ".ran").exists()


def test_nothing_runs_once_it_is_closed(root):
    async def body():
        executor = ThreadExecutor()
        async with PathIndex(root, executor=executor) as index:
            assert index.statistics().watching
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await until(lambda: executor.live == 0)
        await executor.aclose()
        assert not index.statistics().watching
        with pytest.raises(ClosedError):
            await index.refresh()

    asyncio.run(body())


def test_starting_can_be_cancelled(root):
    async def body():
        starting = asyncio.create_task(PathIndex(root).__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(body())


def test_what_cannot_be_taken_in_lists_all_again_and_is_counted(root):
    async def act(index):
        index._listing.kept = None  # broken on purpose
        write(root, "src/new.py")
        await until(lambda: "src/new.py" in index.table)
        return index.statistics()

    assert run(root, act).failures >= 1


NEW = ["src/new.py", "src/new.log", "build/new.py"]


async def told_of_new_ones(index):
    for path in NEW:
        write(index.root, path)
    await index.changed(NEW)
    return {path for path in NEW if path in index.table}


def ignoring(root, text="*.log\nbuild/\n"):
    (root / ".gitignore").write_text(text)
    git(root, "init", "-q")


def test_of_a_new_file_the_rules_are_asked_and_no_git(tmp_path, monkeypatch):
    ignoring(tmp_path)

    async def act(index):
        monkeypatch.setattr(listing, "Program", None)
        return await told_of_new_ones(index)

    assert run(tmp_path, act, watch=False) == {"src/new.py"}


@pytest.mark.parametrize("by_default", [True, False])
def test_what_users_ignore_everywhere_is_ignored_when_it_comes(tmp_path, monkeypatch, by_default):
    root = tmp_path / "app"
    root.mkdir()
    ignoring(root, "build/\n")
    (tmp_path / "git").mkdir()
    (tmp_path / "git/ignore").write_text("*.log\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path if by_default else tmp_path / "none"))
    if not by_default:
        git(root, "config", "core.excludesFile", str(tmp_path / "git/ignore"))
    assert run(root, told_of_new_ones, watch=False) == {"src/new.py"}


def test_what_is_ignored_further_up_is_ignored_when_it_comes(tmp_path):
    ignoring(tmp_path)
    (tmp_path / "app").mkdir()
    assert run(tmp_path / "app", told_of_new_ones, watch=False) == {"src/new.py"}
