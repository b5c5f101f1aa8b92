"""Compiled extensions are declared here, everything else in ``pyproject.toml``.

They are optional. Where the prediction kernel cannot be built, its NumPy twin serves (`preloader.prediction.BACKEND`).
The ring so far ships as its Python twin (`preloader.ring.BACKEND`), whose records already have the layout of
``native/record.h``.
"""

from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("native", "kernel")

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
        )
    ]
)
