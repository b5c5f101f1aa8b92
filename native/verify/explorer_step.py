"""Explores small programs over the ring in every way that C11 allows: see ``explorer/explorer.h``."""

from __future__ import annotations

import sys
from pathlib import Path

from .shell import BUILD, HERE, NATIVE, Finished, StepSkippedError, demand, run, tool

EXPLORER = HERE / "explorer"
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_INTERCEPTED = ("-Dmemcpy=explorer_memcpy", "-Dmemset=explorer_memset")
_OBJECTS = ("machine", "explore", "tsan_abi")


def _compile(compiler: str, source: Path, target: Path, *flags: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    demand([compiler, *_WARNINGS, *flags, "-c", source, "-o", target], f"{source.name} does not compile")
    return target


def build_engine(folder: Path) -> list[Path]:
    """Compile the explorer itself; return its objects."""
    if sys.platform != "linux":  # contexts are deprecated on macOS, and its ThreadSanitizer calls other names
        raise StepSkippedError("the explorer runs on Linux only")
    compiler = tool("gcc", "clang")
    return [_compile(compiler, EXPLORER / f"{name}.c", folder / f"{name}.o", "-O2", "-std=gnu11") for name in _OBJECTS]


def _link(engine: list[Path], program: Path, *flags: str) -> Path:
    """Link an instrumented program with the explorer in place of ThreadSanitizer's runtime."""
    compiler = tool("gcc", "clang")
    instrumented = ("-O1", "-std=c11", "-fsanitize=thread", *_INTERCEPTED, "-Wno-error", *flags)
    compiled = _compile(compiler, EXPLORER / f"{program.name}.c", program.with_suffix(".o"), *instrumented)
    demand([compiler, *engine, compiled, "-o", program], f"{program.name} does not link")
    return program


def build_litmus(folder: Path) -> Path:
    """Build the explorer's own test."""
    return _link(build_engine(folder), folder / "litmus")


def build_scenarios(ring: Path, folder: Path, engine: list[Path] | None = None) -> Path:
    """Build every scenario over the ``ring.c`` at ``ring``, whose headers lie beside it."""
    flags = (f'-DRING_SOURCE="{ring}"', f"-I{ring.parent}")
    return _link(engine or build_engine(folder), folder / "scenarios", *flags)


def explore(ring: Path, folder: Path, engine: list[Path], *, timeout_s: float = 600) -> Finished:
    """Explore every scenario over the ``ring.c`` at ``ring``; not ok where one fails.

    Raises:
        StepFailedError: It does not compile.
    """
    return run([build_scenarios(ring, folder, engine)], timeout_s=timeout_s)


def litmus() -> str:
    """The explorer's own test: programs whose outcomes under C11 are known."""
    return demand([build_litmus(BUILD / "explorer")], "litmus").last_line


def explorer() -> str:
    """Every scenario over the ring as it is."""
    return demand([build_scenarios(NATIVE / "ring.c", BUILD / "explorer")], "explorer", timeout_s=900).last_line
