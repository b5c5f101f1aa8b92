"""Hints from any thread: batches, generations, deadlines that wrap, and a loop that goes away."""

import asyncio
import math
import threading
import time

import pytest

from preloader.events import Tier
from preloader.hints import MAX_TTL_S, HintInbox
from preloader.replay.clock import run_virtual

CAPACITY = (10, 20, 50)


class Listening:
    """An inbox and what has come out of it."""

    def __init__(self, capacity=CAPACITY):
        self.inbox = HintInbox(capacity)
        self.batches = []

    def open(self):
        self.inbox.open(asyncio.get_running_loop(), self.take)

    def take(self):
        self.batches.append(self.inbox.drain(3))

    @property
    def hints(self):
        return [hint for batch in self.batches for hint in batch]

    @property
    def keys(self):
        return [hint.prediction.key for hint in self.hints]


def listening(script, **options):
    listener = Listening(**options)

    async def main():
        listener.open()
        await script(listener.inbox)

    run_virtual(main())
    return listener


def test_many_hints_wake_the_loop_once():
    async def script(inbox):
        for at in range(5):
            assert inbox.post(f"component:{at}", 0.95, 1, None)
        await asyncio.sleep(0.1)
        inbox.post("component:late", 0.95, 1, None)
        await asyncio.sleep(0.1)

    listener = listening(script)
    assert [len(batch) for batch in listener.batches] == [5, 1]
    assert listener.keys == [f"component:{at}" for at in range(5)] + ["component:late"]


def test_a_hint_becomes_a_prediction_of_its_step():
    async def script(inbox):
        inbox.post("component:a", 0.5, 2, None)
        inbox.post("component:b", 0.25, 200, 5.0)  # further than predictions look: the last step
        await asyncio.sleep(1)

    first, second = listening(script).hints
    assert first.prediction.per_step == pytest.approx((0.0, 0.5, 0.0), abs=1e-5)
    assert first.prediction.p_use_if_loaded == first.prediction.p_use_soon == pytest.approx(0.5, abs=1e-5)
    assert first.deadline_s is None
    assert second.prediction.per_step == pytest.approx((0.0, 0.0, 0.25), abs=1e-5)
    assert second.deadline_s == pytest.approx(5.0, abs=1e-3)


def test_urgent_hints_come_first_and_are_not_crowded_out_by_vague_ones():
    async def script(inbox):
        taken = [inbox.post("component:vague", 0.4, 3, None) for _ in range(1_000)]
        assert sum(taken) == 4 * CAPACITY[Tier.BACKGROUND]
        assert inbox.refused == 1_000 - sum(taken)
        assert inbox.post("component:likely", 0.8, 2, None)
        assert inbox.post("component:sure", 0.95, 1, None)
        await asyncio.sleep(0.1)

    listener = listening(script)
    assert listener.keys[:3] == ["component:sure", "component:likely", "component:vague"]
    assert len(listener.keys) == 202


def test_a_flood_is_taken_in_several_turns_of_the_loop():
    async def script(inbox):
        for at in range(200):
            inbox.post(f"component:{at}", 0.4, 3, None)
        await asyncio.sleep(0.1)

    listener = listening(script)
    assert [len(batch) for batch in listener.batches] == [64, 64, 64, 8]
    assert listener.keys == [f"component:{at}" for at in range(200)]


def test_what_was_on_its_way_is_void_after_invalidation():
    async def script(inbox):
        inbox.post("component:old", 0.95, 1, None)
        inbox.invalidate()
        inbox.post("component:new", 0.95, 1, None)
        await asyncio.sleep(0.1)

    assert listening(script).keys == ["component:new"]


def test_deadlines_hold_over_months():
    async def script(inbox):
        for days in (0, 20, 10, 15, 30, 49.71, 60):  # past 32 bits of milliseconds at 49.7 days
            await asyncio.sleep(days * 86_400)
            now_s = asyncio.get_running_loop().time()
            for ttl_s in (0.001, 60.0, MAX_TTL_S):
                expected.append(now_s + ttl_s)
                inbox.post("component:a", 0.95, 1, ttl_s)
            await asyncio.sleep(0.5)

    expected = []
    assert [hint.deadline_s for hint in listening(script).hints] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, MAX_TTL_S * 1.01, math.inf, math.nan])
def test_a_time_to_live_out_of_range_is_refused_by_name(ttl_s):
    with pytest.raises(ValueError, match="ttl_s must lie above 0"):
        HintInbox(CAPACITY).post("component:a", 0.5, 1, ttl_s)


@pytest.mark.parametrize(("probability", "steps"), [(1.1, 1), (-0.1, 1), (math.nan, 1), (0.5, 0), (0.5, 256)])
def test_what_is_out_of_range_is_refused_and_leaves_no_trace(probability, steps):
    async def script(inbox):
        with pytest.raises(ValueError, match="must lie between"):
            inbox.post("component:a", probability, steps, None)
        assert not inbox._keys._ids
        assert inbox.post("component:a", 0.5, 1, None)

    listening(script)


def test_memory_stays_flat_over_ever_new_keys():
    async def script(inbox):
        for at in range(2_000):
            inbox.post(f"analysis:{at}", 0.95, 1, None)
            if at % 20 == 0:
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        assert len(inbox._keys._keys) <= 40
        assert not inbox._keys._ids

    assert len(set(listening(script).keys)) == 2_000


def test_nobody_listens_before_and_after():
    listener = Listening()
    assert listener.inbox.post("component:a", 0.95, 1, None) is False

    async def main():
        listener.open()
        assert listener.inbox.post("component:b", 0.95, 1, None)
        listener.inbox.close()
        assert listener.inbox.post("component:c", 0.95, 1, None) is False

    run_virtual(main())
    assert listener.inbox.refused == 2


def test_a_loop_that_was_closed_without_a_word_refuses():
    listener = Listening()

    async def main():
        listener.open()

    run_virtual(main())
    assert listener.inbox.post("component:a", 0.95, 1, 60.0) is False
    assert listener.inbox.post("component:a", 0.95, 1, 60.0) is False


def test_hints_of_many_threads_all_arrive():
    threads, each = 8, 300
    taken = [0] * threads

    async def main():
        listener.open()

        def post(number):
            for at in range(each):
                while not listener.inbox.post(f"component:{number}-{at}", 0.95, 1, None):
                    time.sleep(0)
                taken[number] += 1

        workers = [threading.Thread(target=post, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        await asyncio.gather(*(asyncio.to_thread(worker.join) for worker in workers))
        await asyncio.sleep(0)

    listener = Listening()
    asyncio.run(main())
    assert taken == [each] * threads
    assert len(listener.keys) == len(set(listener.keys)) == threads * each
    for number in range(threads):
        mine = [key for key in listener.keys if key.startswith(f"component:{number}-")]
        assert mine == [f"component:{number}-{at}" for at in range(each)]
