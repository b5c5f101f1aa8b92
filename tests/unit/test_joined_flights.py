"""A need that joins a load which began before it: what that brings may have changed since."""

import asyncio

import pytest

from preloader.errors import UnknownResourceError
from preloader.events import Need, NeedOutcome
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.settings import Settings


class Versions:
    """Loads the version that was there when loading began, which takes until it is let go."""

    immutable = False

    def __init__(self, version):
        self.version = version
        self.loads = 0
        self.go = asyncio.Event()

    async def load(self, key):
        self.loads += 1
        version = self.version
        await self.go.wait()
        if version is None:
            raise UnknownResourceError(f"{key} is not there")
        return Loaded(version, 10)

    async def unload(self, key, value):
        pass

    async def is_fresh(self, key, value):
        return value == self.version

    def cost(self, key):
        return Cost(1.0, 10)

    def dependencies(self, key):
        return ()


def serve_two(before, after):
    """Return what two needs get, the second of which arises when the version has changed during the first load."""
    ended = []

    async def main():
        provider = Versions(before)
        settings = Settings(load_attempts=1, pressure=False)
        async with PreloadManager({"v": provider}, settings=settings, listeners=[ended.append]) as manager:
            first = asyncio.create_task(manager.get("v:x"))
            while not provider.loads:
                await asyncio.sleep(0)
            provider.version = after
            second = asyncio.create_task(manager.get("v:x"))
            await asyncio.sleep(0)
            provider.go.set()
            got = await asyncio.gather(first, second, return_exceptions=True)
            return got, provider.loads

    got, loads = asyncio.run(main())
    return got, loads, [need.outcome for need in ended if isinstance(need, Need)]


def test_what_changed_since_is_loaded_again():
    got, loads, outcomes = serve_two("old", "new")
    assert got[1] == "new"
    assert loads == 2
    assert outcomes.count(NeedOutcome.MISS) == 2


def test_what_did_not_change_is_a_late_hit():
    got, loads, outcomes = serve_two("same", "same")
    assert got == ["same", "same"]
    assert loads == 1
    assert sorted(outcomes) == [NeedOutcome.LATE_HIT, NeedOutcome.MISS]


def test_what_was_not_there_is_asked_for_again():
    got, loads, _ = serve_two(None, "new")
    assert isinstance(got[0], UnknownResourceError)
    assert got[1] == "new"
    assert loads == 2


def test_what_is_not_there_any_more_is_not_served():
    got, _, _ = serve_two("old", None)
    assert isinstance(got[1], UnknownResourceError)


@pytest.mark.parametrize("many", [2, 5])
def test_those_who_wait_share_one_further_load(many):
    async def main():
        provider = Versions("old")
        async with PreloadManager({"v": provider}, settings=Settings(load_attempts=1, pressure=False)) as manager:
            tasks = [asyncio.create_task(manager.get("v:x"))]
            while not provider.loads:
                await asyncio.sleep(0)
            provider.version = "new"
            tasks += [asyncio.create_task(manager.get("v:x")) for _ in range(many)]
            await asyncio.sleep(0)
            provider.go.set()
            assert set((await asyncio.gather(*tasks))[1:]) == {"new"}
            assert provider.loads == 2

    asyncio.run(main())
