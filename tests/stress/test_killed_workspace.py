"""Processes that are killed or interrupted amid a workspace: what they kept is sound, and nothing of them is left."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("watchfiles")
pytest.importorskip("tree_sitter")

from preloader.workspace.graph.index import GraphIndex
from preloader.workspace.graph.reader import Limits
from preloader.workspace.workspace import Workspace
from tests.contract.agent_samples import AGENT_TRANSCRIPTS
from tests.unit.workspace_tree import write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX systems")

REPOSITORY = Path(__file__).parents[2]
HEEDS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background job ignores it
COMMAND = f"{HEEDS}; import runpy; runpy.run_module('preloader', run_name='__main__', alter_sys=True)"
AGENT = (
    f"""
{HEEDS}
"""
    + """
import asyncio, sys
from pathlib import Path
import msgspec
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace

async def main(root, state):
    settings = msgspec.structs.replace(SETTINGS, autosave_s=0.02, pressure=False)
    async with Workspace(root, state_dir=state, settings=settings) as workspace:
        number = 0
        while True:
            number += 1
            name = f"pkg/m_{number % 12}.py"
            (root / name).write_text(f"from pkg import m_{number * 7 % 12}\\n\\n\\ndef f_{number}(): ...\\n")
            workspace.on_edit(name)
            workspace.feed(f"Now `pkg/m_{number % 5}.py`, then `{name}`.", "assistant", last=True)
            await workspace.read_file(name)
            await workspace.settled()
            print(number, flush=True)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""
)


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **more}


async def known(root, state):
    """Return what a new workspace knows of its files' relations, after it has served them."""
    async with Workspace(root, state_dir=state, watch=False) as workspace:
        for path in sorted(root.rglob("*.py")):
            name = str(path.relative_to(root))
            assert (await workspace.read_file(name)).text == path.read_text()
        await workspace.graph.build(workspace.index.table)
        related = {path: await workspace.graph.related(path, 20) for path in sorted(workspace.index.table)}
        assert workspace.statistics().failures == 0
        return {
            path: [(one.path, [why.text for why in one.reasons]) for one in found] for path, found in related.items()
        }


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_what_a_killed_process_kept_is_sound(tmp_path, caplog, how):
    root, state = tmp_path / "app", tmp_path / "state"
    write(root, {f"pkg/m_{number}.py": "x = 1\n" for number in range(12)} | {"pkg/__init__.py": ""})
    for steps in (3, 20) if how == "SIGKILL" else (10,):
        command = [sys.executable, "-c", AGENT, str(root), str(state)]
        agent = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(steps):
            assert agent.stdout.readline(), agent.communicate()[1]
        agent.send_signal(getattr(signal, how))
        _, complaint = agent.communicate(timeout=60)
        assert agent.returncode != 0
        assert how == "SIGKILL" or complaint.rstrip().endswith("KeyboardInterrupt"), complaint
    with caplog.at_level("WARNING", logger="preloader"):
        found = asyncio.run(known(root, state))
    assert caplog.records == []
    assert found == asyncio.run(known(root, None))
    assert len(found) == 13
    assert any(found.values())


def interrupted(tmp_path, arguments, is_amid, **more):
    """Run a command, interrupt it, and return its exit status, what it said, and what it left in the directory."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-c", COMMAND, "workspace", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, env=environment(TMPDIR=str(scratch), **more), text=True, **pipes)
    end_s = time.monotonic() + 60
    while not is_amid(running.pid, scratch) and time.monotonic() < end_s:
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, complaint = running.communicate(timeout=60)
    return running.returncode, complaint, list(scratch.iterdir())


INTERRUPTED = (130, "preloader: interrupted\n", [])


@pytest.fixture
def sessions(tmp_path):
    lines = []
    for number in range(300):
        for record in AGENT_TRANSCRIPTS.records:
            session = json.loads(record)
            lines.append(json.dumps({**session, "session": f"{number} {session['session']}"}))
    (tmp_path / "sessions.jsonl").write_text("\n".join(lines))
    return tmp_path / "sessions.jsonl"


def test_an_interrupted_index_leaves_no_git_behind(tmp_path):
    marker, program = tmp_path / "pid", tmp_path / "bin/git"
    write(
        tmp_path,
        {
            "app/m.py": "x = 1\n",
            "bin/git": f"#!/bin/sh\necho $$ > {marker}.new\nmv {marker}.new {marker}\nexec sleep 600\n",
        },
    )
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    assert interrupted(tmp_path, ["index", tmp_path / "app"], lambda *_: marker.exists(), PATH=path) == INTERRUPTED
    with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, where nobody looks after orphans
        assert psutil.Process(int(marker.read_text())).status() == psutil.STATUS_ZOMBIE


def test_an_interrupted_graph_can_be_gone_on_with(tmp_path):
    root, state = tmp_path / "app", tmp_path / "state"
    text = "from p_1 import m_1\n" + "def f(x):\n    return x + 1\n" * 60
    write(root, {f"p_{number % 20}/m_{number}.py": text for number in range(600)})
    assert interrupted(tmp_path, ["graph", root, "--state", state], lambda *_: state.exists()) == INTERRUPTED
    small = tmp_path / "small"
    write(small, {"a.py": "import b\n", "b.py": "x = 1\n"})
    index = GraphIndex(small, state, Limits())
    index.build(["a.py", "b.py"])
    assert list(index.imports("a.py")) == ["b.py"]
    assert index.importers("p_1/m_1.py") == {}
    index.close()


def test_an_interrupted_replay_leaves_no_files_behind(tmp_path, sessions):
    def is_amid(_, scratch):
        return any(scratch.glob("preloader-replay-*/*"))

    assert interrupted(tmp_path, ["replay", sessions], is_amid) == INTERRUPTED


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is told by /proc")
def test_an_interrupted_evaluation_says_so(tmp_path, sessions):
    pytest.importorskip("sklearn")

    def is_amid(pid, _):
        return "sklearn" in Path(f"/proc/{pid}/maps").read_text()

    assert interrupted(tmp_path, ["evaluate", sessions, "--json"], is_amid) == INTERRUPTED
