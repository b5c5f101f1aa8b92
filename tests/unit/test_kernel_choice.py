"""Which prediction kernel is used: one that was built from other sources is refused instead of failing later."""

import importlib
import inspect
import subprocess
import sys
import zlib

import pytest

from preloader.prediction import kernel, twin
from preloader.ring import backend
from preloader.ring.twin import Ring

CHOOSE = """
import sys, types
sys.modules["preloader.prediction._kernel"] = old = {module}
from preloader.prediction import BACKEND, OnlinePredictor
print(BACKEND)
"""


def choose(module):
    run = [sys.executable, "-W", "always", "-c", CHOOSE.format(module=module)]
    return subprocess.run(run, capture_output=True, text=True, check=True)


def test_a_kernel_of_other_sources_is_refused_with_a_warning():
    refused = choose("types.SimpleNamespace(__file__='old.so', INTERFACE=-1)")
    assert refused.stdout == "numpy\n"
    warning = f"RuntimeWarning: the compiled prediction kernel old.so has interface -1 and not {kernel.INTERFACE}, "
    assert refused.stderr.count(warning) == 1


def test_a_kernel_from_before_interfaces_had_numbers_is_refused():
    assert choose("types.SimpleNamespace(__file__='old.so')").stdout == "numpy\n"


def test_a_kernel_that_was_not_built_is_passed_over_without_a_word():
    missing = choose("None")
    assert (missing.stdout, missing.stderr) == ("numpy\n", "")


@pytest.mark.parametrize("module", ["preloader.prediction._kernel", "preloader.ring._native"])
def test_what_is_built_here_is_of_these_sources(module):
    native = pytest.importorskip(module, exc_type=ImportError)
    chooser = kernel if module.endswith("_kernel") else backend
    assert native.INTERFACE == importlib.import_module(chooser.__name__).INTERFACE


def checksum(functions):
    """Return a number that changes with any function's name or arguments."""
    said = [
        (name, [(one.name, str(one.annotation)) for one in inspect.signature(function).parameters.values()])
        for name, function in sorted(functions.items())
        if inspect.isroutine(function) and not name.startswith("_")
    ]
    return zlib.crc32(repr(said).encode())


def test_a_changed_interface_has_a_new_number():
    """Where this fails, raise INTERFACE here, in the C header and in the module that checks it."""
    assert (kernel.INTERFACE, checksum(vars(twin))) == (2, 581_963_841)
    assert (backend.INTERFACE, checksum({name: getattr(Ring, name) for name in dir(Ring)})) == (1, 1_929_682_918)
