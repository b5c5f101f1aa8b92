"""How a component is made: by a Python function, by reading a file, or by pretending."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import mmap
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import msgspec

from preloader.checks import shown
from preloader.components.blocking import make_or_release
from preloader.components.contents import ConfinedFiles, FileContent
from preloader.errors import LoadError
from preloader.ports import Cost, Executor, Loaded

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class Loader(Protocol):
    """Makes the value of one component.

    Attributes:
        immutable: True where the value can never go stale.
    """

    immutable: bool

    async def load(self, executor: Executor) -> Any:
        """Return the value, or a `Loaded` that states its bytes as well; leave nothing behind when cancelled."""

    async def unload(self, executor: Executor, value: Any) -> None:
        """Release the value."""

    async def is_fresh(self, executor: Executor, value: Any) -> bool:
        """Return whether the value still is what `load` would make."""


@runtime_checkable
class Estimating(Protocol):
    """A loader that can tell what loading will cost without being told."""

    def expected(self, size: int | None = None) -> Cost:
        """Return the expected cost; ``size`` is what it will occupy, where that is known better. May look at a disk.

        Raises:
            OSError: There is nothing to look at.
            UnknownResourceError: Likewise.
        """


class Simulated(msgspec.Struct, frozen=True):
    """A value that only claims to occupy memory."""

    name: str
    nbytes: int


class SimulatedLoader:
    """Takes time, and returns a value that claims bytes: for trying out budgets and policies.

    Args:
        value: What it returns.
        load_s: Seconds that it takes.
    """

    immutable = True

    def __init__(self, value: Simulated, load_s: float) -> None:
        self._value = value
        self._load_s = load_s

    async def load(self, executor: Executor) -> Simulated:
        """Sleep, and return the value."""
        await asyncio.sleep(self._load_s)
        return self._value

    async def unload(self, executor: Executor, value: Any) -> None:
        """Do nothing."""

    async def is_fresh(self, executor: Executor, value: Any) -> bool:
        """Return True."""
        return True


class PythonLoader:
    """Calls a function without arguments: a coroutine function on the loop, any other one on the executor.

    Args:
        make: The function, or where to find it: ``package.module:function``, imported when first used.
        release: What undoes it: a function of the value, or where to find that. It must not be a coroutine function if
            ``make`` is not, since a value that arrives too late is released on the thread that made it.
    """

    immutable = True

    def __init__(self, make: Callable[[], Any] | str, release: Callable[[Any], Any] | str | None = None) -> None:
        self._make = make
        self._release = release

    async def load(self, executor: Executor) -> Any:
        """Call the function.

        Raises:
            LoadError: The function cannot be imported, or is used in a way that cannot work.
            Exception: Whatever the function raises.
        """
        make, release = await self._functions(executor)
        if _is_async(make):
            return await make()
        if release is not None and _is_async(release):
            raise LoadError(
                f"{_name(release)} must not be async, since {_name(make)}, whose values it releases, is not"
            )
        value = await make_or_release(executor, make, partial(_release_value, release))
        if inspect.iscoroutine(value):
            value.close()
            raise LoadError(f"{_name(make)} returned a coroutine: declare it with 'async def'")
        return value

    async def unload(self, executor: Executor, value: Any) -> None:
        """Call the function that releases the value, if there is one."""
        _, release = await self._functions(executor)
        if release is None:
            return
        if _is_async(release):
            await release(value)
        else:
            await executor.run(release, value)

    async def is_fresh(self, executor: Executor, value: Any) -> bool:
        """Return True: what a function would return now is not known without calling it."""
        return True

    async def _functions(self, executor: Executor) -> tuple[Callable[[], Any], Callable[[Any], Any] | None]:
        if isinstance(self._make, str):
            self._make = await executor.run(imported, self._make)
        if isinstance(self._release, str):
            self._release = await executor.run(imported, self._release)
        return self._make, self._release


class FileLoader:
    """Reads or maps one file.

    Args:
        files: Where it is.
        name: Its path beneath that root.
    """

    immutable = False

    def __init__(self, files: ConfinedFiles, name: str) -> None:
        self._files = files
        self._name = name

    def expected(self, size: int | None = None) -> Cost:
        """Return what loading it is expected to cost, from its size at present."""
        return self._files.expected(self._name, size)

    async def load(self, executor: Executor) -> FileContent:
        """Return the file's content; raises as `ConfinedFiles.load` does."""
        return await make_or_release(executor, partial(self._files.load, self._name), FileContent.close)

    async def unload(self, executor: Executor, value: FileContent) -> None:
        """Give the memory back."""
        await executor.run(value.close)

    async def is_fresh(self, executor: Executor, value: FileContent) -> bool:
        """Return whether the file still has this content."""
        return await executor.run(self._files.is_fresh, self._name, value)


def is_reference(text: str) -> bool:
    """Return whether ``text`` has the form ``package.module:function``."""
    return _REFERENCE.fullmatch(text) is not None


def imported(reference: str) -> Callable[..., Any]:
    """Import ``package.module:function``.

    Raises:
        LoadError: The module cannot be imported, has no such attribute, or it cannot be called.
    """
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise LoadError(f"{module_name!r}, needed for {reference!r}, cannot be imported: {reason}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise LoadError(f"{reference!r} does not exist: {shown(found)} has no {part!r}")
        found = getattr(found, part)
    if not callable(found):
        raise LoadError(f"{reference!r} must be a function, not {shown(found)}")
    return found  # type: ignore[no-any-return]


def measured_bytes(value: Any) -> int | None:
    """Return how many bytes a value occupies, where that can be told: buffers, arrays and mappings; else None."""
    if isinstance(value, bytes | bytearray | mmap.mmap):
        return len(value)
    size = getattr(value, "nbytes", None)  # memoryview, NumPy arrays, tensors, our own values
    return size if isinstance(size, int) and size >= 0 else None


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _release_value(release: Callable[[Any], Any] | None, made: Any) -> None:
    if release is not None:
        release(made.value if isinstance(made, Loaded) else made)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
