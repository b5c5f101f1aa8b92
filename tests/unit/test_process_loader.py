"""Components that are programs, over real processes and pipes."""

import asyncio
import os
import sys

import psutil
import pytest

from preloader.components.process import ProcessLoader
from preloader.components.registry import ComponentRegistry
from preloader.errors import LoadError
from preloader.scheduling.execution import ThreadExecutor
from tests.unit.component_scene import children, from_toml, play, until

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(100)'])"
ECHO = """
import subprocess, sys
block = bytearray(60_000_000)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
child = subprocess.Popen([sys.executable, '-c', deaf], stdout=subprocess.PIPE)
child.stdout.readline()
print('starting', flush=True)
print('ready with', child.pid, flush=True)
for line in sys.stdin:
    print(line.strip()[::-1], flush=True)
"""


def test_a_program_is_started_measured_spoken_with_and_ended_with_its_children(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO)
    command = f"command = ['{sys.executable}', 'echo.py']"
    registry = from_toml(tmp_path, "loader = 'subprocess'", command, "ready = '^ready'", "bytes = 1", "load_s = 1")

    async def body(manager):
        async with manager.use("component:x") as program:
            assert manager.statistics().resident_bytes > 60_000_000
            program.stdin.write(b"abc\n")
            assert await program.stdout.readline() == b"cba\n"
            return program

    program = play(registry, body)
    assert program.process.returncode is not None
    child = int(program.ready_line.split()[-1])
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_program_that_has_ended_is_started_again(tmp_path):
    command = f"command = ['{sys.executable}', '-c', 'input()']"
    registry = from_toml(tmp_path, "loader = 'subprocess'", command, "bytes = 1", "load_s = 1")

    async def body(manager):
        first = await manager.get("component:x")
        first.stdin.write(b"\n")
        await first.process.wait()
        second = await manager.get("component:x")
        assert second.process.pid != first.process.pid

    play(registry, body)


def test_what_a_program_that_ends_leaves_behind_is_ended_then_and_its_number_not_used_later(monkeypatch):
    leaves = f"{ECHO.split('for line')[0]}\ninput()"

    async def main():
        loaded = await ProcessLoader([sys.executable, "-c", leaves], "^ready").load(executor := ThreadExecutor())
        child = int(loaded.value.ready_line.split()[-1])
        loaded.value.stdin.write(b"\n")
        await loaded.value.process.wait()
        until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
        monkeypatch.setattr(os, "killpg", lambda *arguments: pytest.fail("by now it may be another's"))
        await loaded.value.stop()
        await executor.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("command", "ready", "reason"),
    [
        (["no-such-program"], None, "'no-such-program' cannot be started: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "go", r"ended with 3 before it wrote 'go'"),
        ([sys.executable, "-c", "print('x' * 3_000_000)"], "go", "wrote a line of more than 1,048,576 bytes"),
    ],
)
def test_a_program_that_does_not_start(command, ready, reason):
    registry = ComponentRegistry()
    registry.add("x", ProcessLoader(command, ready), bytes=1, load_s=1.0)

    async def body(manager):
        with pytest.raises(LoadError, match=reason):
            await manager.get("component:x")

    play(registry, body)


def test_a_program_whose_start_is_cancelled_is_ended():
    registry = ComponentRegistry()
    registry.add("x", ProcessLoader([sys.executable, "-c", CHILD], "never"), bytes=1, load_s=1.0)
    before = set(children())

    async def body(manager):
        need = asyncio.create_task(manager.get("component:x"))
        while len(set(children()) - before) < 1:
            await asyncio.sleep(0.01)
        need.cancel()
        await asyncio.wait([need])

    play(registry, body)
    until(lambda: not set(children()) - before)


def test_a_program_that_ignores_being_asked_is_killed():
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\nwhile True: input()"
    )

    async def main():
        loaded = await ProcessLoader([sys.executable, "-c", f"{stubborn}; time.sleep(100)"], "on").load(
            ThreadExecutor()
        )
        await loaded.value.stop(grace_s=0.05)
        return loaded.value.process.returncode

    assert asyncio.run(main()) == -9
