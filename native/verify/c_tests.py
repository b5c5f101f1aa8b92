"""The C tests of ``native/tests``: plain, under sanitizers, under valgrind, on other processors."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .shell import BUILD, NATIVE, Finished, StepFailedError, StepSkippedError, demand, run, tool

_PROBE = "int main(void) { return 0; }\n"


def _make(native: Path, build: Path, goal: str, compiler: str, flags: Sequence[str]) -> list[str]:
    if not (native / "tests").exists():
        raise StepSkippedError("there are no C tests in native/tests")
    return [
        tool("make"),
        "--no-print-directory",
        "--directory",
        str(native),
        goal,
        f"BUILD={build}",
        f"CC={compiler or tool('gcc', 'clang', 'cc')}",
        f"CFLAGS={' '.join(('-std=c11', '-g', '-Wall', '-Wextra', *flags))}",
    ]


def run_tests(
    native: Path,
    build: Path,
    *,
    compiler: str = "",
    flags: Sequence[str] = ("-O2",),
    runner: str = "",
    stress_s: float = 2,
    timeout_s: float = 300,
) -> Finished:
    """Build and run all tests of ``native`` in the folder ``build``, by its Makefile."""
    command = _make(native, build, "test", compiler, flags)
    return run([*command, f"RUN={runner}", f"STRESS_S={stress_s:g}"], timeout_s=timeout_s)


def run_one(
    native: Path, build: Path, program: str, *arguments: str, flags: Sequence[str] = ("-O2",), timeout_s: float = 60
) -> Finished:
    """Build and run one program of ``native/tests``.

    Raises:
        StepFailedError: It does not build.
    """
    demand(_make(native, build, f"{build / program}", "", flags), f"{program} does not build")
    return run([build / program, *arguments], timeout_s=timeout_s)


def _passed(finished: Finished, under: str) -> str:
    if finished.ok:
        return f"{finished.last_line} ({under})"
    how = "out of time" if finished.timed_out else finished.last_line
    raise StepFailedError(f"{under}: {how}", finished.output)


def able(compiler: str, flag: str, folder: Path = BUILD / "probe") -> bool:
    """Return whether programs built with ``flag`` link and run here: a compiler may lack the sanitizer's library."""
    if not shutil.which(compiler):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    source, program = folder / "probe.c", folder / "probe"
    source.write_text(_PROBE)
    return run([compiler, flag, source, "-o", program]).ok and run([program]).ok


def _sanitized(sanitizer: str, under: str) -> str:
    flag = f"-fsanitize={sanitizer}"
    compiler = next((path for path in (tool("gcc", "clang"), tool("clang", "gcc")) if able(path, flag)), None)
    if compiler is None:
        raise StepSkippedError(f"no compiler here builds programs that run with {flag}")
    flags = ("-O1", flag, "-fno-sanitize-recover=all")
    return _passed(run_tests(NATIVE, BUILD / sanitizer, compiler=compiler, flags=flags), under)


def unit() -> str:
    """Unit and stress tests, by every compiler that is installed."""
    said = ""
    for name in ("gcc", "clang"):
        try:
            compiler = tool(name)
        except StepSkippedError:
            continue
        said = _passed(run_tests(NATIVE, BUILD / f"unit-{name}", compiler=compiler), name)
    if not said:
        raise StepSkippedError("neither gcc nor clang is installed (scripts/install_verify_packages.sh)")
    return said


def address() -> str:
    """The same with every access checked: bounds, lifetimes, leaks, undefined behaviour."""
    return _sanitized("address,undefined", "AddressSanitizer and UndefinedBehaviorSanitizer")


def thread() -> str:
    """The same with every pair of accesses checked for races."""
    return _sanitized("thread", "ThreadSanitizer")


def leaks() -> str:
    """The same under valgrind: nothing allocated is lost, nothing uninitialised is used."""
    runner = f"{tool('valgrind')} --quiet --error-exitcode=9 --leak-check=full --fair-sched=yes"
    return _passed(run_tests(NATIVE, BUILD / "valgrind", runner=runner, stress_s=0, timeout_s=600), "valgrind")
