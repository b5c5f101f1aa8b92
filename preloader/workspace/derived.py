"""Resources that are made from a workspace: facts and tool results, and that they are served only while still true."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from preloader.components.blocking import Blocking
from preloader.errors import PreloaderError, UnknownResourceError
from preloader.ports import Cost, Executor, Loaded
from preloader.telemetry import logger
from preloader.workspace.files import SourceFiles
from preloader.workspace.footprint import Footprint, Verdict
from preloader.workspace.reading import Reading, read_on

_KNOWN, _LONG = 4_096, 1_000  # how many keys are remembered, and up to which length
_TYPICAL_BYTES = 4_000
_OVERHEAD_BYTES, _SEEN_BYTES = 500, 450

Maker = Callable[[Reading], Any]
"""What makes a value, in a thread: all that it hangs on is looked at through the `Reading`."""


class Work(msgspec.Struct, frozen=True):
    """How one resource is made.

    Attributes:
        make: Makes its value, which consists of structs, strings, numbers, lists and mappings.
        seconds: How long that is expected to take.
        timeout_s: After how long it is given up.
    """

    make: Maker
    seconds: float
    timeout_s: float = 10.0


class Derived:
    """The value of such a resource.

    Attributes:
        value: What was found.
        footprint: What it was made from.
        digest: Of the value: equal where the value is.
        nbytes: What it occupies, roughly.
    """

    __slots__ = ("digest", "footprint", "nbytes", "value")

    def __init__(self, value: Any, footprint: Footprint) -> None:
        self.value = value
        self.footprint = footprint
        plain = msgspec.json.encode(value)
        self.digest = hashlib.sha256(plain).digest()
        self.nbytes = _OVERHEAD_BYTES + len(plain) + _SEEN_BYTES * len(footprint.seen)


class DerivedProvider(Blocking, ABC):
    """Makes results of one kind ready. Subclasses say which there are.

    Args:
        kind: Kind of the resources.
        files: Which files may be read, and how.
        executor: Where blocking calls run; ``None`` takes the manager's.
    """

    immutable = False

    def __init__(self, kind: str, files: SourceFiles, executor: Executor | None) -> None:
        super().__init__(executor)
        self.kind = kind
        self.files = files
        self.versions: dict[str, int] = {}
        self._costs: OrderedDict[str, Cost] = OrderedDict()
        self._works: dict[str, Work] = {}  # decisions ask for the cost of the same keys again and again

    @abstractmethod
    def work(self, name: str) -> Work:
        """Return how the resource of a name is made, without looking at the disk.

        Raises:
            UnknownResourceError: There is no such resource, or it may not be made ahead.
        """

    async def load(self, key: str) -> Loaded:
        """Make a result.

        Raises:
            UnknownResourceError: There is no such resource, or it may not be made ahead.
            LoadError: It cannot be made, or not in time.
        """
        work = self._work(key)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        made = await self._made(work)
        self._remember(key, Cost(loop.time() - began_s, made.nbytes))
        return Loaded(made, made.nbytes)

    async def unload(self, key: str, value: Derived) -> None:
        """Let go of a result: there is nothing to give back."""

    async def is_fresh(self, key: str, value: Derived) -> bool:
        """Return whether making it again would give the same, as far as it takes by making it again."""
        verdict = await self.executor.run(self._verdict, value)
        if verdict is not Verdict.UNSURE:
            return verdict is Verdict.SAME
        try:
            made = await self._made(self._work(key))
        except PreloaderError as error:
            logger.debug("%s cannot be made any more: %s", key, error)
            return False
        if made.digest != value.digest:
            return False
        value.footprint = made.footprint
        return True

    def cost(self, key: str) -> Cost:
        """Return what it cost last, or what is expected.

        Raises:
            UnknownResourceError: There is no such resource, or it may not be made ahead.
        """
        work = self._work(key)
        return self._costs.get(key) or Cost(work.seconds, _TYPICAL_BYTES)

    def dependencies(self, key: str) -> Sequence[str]:
        """Return nothing: a result reads what it needs itself."""
        return ()

    def _verdict(self, value: Derived) -> Verdict:
        return value.footprint.verdict(self.files.root, self.versions)

    async def _made(self, work: Work) -> Derived:
        reading = Reading(self.files, self.versions, work.timeout_s)
        return await read_on(self.executor, reading, lambda reading: Derived(work.make(reading), reading.footprint()))

    def _work(self, key: str) -> Work:
        known = self._works.get(key)
        if known is not None:
            return known
        kind, _, name = key.partition(":")
        if kind != self.kind:
            raise UnknownResourceError(f"{key!r} is not of kind {self.kind!r}, the only one that this provider serves")
        work = self.work(name)
        if len(key) <= _LONG:
            if len(self._works) >= _KNOWN:
                self._works.clear()
            self._works[key] = work
        return work

    def _remember(self, key: str, cost: Cost) -> None:
        self._costs[key] = cost
        self._costs.move_to_end(key)
        if len(self._costs) > _KNOWN:
            self._costs.popitem(last=False)
