"""What a store holds on average counts only while its sessions are played."""

import asyncio

from preloader.cache import make_eviction
from preloader.ports import Resident
from preloader.replay.clock import run_virtual
from preloader.replay.residency import Residency, WatchedEviction


def test_bytes_are_weighed_by_the_time_that_they_are_held_in_a_session():
    async def play():
        residency = Residency()
        eviction = WatchedEviction(make_eviction("lru"), residency.held)
        residency.begin()
        await asyncio.sleep(1.0)
        eviction.admitted(Resident("component:a", 30, 1.0))
        await asyncio.sleep(2.0)
        eviction.admitted(Resident("component:b", 10, 1.0))
        await asyncio.sleep(1.0)
        residency.end()
        await asyncio.sleep(100.0)  # nobody is there
        residency.begin()
        eviction.removed("component:a")
        await asyncio.sleep(4.0)
        residency.end()
        return residency

    residency = run_virtual(play())
    assert residency.seconds == 8.0
    assert residency.byte_s == 30 * 2 + 40 * 1 + 10 * 4
