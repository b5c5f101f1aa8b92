"""Many threads put and take at once: nothing is lost, nothing doubled, and each producer's order stays."""

import itertools
import sys
import threading
import time

import pytest

from preloader.ring import Record, Ring

EACH = 800


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("producers", "consumers", "capacity"), [(1, 1, 3), (4, 1, 3), (1, 4, 3), (3, 3, 64)])
def test_every_record_arrives_once_and_in_its_producers_order(producers, consumers, capacity):
    ring = Ring(capacity)
    done = threading.Event()
    taken = [[] for _ in range(consumers)]

    def produce(number):
        for at in range(EACH):
            while not ring.try_put(Record(at, 1.0, 1 + number)):
                time.sleep(0)

    def consume(into):
        while not (done.is_set() and len(ring) == 0):
            into += ring.get_many(5)

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(producers)]
    readers = [threading.Thread(target=consume, args=(into,)) for into in taken]
    for thread in (*threads, *readers):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    for number in range(producers):
        seen = [[record.resource for record in into if record.steps == 1 + number] for into in taken]
        assert sorted(itertools.chain(*seen)) == list(range(EACH))  # exactly once
        assert all(part == sorted(part) for part in seen)  # in order, as far as one consumer can tell
