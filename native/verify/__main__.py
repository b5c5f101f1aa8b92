"""``python -m native.verify [step…]``: all steps, or those named; the last line is the verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import msgspec

from . import c_tests, cbmc_step, cross, explorer_step, mutation, pythons
from .shell import BUILD, StepFailedError, StepSkippedError

STEPS: dict[str, Callable[[], str]] = {
    "unit": c_tests.unit,
    "address": c_tests.address,
    "thread": c_tests.thread,
    "leaks": c_tests.leaks,
    "aarch64": cross.aarch64,
    "macos": cross.macos,
    "pythons": pythons.pythons,
    "python-aarch64": pythons.python_aarch64,
    "litmus": explorer_step.litmus,
    "explorer": explorer_step.explorer,
    "cbmc": cbmc_step.cbmc,
    "mutation": mutation.mutation,
}


class Result(msgspec.Struct, frozen=True):
    """How one step ended.

    Attributes:
        step: Its name.
        status: ``passed``, ``failed`` or ``skipped``.
        line: What it found, or why it could not run.
        seconds: How long it took.
    """

    step: str
    status: str
    line: str
    seconds: float


def run_step(name: str) -> Result:
    """Run one step and print its line; where it failed, all that the tools said comes first."""
    begun = time.monotonic()
    try:
        status, line = "passed", STEPS[name]()
    except StepSkippedError as reason:
        status, line = "skipped", str(reason)
    except StepFailedError as failure:
        print(failure.output, end="")
        status, line = "failed", str(failure)
    result = Result(name, status, line, round(time.monotonic() - begun, 1))
    print(f"{name}: {status} in {result.seconds:.0f} s: {line}", flush=True)
    return result


def verdict(results: list[Result]) -> str:
    """Say in one line what the steps came to; skipped is never passed."""
    named = {status: [r.step for r in results if r.status == status] for status in ("passed", "failed", "skipped")}
    skipped = f", {len(named['skipped'])} skipped: {', '.join(named['skipped'])}" if named["skipped"] else ", 0 skipped"
    if named["failed"]:
        return f"verify-native: FAILED ({', '.join(named['failed'])}; {len(named['passed'])} checks passed{skipped})"
    if not named["passed"]:
        return f"verify-native: NOTHING CHECKED (0 checks{skipped})"
    return f"verify-native: PASSED ({len(named['passed'])} checks{skipped})"


def main(names: list[str]) -> int:
    """Run the steps of these names, all where there are none; return the exit status."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"no step is called {', '.join(unknown)}; there are {', '.join(STEPS)}")
        return 2
    results = [run_step(name) for name in names or STEPS]
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print(verdict(results))
    return 0 if any(r.status == "passed" for r in results) and all(r.status != "failed" for r in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
