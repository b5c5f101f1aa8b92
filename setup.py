"""Compiled extensions are declared here, everything else in ``pyproject.toml``.

They are optional. Where the prediction kernel cannot be built, its NumPy twin serves (`preloader.prediction.BACKEND`).
The ring so far ships as its Python twin (`preloader.ring.BACKEND`), whose records already have the layout of
``native/record.h``.
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
