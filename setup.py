"""Compiled extensions are declared here, everything else in ``pyproject.toml``.

Both extensions to come and those here are optional: the ring ships as its Python twin (`preloader.ring.BACKEND`), whose
records already have the layout of ``native/record.h``; where the prediction kernel cannot be built, its NumPy twin
serves (`preloader.prediction.BACKEND`).
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "preloader.prediction._kernel",
            ["preloader/prediction/_kernel.c"],
            extra_compile_args=["-O2", "-ffp-contract=off"],  # fused operations would round otherwise than the twin's
            optional=True,
        )
    ]
)
