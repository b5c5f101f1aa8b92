"""Explores small programs over the ring in every way that C11 allows: see ``explorer/explorer.h``."""

from __future__ import annotations

from pathlib import Path

from .shell import BUILD, HERE, NATIVE, Finished, demand, run, tool

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
    compiler = tool("gcc", "clang")
    return [_compile(compiler, EXPLORER / f"{name}.c", folder / f"{name}.o", "-O2", "-std=gnu11") for name in _OBJECTS]


def _link(engine: list[Path], program: Path, *flags: str) -> Path:
    """Link an instrumented program with the explorer in place of ThreadSanitizer's runtime."""
    compiler = tool("gcc", "clang")
    instrumented = ("-O1", "-std=c11", "-fsanitize=thread", *_INTERCEPTED, *flags)
    compiled = _compile(compiler, EXPLORER / f"{program.name}.c", program.with_suffix(".o"), *instrumented)
    demand([compiler, *engine, compiled, "-o", program], f"{program.name} does not link")
    return program


def explore(ring: Path, folder: Path, engine: list[Path], *, timeout_s: float = 600) -> Finished:
    """Explore every scenario over the ``ring.c`` at ``ring``, whose headers lie beside it.

    Raises:
        StepFailedError: It does not compile.
    """
    program = _link(engine, folder / "scenarios", f'-DRING_SOURCE="{ring}"', f"-I{ring.parent}")
    return run([program], timeout_s=timeout_s)


def litmus() -> str:
    """The explorer's own test: programs whose outcomes under C11 are known."""
    folder = BUILD / "explorer"
    return demand([_link(build_engine(folder), folder / "litmus")], "litmus").last_line


def explorer() -> str:
    """Every scenario over the ring as it is."""
    folder = BUILD / "explorer"
    program = _link(build_engine(folder), folder / "scenarios", f'-DRING_SOURCE="{NATIVE / "ring.c"}"', f"-I{NATIVE}")
    return demand([program], "explorer", timeout_s=900).last_line
