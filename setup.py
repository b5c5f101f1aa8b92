"""Compiled extensions are declared here, everything else in ``pyproject.toml``.

They are optional: where they cannot be built, their twins in Python serve (`preloader.prediction.BACKEND`,
`preloader.ring.BACKEND`).
"""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("native")
KERNEL = NATIVE / "kernel"
BINDING = NATIVE / "binding"

setup(
    ext_modules=[
        Extension(
            "preloader.prediction._kernel",
            sorted(map(str, KERNEL.glob("*.c"))),
            depends=[str(KERNEL / "kernel.h")],
            extra_compile_args=[
                "-O2",
                "-ffp-contract=off",  # fused operations would round otherwise than the twin's
                "-fvisibility=hidden",  # the module's initialiser is all that others see
            ],
            optional=True,
        ),
        Extension(
            "preloader.ring._native",
            [*sorted(map(str, BINDING.glob("*.c"))), str(NATIVE / "ring.c")],
            depends=[str(BINDING / "binding.h"), str(NATIVE / "ring.h"), str(NATIVE / "record.h")],
            libraries=["m"],
            extra_compile_args=[
                "-std=c11",
                "-O2",
                "-D_GNU_SOURCE",
                "-fno-math-errno",  # so that rounding is an instruction
                "-fvisibility=hidden",
            ],
            optional=True,
        ),
    ]
)
