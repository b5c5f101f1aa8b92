"""Compiled extensions are declared here, everything else in ``pyproject.toml``.

There are none yet: the ring ships as its Python twin (`preloader.ring.BACKEND`), whose records already have the layout
of ``native/record.h``.
"""

from setuptools import setup

setup(ext_modules=[])
