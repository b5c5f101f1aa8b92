"""Programs run by workspace readings: bounded in time and output, and ended when nobody waits."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from preloader.errors import LoadError, LoadTimeoutError
from preloader.scheduling.execution import ThreadExecutor
from preloader.workspace.files import SourceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.program import Program
from preloader.workspace.reading import Reading, read_on

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def program(script, **options):
    return Program((sys.executable, "-I", "-c", script), Path("/"), ENVIRONMENT, **options)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_death(pid):
    while is_alive(pid):
        time.sleep(0.002)


def test_output_input_and_status():
    script = "import sys; d = sys.stdin.buffer.read(); print(len(d)); print('no', file=sys.stderr); sys.exit(3)"
    output = program(script, stdin=b"x" * 300_000).run()
    assert (output.stdout, output.code, output.complaint) == (b"300000\n", 3, "no")


def test_input_that_is_not_read_holds_nothing_up():
    assert program("print('done')", stdin=b"x" * 3_000_000).run().stdout == b"done\n"


def test_a_signal_is_a_negative_status():
    assert program("import os; os.kill(os.getpid(), 15)").run().code == -15


def test_its_environment_is_what_it_was_given(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    names = program("import os; print(sorted(os.environ))").run().stdout.decode()
    assert "SECRET" not in names
    assert "PATH" in names


def test_too_much_output_ends_it():
    output = program("while True: print('x' * 1000)", max_bytes=5_000).run()
    assert output.truncated
    assert len(output.stdout) == 5_000


def test_too_long_a_run_ends_it():
    with pytest.raises(LoadTimeoutError, match=r"took longer than 0.2 s"):
        program("import time; time.sleep(600)", timeout_s=0.2).run()


def test_killing_it_ends_what_it_started(tmp_path):
    pid_file = tmp_path / "pid"
    script = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(600)"])
open({str(pid_file)!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    one, ended = program(script, timeout_s=60.0), []

    def run():
        with pytest.raises(LoadError, match="nobody waited for it"):
            one.run()
        ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    while not (pid_file.exists() and pid_file.read_text()):
        time.sleep(0.002)
    one.kill()
    thread.join()
    assert ended
    await_death(int(pid_file.read_text()))


def test_what_it_left_behind_ends_with_it(tmp_path):
    script = f"""
import os, subprocess, sys
quiet = {{"stdin": -3, "stdout": -3, "stderr": -3}}
child = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(600)"], **quiet)
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
"""
    assert program(script).run().code == 0
    await_death(int((tmp_path / "pid").read_text()))


def test_a_program_that_cannot_be_started():
    with pytest.raises(LoadError, match="'/absent' cannot be started: No such file"):
        Program(("/absent",), Path("/"), ENVIRONMENT).run()


def test_one_that_was_killed_before_it_began_is_not_started(tmp_path):
    one = program(f"open({str(tmp_path / 'ran')!r}, 'w')")
    one.kill()
    with pytest.raises(LoadError, match="was not started"):
        one.run()
    assert not (tmp_path / "ran").exists()


def test_cancelling_ends_the_program_and_the_thread(tmp_path):
    pid_file = tmp_path / "pid"
    script = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    async def main():
        executor = ThreadExecutor()
        reading = Reading(SourceFiles(Confined(tmp_path)), {}, 60.0)
        command = (sys.executable, "-I", "-c", script)
        task = asyncio.create_task(read_on(executor, reading, lambda reading: reading.run(command, ENVIRONMENT)))
        while not (pid_file.exists() and pid_file.read_text()):
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while executor.live:
            await asyncio.sleep(0.002)
        await executor.aclose()

    asyncio.run(main())
    await_death(int(pid_file.read_text()))


def test_cancelling_ends_a_walk(tmp_path):
    for number in range(50):
        (tmp_path / f"d{number}").mkdir()

    async def main():
        executor = ThreadExecutor()
        reading = Reading(SourceFiles(Confined(tmp_path)), {}, 60.0)

        def walk_for_ever(reading):
            while True:
                list(reading.walk())

        task = asyncio.create_task(read_on(executor, reading, walk_for_ever))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while executor.live:
            await asyncio.sleep(0.002)
        await executor.aclose()

    asyncio.run(main())


def test_a_reading_that_takes_too_long(tmp_path):
    reading = Reading(SourceFiles(Confined(tmp_path)), {}, 0.0)
    with pytest.raises(LoadTimeoutError, match="reading the workspace took longer than 0 s"):
        list(reading.walk())
