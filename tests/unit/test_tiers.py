"""The three tiers' queues, and the slots that loads run in."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.events import Decision, Tier
from preloader.replay.clock import run_virtual
from preloader.scheduling.flights import CancelledLoad, Flight, LoadSlots
from preloader.scheduling.tiers import TierQueue
from preloader.telemetry import OpenPreload


def preload(key, probability=0.5, steps=1):
    return OpenPreload(Decision(key, Tier.DELAYED, probability, steps, "test"), Tier.DELAYED, ("u", "s"), 0.0)


def test_the_nearest_then_the_likeliest_then_the_first_comes_first():
    queue = TierQueue(10)
    for queued in (preload("far", 0.9, 3), preload("a", 0.6), preload("b", 0.8), preload("c", 0.6)):
        assert queue.push(queued) is None
    assert [queue.pop().key for _ in range(len(queue))] == ["b", "a", "c", "far"]
    with pytest.raises(IndexError):
        queue.pop()


def test_a_full_queue_gives_up_its_least_urgent_even_if_that_is_the_one_pushed():
    queue = TierQueue(2)
    sure, vague, vaguer = preload("sure", 0.9), preload("vague", 0.5), preload("vaguer", 0.4)
    queue.push(vague)
    queue.push(sure)
    assert queue.push(vaguer) is vaguer
    better = preload("better", 0.6)
    assert queue.push(better) is vague
    assert list(queue) == [sure, better]


def test_one_can_be_taken_out():
    queue = TierQueue(3)
    first, second = preload("a"), preload("a")
    queue.push(first)
    queue.push(second)
    queue.remove(first)
    assert list(queue) == [second]
    with pytest.raises(ValueError, match="not in list"):
        queue.remove(first)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 10)), max_size=30), st.integers(1, 8))
@settings(deadline=None, derandomize=True)
def test_a_queue_holds_the_most_urgent_of_what_was_pushed(pushed, capacity):
    queue = TierQueue(capacity)
    displaced = [queue.push(preload(str(at), p / 10, steps)) for at, (steps, p) in enumerate(pushed)]
    kept = [queued.urgency for queued in queue]
    assert kept == sorted((steps, -p / 10) for steps, p in pushed)[:capacity]
    assert len(kept) + sum(gone is not None for gone in displaced) == len(pushed)


class Loads:
    """Loads that hold a slot until they are told to end."""

    def __init__(self, limit):
        self.slots = LoadSlots(limit)
        self.running = []
        self.tasks = {}
        self.most = 0

    def start(self, key, *, foreground=False):
        flight = Flight(key, foreground=foreground)
        self.tasks[key] = task = asyncio.create_task(self._load(flight))
        flight.takes_off(task)
        return flight

    async def _load(self, flight):
        await self.slots.acquire(flight)
        self.running.append(flight.key)
        self.most = max(self.most, len(self.running))
        try:
            await asyncio.sleep(10)
        finally:
            self.running.remove(flight.key)
            self.slots.release(flight)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_need_preempts_the_latest_speculation_and_no_more_than_it_takes():
    async def main():
        loads = Loads(2)
        for key in "abc":
            loads.start(key)
        await turns()
        assert loads.running == ["a", "b"]
        loads.start("need", foreground=True)
        await turns()
        assert loads.running == ["a", "need"]
        assert loads.slots.preemptions == 1
        await asyncio.wait(loads.tasks.values())
        assert loads.most == 2

    run_virtual(main())


def test_needs_wait_for_needs_in_order():
    async def main():
        loads = Loads(1)
        for key in "abc":
            loads.start(key, foreground=True)
            await turns()
        assert (loads.running, loads.slots.preemptions) == (["a"], 0)
        await asyncio.sleep(11)
        assert loads.running == ["b"]

    run_virtual(main())


def test_a_promoted_load_overtakes_speculation_and_preempts():
    async def main():
        loads = Loads(1)
        loads.start("a")
        await turns()
        loads.start("b")
        promoted = loads.start("c")
        await turns()
        loads.slots.promote(promoted)
        await turns()
        assert loads.running == ["c"]
        loads.slots.promote(promoted)  # a second time changes nothing
        assert loads.slots.preemptions == 1

    run_virtual(main())


def test_a_slot_that_is_about_to_be_free_saves_the_other_load():
    async def main():
        loads = Loads(2)
        leaving = loads.start("a")
        loads.start("b")
        await turns()
        waiting = loads.start("c")
        await turns()
        leaving.cancel("test")
        loads.slots.promote(waiting)
        await turns()
        assert sorted(loads.running) == ["b", "c"]
        assert loads.slots.preemptions == 0

    run_virtual(main())


def test_promotion_reaches_what_a_load_waits_for():
    async def main():
        slots = LoadSlots(None)
        top, middle, bottom = (Flight(key, foreground=False) for key in "tmb")
        top.waits_for, middle.waits_for = {middle: None}, {bottom: None}
        slots.promote(top)
        assert all(flight.foreground for flight in (top, middle, bottom))
        late = Flight("l", foreground=False)
        top.waits_for = {late: None}
        slots.promote(top)  # already promoted, but what it waits for now is not
        assert late.foreground

    run_virtual(main())


def test_who_is_cancelled_while_waiting_gets_no_slot_and_loses_none():
    async def main():
        loads = Loads(1)
        first = loads.start("a")
        await turns()
        waiting = loads.start("b")
        loads.start("c")
        await turns()
        first.cancel("test")  # the slot goes to b in the very moment that b is cancelled
        await asyncio.sleep(0)
        waiting.cancel("test")
        await turns()
        assert loads.running == ["c"]
        await asyncio.wait(loads.tasks.values())
        assert not loads.slots._holders

    run_virtual(main())


def test_a_flight_is_cancelled_once_and_for_the_first_reason():
    async def main():
        flight = Flight("a", foreground=False)
        task = asyncio.create_task(asyncio.sleep(1))
        flight.takes_off(task)
        flight.cancel("first")
        flight.cancel("second")
        assert (flight.cancel_reason, task.cancelling()) == ("first", 1)
        flight.landed.set_exception(CancelledLoad("first"))  # nobody waits, and nobody complains of that

    run_virtual(main())


def test_without_a_limit_nobody_waits():
    async def main():
        loads = Loads(None)
        for at in range(50):
            loads.start(str(at))
        await turns()
        assert len(loads.running) == 50
        assert loads.slots.spare([])

    run_virtual(main())
