"""Hostile paths, calls and sequences of events through the facade: nothing secret is opened, nothing strange run."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("watchfiles")

from preloader.errors import PreloaderError, RefusedCallError, UnknownResourceError
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace
from tests.stress.hostile_world import CANARY, World
from tests.unit.workspace_tree import write

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is opened is told by inotify")

REPOSITORY = Path(__file__).parents[2]


def test_no_hostile_path_gets_through_any_door(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "tests.stress.hostile_doors", str(tmp_path), "6"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3_000:]
    document = json.loads(run.stdout.splitlines()[-1])
    assert document["faults"] == []
    assert document["cases"] >= 200
    assert document["doors"] == 19
    assert document["refused"] > 2_500
    assert document["prepared"] == ["file:src/app.py"]  # as it is called, beneath an absolute root


def open_workspace(root, **options):
    settings = msgspec.structs.replace(SETTINGS, pressure=False, waste_budget=None, quarantine_after=10**6)
    return Workspace(root, **{"watch": False, "graph": False, "settings": settings, **options})


async def rested(workspace):
    await workspace.settled()
    for _ in range(4_000):
        await asyncio.sleep(0.002)
        if not any(tier.queued or tier.loading for tier in workspace.manager_statistics().tiers.values()):
            return
    raise AssertionError("preloads did not come to rest")


def swap(path, target):
    """Put a link in the place of a file, in one go."""
    new = path.with_name("new")
    new.symlink_to(target)
    new.replace(path)


@pytest.fixture
def root(tmp_path):
    outside = {"outside/page.txt": CANARY}
    write(tmp_path, outside)
    write(tmp_path / "root", {"src/app.py": "x = 1\n", ".env": CANARY, ".gitignore": "*.log\n", "a.log": CANARY})
    return tmp_path / "root"


TARGETS = ["../.env", "../../outside/page.txt", "../a.log", "/proc/self/environ", "../.git/config"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_harmless_when_it_was_hinted_and_leads_to_a_secret_when_it_is_loaded(root, target):
    async def main():
        async with open_workspace(root) as workspace:
            load = workspace.providers.files.load

            async def load_later(key):
                swap(root / "src/app.py", target)
                return await load(key)

            workspace.providers.files.load = load_later
            workspace.feed("Let me read `src/app.py`.", "assistant", last=True)
            await rested(workspace)
            statistics = workspace.manager_statistics()
            assert (statistics.residents, statistics.ledger.preloads["failed"]) == (0, 1)
            with pytest.raises(UnknownResourceError):
                await workspace.read_file("src/app.py")

    asyncio.run(main())


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_ready_is_not_served_once_a_secret_stands_in_its_place(root, target):
    async def main():
        async with open_workspace(root) as workspace:
            asked = (
                lambda: workspace.read_file("src/app.py"),
                lambda: workspace.call_tool("read_file", {"path": "src/app.py"}),
                lambda: workspace.facts("syntax src/app.py"),
            )
            for ask in asked:
                await ask()
            swap(root / "src/app.py", target)
            for ask in asked:
                with pytest.raises(PreloaderError) as raised:
                    await ask()
                assert CANARY not in str(raised.value)
            found = await workspace.call_tool("grep", {"pattern": CANARY})
            assert found.matches == ()
            assert workspace.statistics().hits == 0

    asyncio.run(main())


SMUGGLED = [
    ("git_diff", {"path": "--output=/tmp/x"}),
    ("git_diff", {"path": "-o/tmp/x"}),
    ("git_diff", {"path": "--no-index /etc/passwd"}),
    ("git_diff", {"path": "src/app.py", "--ext-diff": True}),
    ("git_diff", {"path": ["src/app.py", "--no-index", "/etc/passwd"]}),
    ("git_log", {"path": "--output=x"}),
    ("git_log", {"limit": "--all"}),
    ("git_log", {"limit": 10**9}),
    ("git_status", {"options": "--porcelain=v2"}),
    ("grep", {"pattern": "x", "path": "-O/bin/sh"}),
    ("grep", {"pattern": "x", "--open-files-in-pager": "sh"}),
    ("grep", {"pattern": "x", "glob": "--include=.env"}),
    ("glob", {"pattern": "-delete"}),
    ("list_directory", {"path": "-R"}),
    ("read_file", {"path": {"path": ".env"}}),
    ("read_file", {"path": "src/app.py", "offset": {"$gt": 0}}),
]


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_no_option_gets_into_a_call(tmp_path):
    world = World(tmp_path)

    async def main():
        async with open_workspace(world.root) as workspace:
            for tool, arguments in [*SMUGGLED, ("grep", {"pattern": nested(100_000)}), ("x" * 100_000, {})]:
                try:
                    served = await workspace.call_tool(tool, arguments)
                except PreloaderError:
                    continue
                assert CANARY not in repr(served), tool
                assert tool in ("grep", "glob"), arguments  # patterns, which no program is given
            for name in ("git status", "git diff", "git recent", "git blame src/app.py:1", "test setup"):
                assert CANARY not in repr(await workspace.facts(name))
            for name in ("git diff --output=x", "git blame --contents=/etc/passwd src/app.py:1", "x" * 10**6):
                with pytest.raises(UnknownResourceError):
                    await workspace.facts(name)

    asyncio.run(main())
    assert not world.marker.exists()
    assert not Path("/tmp/x").exists()
    assert sorted(path.name for path in world.root.iterdir() if path.name == "x") == []


def test_what_repositories_within_and_included_files_configure_is_not_run(tmp_path):
    world = World(tmp_path)
    run = f"sh -c 'touch {world.marker}; cat'"
    (tmp_path / "more").write_text(
        f'[diff]\n\texternal = {run}\n[filter "other"]\n\tclean = {run}\n\trequired = true\n'
    )
    world._git("config", "include.path", str(tmp_path / "more"))
    inner = world.root / "inner"
    inner.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", str(inner)], check=True)
    (inner / "page.py").write_text("x = 1\n")
    with (inner / ".git/config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = {run}\n[diff]\n\texternal = {run}\n")
    (world.root / ".gitattributes").write_text("* diff=trap filter=other\n")

    async def main():
        async with open_workspace(world.root, watch=True, graph=True) as workspace:
            for name in ("git status", "git diff", "git recent", "git blame src/app.py:1"):
                assert CANARY not in repr(await workspace.facts(name))
            assert CANARY not in repr(await workspace.call_tool("git_diff", {"path": "inner"}))
            await workspace.call_tool("git_log", {})
            await workspace.settled()

    asyncio.run(main())
    assert not world.marker.exists()


def test_lines_of_ten_megabytes_and_arguments_nested_deeply(root):
    line = "x = 1 or compute_total " * 450_000
    (root / "src/long.txt").write_text(line + "needle")

    async def main():
        async with open_workspace(root) as workspace:
            workspace.feed(line, "tool_output", stream="1")
            workspace.feed(" and `src/app.py`", "tool_output", stream="1", last=True)
            for text in ('{"path": ' * 100_000, "[" * 100_000, '{"a": {"path": "' * 50_000):
                workspace.feed(text, "tool_call", stream="2", tool="read_file", last=True)
            await rested(workspace)
            assert (await workspace.read_file("src/app.py")).text == "x = 1\n"
            assert workspace.statistics().hits == 1
            assert workspace.statistics().failures == 0
            assert len((await workspace.read_file("src/long.txt")).data) == 65_536
            read = await workspace.call_tool("read_file", {"path": "src/long.txt"})
            assert (read.truncated, len(read.text)) == (True, 65_536)
            found = await workspace.call_tool("grep", {"pattern": "compute", "path": "src"})
            assert [len(match.text) for match in found.matches] == [400]
            with pytest.raises(RefusedCallError):
                await workspace.call_tool("read_file", json.loads('{"path": ' + "[" * 900 + "]" * 900 + "}"))

    asyncio.run(main())


def test_a_fifo_in_a_files_place_holds_up_nobody(root):
    async def main():
        async with open_workspace(root) as workspace:
            await workspace.read_file("src/app.py")
            (root / "src/app.py").unlink()
            os.mkfifo(root / "src/app.py")
            for ask in (
                workspace.read_file("src/app.py"),
                workspace.call_tool("read_file", {"path": "src/app.py"}),
                workspace.facts("syntax src/app.py"),
            ):
                with pytest.raises(UnknownResourceError):
                    await asyncio.wait_for(ask, 20)
            assert (await workspace.call_tool("grep", {"pattern": "x"})).matches == ()

    asyncio.run(main())
