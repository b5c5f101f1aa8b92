"""Other processors: the C tests on emulated ARM64, and the code that Apple's processors would run."""

from __future__ import annotations

import re
import sys
from collections import Counter

from .c_tests import run_tests
from .shell import BUILD, NATIVE, StepFailedError, StepSkippedError, demand, run, tool

ZIG = BUILD / "zig"
"""A virtual environment for the ziglang package, which is too big for a development dependency."""

_ZIG_VERSION = "0.17.1"
_MACOS = ("-target", "aarch64-macos", "-mcpu=apple_m1", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror")
_ORDERED = re.compile(r"^\s+(ldapr|ldar|stlr|cas|casl|casa|casal|swpal|ldsetal|ldclral)\b", re.MULTILINE)
_MACH_O_64 = bytes.fromhex("cffaedfe")


def aarch64() -> str:
    """The C tests, cross-compiled and run under user-mode emulation."""
    compiler = tool("aarch64-linux-gnu-gcc")
    emulator = tool("qemu-aarch64-static", "qemu-aarch64")
    build = BUILD / "aarch64"
    finished = run_tests(
        NATIVE, build, compiler=compiler, flags=("-O2", "-static"), runner=emulator, stress_s=1, timeout_s=600
    )
    if not finished.ok:
        raise StepFailedError(f"on emulated aarch64: {finished.last_line}", finished.output)
    return f"{finished.last_line} (aarch64, emulated)"


def _zig() -> list[str]:
    """Return the command of the pinned zig, installed on first use."""
    python = ZIG / "bin" / "python"
    if not (python.exists() and run([python, "-m", "ziglang", "version"]).output.strip() == _ZIG_VERSION):
        demand([sys.executable, "-m", "venv", ZIG], "no virtual environment for zig")
        installed = run([python, "-m", "pip", "install", "--quiet", f"ziglang=={_ZIG_VERSION}"])
        if not installed.ok:
            raise StepSkippedError(f"ziglang {_ZIG_VERSION} could not be installed: {installed.last_line}")
    return [str(python), "-m", "ziglang", "cc"]


def macos() -> str:
    """Compile the ring for Apple's processors; nothing is run, and this is no wheel."""
    compiler, build = _zig(), BUILD / "macos"
    build.mkdir(parents=True, exist_ok=True)
    listing, library = build / "ring.s", build / "libring.dylib"
    source = NATIVE / "ring.c"
    demand(
        [*compiler, *_MACOS, "-Wno-unused-command-line-argument", "-S", source, "-o", listing],
        "no assembly for aarch64-macos",
    )
    demand(
        [*compiler, *_MACOS, "-shared", "-undefined", "dynamic_lookup", source, "-o", library],
        "no library for aarch64-macos",
    )
    instructions = Counter(_ORDERED.findall(listing.read_text()))
    code = library.read_bytes()
    if not code.startswith(_MACH_O_64) or b"_preloader_ring_try_put\0" not in code:
        raise StepFailedError("the library for aarch64-macos holds no ring")
    if not (instructions["ldapr"] or instructions["ldar"]) or not instructions["stlr"]:
        raise StepFailedError(f"no acquire loads or release stores in the code for aarch64-macos: {dict(instructions)}")
    counted = ", ".join(f"{count} {name}" for name, count in sorted(instructions.items()))
    return f"compiles for aarch64-macos, {len(code):,} bytes: {counted} (not run)"
