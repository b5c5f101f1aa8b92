"""What every provider promises, whatever it makes ready."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from preloader.components.files import FileProvider
from preloader.components.registry import ComponentRegistry
from preloader.errors import PreloaderError, UnknownResourceError
from preloader.ports import Cost, Loaded, Provider, UsesExecutor
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.testing import FakeProvider
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.facts import FactProvider
from preloader.workspace.files import SourceFiles, WorkspaceFiles
from preloader.workspace.paths import Confined
from preloader.workspace.tools import ToolProvider

SIZE = 70_000


class Case(msgspec.Struct):
    """A provider, a key that it has, what that requires, how many values it holds, and a key that it has not."""

    provider: Provider
    key: str
    requires: tuple[str, ...] = ()
    held: Callable[[], int] = lambda: 0
    unknown: str = ""


class Gate:
    """A sync and an async loader that can be held up, and know what they have given out."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.values: list[Any] = []

    def load(self):
        self.open.wait()
        self.values.append(value := bytearray(SIZE))
        return value

    async def load_async(self):
        while not self.open.is_set():
            await asyncio.sleep(0.001)
        return self.load()

    def unload(self, value):
        self.values = [held for held in self.values if held is not value]

    async def unload_async(self, value):
        self.unload(value)


def registry_case(register: Callable[[ComponentRegistry, Gate], object], gate: Gate) -> Case:
    registry = ComponentRegistry()
    registry.simulated("top", bytes=1, load_s=0.0, requires=["middle", "base"])
    registry.simulated("middle", bytes=1, load_s=0.0, requires=["base"])
    registry.simulated("base", bytes=1, load_s=0.0)
    register(registry, gate)
    return Case(
        registry.provider(),
        "component:x",
        ("component:base", "component:middle", "component:top"),
        lambda: len(gate.values),
    )


def sync_case(tmp_path: Path, gate: Gate) -> Case:
    declared = {"bytes": 10, "load_s": 0.1, "requires": ["top"], "unload": gate.unload}
    return registry_case(lambda registry, gate: registry.component("x", **declared)(gate.load), gate)


def async_case(tmp_path: Path, gate: Gate) -> Case:
    declared = {"bytes": 10, "load_s": 0.1, "requires": ["top"], "unload": gate.unload_async}
    return registry_case(lambda registry, gate: registry.component("x", **declared)(gate.load_async), gate)


def simulated_case(tmp_path: Path, gate: Gate) -> Case:
    return registry_case(lambda registry, _: registry.simulated("x", bytes=10, load_s=0.001, requires=["top"]), gate)


def reference_case(tmp_path: Path, gate: Gate) -> Case:
    return toml_case(tmp_path, "python:string:Formatter\nbytes = 10\nload_s = 0.1")


def file_read_case(tmp_path: Path, gate: Gate) -> Case:
    return toml_case(tmp_path, "file:x.bin")


def file_mmap_case(tmp_path: Path, gate: Gate) -> Case:
    return toml_case(tmp_path, "file:x.bin\nmode = 'mmap'")


def toml_case(tmp_path: Path, lines: str) -> Case:
    loader, *rest = lines.splitlines()
    (tmp_path / "x.bin").write_bytes(b"x" * SIZE)
    path = tmp_path / "components.toml"
    lines = [
        "[components.x]",
        f"loader = '{loader}'",
        *rest,
        "requires = ['top']",
        "[components.top]\nloader = 'simulated'\nbytes = 1\nload_s = 0",
    ]
    path.write_text("\n".join(lines))
    provider = ComponentRegistry.from_toml(path).provider()
    return Case(provider, "component:x", ("component:top",), lambda: mappings_of(tmp_path))


def read_case(tmp_path: Path, gate: Gate) -> Case:
    (tmp_path / "x.bin").write_bytes(b"x" * SIZE)
    return Case(FileProvider(tmp_path), "file:x.bin", (), lambda: mappings_of(tmp_path))


def mmap_case(tmp_path: Path, gate: Gate) -> Case:
    (tmp_path / "x.bin").write_bytes(b"x" * SIZE)
    return Case(FileProvider(tmp_path, "mmap"), "file:x.bin", (), lambda: mappings_of(tmp_path))


def fake_case(tmp_path: Path, gate: Gate) -> Case:
    costs = {f"fake:{name}": Cost(0.001, 10) for name in ("x", "top", "base")}
    provider = FakeProvider(costs, {"fake:x": ["fake:top"], "fake:top": ["fake:base"]}, immutable=False)
    return Case(provider, "fake:x", ("fake:base", "fake:top"), lambda: len(provider.live))


def workspace_case(tmp_path: Path, make: Callable[[SourceFiles], Provider], key: str) -> Case:
    (tmp_path / "x.bin").write_bytes(b"x" * SIZE)
    return Case(make(SourceFiles(Confined(tmp_path))), key, (), lambda: mappings_of(tmp_path))


def workspace_file_case(tmp_path: Path, gate: Gate) -> Case:
    return workspace_case(tmp_path, lambda files: WorkspaceFiles(files.confined), "file:x.bin")


