"""The compiled ring as an extension module: it leaks nothing, and every interpreter may have its own."""

import gc
import importlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from preloader.ring import DTYPE, Record

try:
    native = importlib.import_module("preloader.ring._native")
except ImportError:
    pytest.skip("the compiled ring was not built", allow_module_level=True)


class NoRecord:
    """Something that cannot be put."""


def use_all(ring, array, out):
    """Call everything, what fails included."""
    ring.put_many(array)
    ring.try_put(Record(300_000, 0.123, 7, 0, 2**31, 2**31))
    ring.try_put(resource=5, probability=0.5, steps=1)
    ring.put_many([Record(1, 0.5, 1), Record(2, 0.5, 1)])
    ring.get_many(3, out)
    ring.get_many(2)
    ring.get_records(3)
    ring.try_get()
    ring.try_get()
    ring.look()
    ring.skip(0)
    consumer = ring.open_consumer()
    ring.fileno(consumer)
    ring.arm(consumer)
    ring.clear(consumer)
    ring.close_consumer(consumer)
    ring.limit = ring.limit
    for wrong in (
        lambda: ring.try_put(Record(-1, 0.5, 1)),
        lambda: ring.try_put(NoRecord()),
        lambda: ring.try_put(1),
        lambda: ring.put_many([Record(1, 0.5, 1), Record(1, 2.0, 1)]),
        lambda: ring.put_many(b"short"),
        lambda: ring.put_many(NoRecord()),
        lambda: ring.get_many(-1),
        lambda: ring.get_many(4, NoRecord()),
        lambda: ring.get_many(4, np.zeros(3)),
        lambda: ring.fileno(77),
        lambda: native.Ring(0),
        lambda: native.Ring(4, buffer=b"read only"),
        lambda: native.Ring(4, buffer=bytearray(3)),
        lambda: native.Ring(4, wake_fd=-5),
        lambda: native.Ring.attach(bytearray(1_024)),
        lambda: setattr(ring, "limit", -1),
        lambda: delattr(ring, "limit"),
    ):
        with pytest.raises((ValueError, TypeError, BufferError, AttributeError, OSError)):
            wrong()
    while ring.try_get():
        pass
    native.Ring(8)


def test_nothing_leaks():
    ring, array, out = native.Ring(16), np.zeros(4, DTYPE), np.zeros(3, DTYPE)
    array["steps"] = 1
    watched = (Record, DTYPE, native.Ring, array, out, native, np.empty)
    for _ in range(20):
        use_all(ring, array, out)
    gc.collect()
    references = [sys.getrefcount(one) for one in watched]
    tracemalloc.start()
    try:
        for _ in range(100):  # until the free lists are full
            use_all(ring, array, out)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            use_all(ring, array, out)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 7_000  # one object leaked in each round would be 9,600 bytes at least
    assert [sys.getrefcount(one) for one in watched] == references


MEMORY = """
import resource
from preloader.ring import Ring

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

for _ in range(20):
    Ring(1 << 16).put_many(bytes(16 << 16))
before = peak()
for _ in range(300):
    Ring(1 << 16).put_many(bytes(16 << 16))
print(peak() - before)
"""


def test_a_rings_own_memory_is_given_back():
    run = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 20_000  # KiB here, bytes on macOS; 300 rings would be 460,000 KiB


INTERPRETERS = """
import sys
try:
    import _interpreters as interpreters  # 3.13
    create = lambda: interpreters.create("isolated")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = interpreters.create

CODE = '''
import collections, sys, types
from importlib import machinery, util

NAME = "preloader.ring._native"
for name in ("preloader", "preloader.ring", "preloader.ring.record"):  # without NumPy, which knows one interpreter only
    sys.modules[name] = record = types.ModuleType(name)
    record.__path__ = []
FIELDS = "resource probability steps flags deadline_ms generation"
record.Record = collections.namedtuple("Record", FIELDS, defaults=(0, 0, 0))
record.DTYPE = sys.modules["numpy"] = None
loader = machinery.ExtensionFileLoader(NAME, PATH)
native = util.module_from_spec(util.spec_from_file_location(NAME, PATH, loader=loader))
loader.exec_module(native)
for _ in range(200):
    ring = native.Ring(4)
    assert ring.try_put(7, 1.0, 1)
    assert ring.put_many([record.Record(8, 0.0, 2)]) == 1
    assert ring.get_records(4) == [(7, 1.0, 1, 0, 0, 0), (8, 0.0, 2, 0, 0, 0)]
    assert type(ring.try_put(7, 1.0, 1) and ring.try_get()) is record.Record
try:
    ring.get_many(4)
except ImportError:
    pass
else:
    raise AssertionError("an array without NumPy")
'''

for _ in range(3):
    one = create()
    failed = interpreters.run_string(one, "PATH = " + repr(sys.argv[1]) + chr(10) + CODE)
    assert not failed, failed
    interpreters.destroy(one)
print("every interpreter had its own")
"""


def test_every_interpreter_may_have_its_own():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRETERS, native.__file__],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("every interpreter had its own\n", 0), run.stderr


def test_the_type_is_fixed():
    with pytest.raises(TypeError):
        native.Ring.try_get = None
    with pytest.raises(TypeError):
        type("Child", (native.Ring,), {})
