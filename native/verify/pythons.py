"""The ring's Python tests on other interpreters: the scripts beside this module do the work."""

from __future__ import annotations

from .shell import BUILD, HERE, StepFailedError, StepSkippedError, run, tool

_NOT_HERE = 75  # EX_TEMPFAIL: the script says what is missing


def pythons() -> str:
    """Every Python version that can be had, the free-threaded build among them."""
    script = HERE / "pythons.sh"
    finished = run([tool("sh"), script, BUILD / "pythons"], timeout_s=1200)
    if not finished.ok:
        raise StepFailedError(finished.last_line, finished.output)
    return finished.last_line


def python_aarch64() -> str:
    """Python 3.11 for ARM64, emulated."""
    finished = run([tool("sh"), HERE / "python_aarch64.sh", BUILD / "python-aarch64"], timeout_s=900)
    if finished.code == _NOT_HERE:
        raise StepSkippedError(finished.last_line)
    if not finished.ok:
        raise StepFailedError(finished.last_line, finished.output)
    return f"{finished.last_line} (Python 3.11 for aarch64, emulated)"