def fact_case(tmp_path: Path, gate: Gate) -> Case:
    return workspace_case(tmp_path, FactProvider, "fact:syntax x.bin")


def tool_case(tmp_path: Path, gate: Gate) -> Case:
    key = 'tool:grep {"path": "x.bin", "pattern": "xx"}'
    case = workspace_case(tmp_path, lambda files: ToolProvider(ToolCatalogue.builtin(), files), key)
    case.unknown = key.replace("x.bin", "x.biny")
    return case


CASES = [
    sync_case,
    async_case,
    simulated_case,
    reference_case,
    file_read_case,
    file_mmap_case,
    read_case,
    mmap_case,
    fake_case,
    workspace_file_case,
    fact_case,
    tool_case,
]


def mappings_of(directory: Path) -> int:
    """Return how many mappings and descriptors of files in ``directory`` this process holds."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("mappings can be counted on Linux only")
    gc.collect()
    held = sum(str(directory) in line for line in maps.read_text().splitlines())
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of this very listing is gone already
            held += descriptor.readlink().is_relative_to(directory)
    return held


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.removesuffix("_case"))
def case(request, tmp_path, gate):
    made = request.param(tmp_path, gate)
    if isinstance(made.provider, UsesExecutor):
        made.provider.use_executor(ThreadExecutor())
    return made


def test_load_returns_a_value_and_its_bytes(case):
    loaded = asyncio.run(case.provider.load(case.key))
    assert isinstance(loaded, Loaded)
    assert loaded.value is not None
    assert loaded.bytes >= 0


def test_cost_is_known_before_and_exact_after(case):
    before = case.provider.cost(case.key)
    assert before.seconds >= 0
    assert before.bytes >= 0
    loaded = asyncio.run(case.provider.load(case.key))
    assert case.provider.cost(case.key).bytes == loaded.bytes


def test_what_is_unknown_is_refused_everywhere(case):
    unknown = case.unknown or case.key + "y"
    with pytest.raises(UnknownResourceError, match=r"x(\.bin)?y"):
        asyncio.run(case.provider.load(unknown))
    for key in ("nokind:x", "x"):
        for ask in (case.provider.cost, lambda key: asyncio.run(case.provider.load(key))):
            with pytest.raises(UnknownResourceError):
                ask(key)


def test_a_value_is_fresh_when_it_was_just_loaded(case):
    async def main():
        loaded = await case.provider.load(case.key)
        return await case.provider.is_fresh(case.key, loaded.value)

    assert asyncio.run(main())


def test_unloading_releases_everything(case):
    async def main():
        first = await case.provider.load(case.key)
        second = await case.provider.load(case.key)
        for loaded in (first, second):
            await case.provider.unload(case.key, loaded.value)

    asyncio.run(main())
    assert case.held() == 0


def test_dependencies_are_complete_and_in_order(case):
    order = case.provider.dependencies(case.key)
    assert tuple(order) == case.requires
    for position, key in enumerate(order):
        assert set(case.provider.dependencies(key)) <= set(order[:position])


@pytest.mark.parametrize("steps", range(4))
def test_a_cancelled_load_leaves_nothing(case, gate, steps):
    gate.open.clear()

    async def main():
        load = asyncio.create_task(case.provider.load(case.key))
        for _ in range(steps):
            await asyncio.sleep(0)
        load.cancel()
        gate.open.set()
        with contextlib.suppress(asyncio.CancelledError):
            await case.provider.unload(case.key, (await load).value)
        executor = getattr(case.provider, "executor", None)
        while isinstance(executor, ThreadExecutor) and executor.live:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert case.held() == 0


def test_a_load_cancelled_when_its_result_is_on_the_way_leaves_nothing(case):
    """The thread has delivered, the loop has not resumed the caller yet: the narrowest place to lose a value in."""

    async def main():
        load = asyncio.create_task(case.provider.load(case.key))
        await asyncio.sleep(0)
        executor = getattr(case.provider, "executor", None)
        while isinstance(executor, ThreadExecutor) and executor.live:
            threading.Event().wait(0.001)  # holds the loop up, so that the result waits in its queue
        asyncio.get_running_loop().call_soon(load.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await case.provider.unload(case.key, (await load).value)
        while isinstance(executor, ThreadExecutor) and executor.live:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert case.held() == 0


def test_loads_can_run_inline(case):
    if isinstance(case.provider, UsesExecutor):
        case.provider.use_executor(InlineExecutor())
    assert asyncio.run(case.provider.load(case.key)).bytes >= 0


def test_an_executor_that_was_chosen_stays(tmp_path):
    provider = FileProvider(tmp_path, executor=InlineExecutor())
    chosen = provider.executor
    provider.use_executor(ThreadExecutor())
    assert provider.executor is chosen


def test_errors_of_the_package_are_what_callers_catch(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(PreloaderError):
        asyncio.run(FileProvider(tmp_path, executor=InlineExecutor()).load("file:sub"))
