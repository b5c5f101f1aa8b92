import array
import asyncio
import functools
import mmap
import sys
import threading

import numpy as np
import pytest

from preloader.components.loaders import FileLoader, PythonLoader, Simulated, SimulatedLoader, imported, measured_bytes
from preloader.components.registry import ComponentRegistry
from preloader.errors import LoadError
from preloader.ports import Loaded
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor

MODULE = """
loaded = 0
not_callable = 3

def load():
    global loaded
    loaded += 1
    return loaded

async def load_async():
    return "async"

def release(value):
    released.append(value)

async def release_async(value):
    released.append(value)

released = []

class Voice:
    @classmethod
    def open(cls):
        return cls()
"""


@pytest.fixture
def voices(tmp_path, monkeypatch):
    """A module of the user's, importable under the name ``voices``."""
    (tmp_path / "voices.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_installed")
    (tmp_path / "failing.py").write_text("raise ValueError('at import')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("voices", "broken", "failing"):
        sys.modules.pop(name, None)


def load(loader, executor=None):
    return asyncio.run(loader.load(executor or InlineExecutor()))


def provided(loader_function, **declared):
    registry = ComponentRegistry()
    registry.component("x", **{"bytes": 10, "load_s": 1.0, **declared})(loader_function)
    return asyncio.run(registry.provider(executor=ThreadExecutor()).load("component:x"))


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (b"abc", 3),
        (bytearray(5), 5),
        (memoryview(array.array("d", [1.0, 2.0])), 16),
        (np.zeros((4, 8), np.float32), 128),
        (Simulated("x", 7), 7),
        (mmap.mmap(-1, 4_096), 4_096),
        ("a string", None),
        ([1, 2], None),
        (None, None),
        (np.ndarray, None),
    ],
)
def test_sizes_are_measured_where_they_can_be(value, size):
    assert measured_bytes(value) == size


@pytest.mark.parametrize(
    ("value", "size"), [(object(), 10), (b"abc", 3), (Loaded("x", 77), 77), (Loaded(b"abc", 4), 4)]
)
def test_bytes_are_stated_else_measured_else_declared(value, size):
    assert provided(lambda: value).bytes == size


def test_a_loader_that_states_its_bytes_serves_the_value_alone():
    assert provided(lambda: Loaded("the value", 5)) == Loaded("the value", 5)


def test_sync_loaders_run_off_the_loops_thread():
    assert provided(threading.current_thread).value is not threading.main_thread()


def test_every_kind_of_async_callable_is_awaited():
    async def function(number=1):
        return number

    class Opener:
        async def __call__(self):
            return 1

    for make in (function, functools.partial(function, 1), Opener()):
        assert load(PythonLoader(make)) == 1


def test_a_coroutine_from_a_plain_function_is_refused_not_leaked():
    async def function():
        return 1

    with pytest.raises(LoadError, match="returned a coroutine: declare it with 'async def'"):
        load(PythonLoader(lambda: function()))


def test_what_a_loader_raises_is_what_the_caller_sees():
    def fail():
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        load(PythonLoader(fail), ThreadExecutor())


def test_references_are_imported_when_first_used(voices):
    loader = PythonLoader("voices:load")
    assert "voices" not in sys.modules
    assert [load(loader), load(loader)] == [1, 2]


@pytest.mark.parametrize(("reference", "value"), [("voices:load_async", "async"), ("voices:Voice.open", None)])
def test_references_lead_to_anything_callable(voices, reference, value):
    loaded = load(PythonLoader(reference))
    assert loaded == value or type(loaded).__name__ == "Voice"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (
            "no_such_module:load",
            "'no_such_module', needed for 'no_such_module:load', cannot be imported: No module named",
        ),
        ("broken:load", "'broken', needed for 'broken:load', cannot be imported: No module named 'a_module_that"),
        ("failing:load", "'failing', needed for 'failing:load', cannot be imported: ValueError: at import"),
        ("voices:absent", r"'voices:absent' does not exist: <module 'voices'.* has no 'absent'"),
        ("voices:Voice.absent", "'voices:Voice.absent' does not exist: <class 'voices.Voice'> has no 'absent'"),
        ("voices:not_callable", "'voices:not_callable' must be a function, not 3"),
    ],
)
def test_a_reference_that_leads_nowhere(voices, reference, reason):
    with pytest.raises(LoadError, match=reason):
        imported(reference)


@pytest.mark.parametrize(
    ("make", "release"), [("load", "release"), ("load_async", "release"), ("load_async", "release_async")]
)
def test_values_are_given_back_to_the_function_that_releases_them(voices, make, release):
    loader = PythonLoader(f"voices:{make}", f"voices:{release}")

    async def main():
        value = await loader.load(ThreadExecutor())
        await loader.unload(ThreadExecutor(), value)
        return value

    value = asyncio.run(main())
    assert sys.modules["voices"].released == [value]


def test_a_sync_loader_needs_a_sync_release(voices):
    with pytest.raises(
        LoadError, match="release_async must not be async, since load, whose values it releases, is not"
    ):
        load(PythonLoader("voices:load", "voices:release_async"))


def test_a_late_value_that_states_its_bytes_is_released_by_itself():
    """A cancelled caller's value comes back to ``unload`` bare, as it would after an ordinary life."""
    gate, released = threading.Event(), []

    def make():
        gate.wait()
        return Loaded("the value", 5)

    async def main():
        executor = ThreadExecutor()
        task = asyncio.create_task(PythonLoader(make, released.append).load(executor))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        gate.set()
        while executor.live:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert released == ["the value"]


def test_without_release_unloading_does_nothing():
    asyncio.run(PythonLoader(int).unload(InlineExecutor(), 3))


def test_only_files_can_go_stale():
    assert PythonLoader(int).immutable
    assert SimulatedLoader(Simulated("x", 1), 0.0).immutable
    assert not FileLoader.immutable
    assert asyncio.run(PythonLoader(int).is_fresh(InlineExecutor(), 0))
