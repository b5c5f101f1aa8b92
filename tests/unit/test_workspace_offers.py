"""Likely files are offered to the manager: few at once, and again when it did not take them."""

import pytest

from preloader.errors import UnknownResourceError
from preloader.workspace.learn.ranker import Ranked
from preloader.workspace.offers import Offers


class Taker:
    """Takes what is offered, or refuses it."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.offered: list[tuple[str, float, int]] = []
        self.takes = True

    def expect(self, expected):
        self.offered.append((expected.key, expected.probability, expected.steps))
        if self.takes:
            self.held.add(expected.key)

    def keys(self):
        keys = [key for key, _, _ in self.offered]
        self.offered.clear()
        return keys


def key_of(path):
    if path == ".env":
        raise UnknownResourceError(".env may not be looked at")
    return f"file:{path}"


@pytest.fixture
def taker():
    return Taker()


@pytest.fixture
def offers(taker):
    return Offers(key_of, taker.held.__contains__, taker.expect)


FILES = [Ranked(f"{number}.py", 0.9 - number / 100) for number in range(8)]


def test_five_new_files_between_two_calls_and_the_next_ones_after_it(offers, taker):
    offers.offer(FILES)
    assert taker.keys() == [f"file:{number}.py" for number in range(5)]
    offers.offer(FILES)
    assert taker.keys() == []
    offers.step()
    offers.offer(FILES)
    assert taker.keys() == ["file:5.py", "file:6.py", "file:7.py"]


def test_what_was_refused_is_offered_again_with_what_speaks_for_it_by_then(offers, taker):
    taker.takes = False
    offers.offer([Ranked("a.py", 0.3)])
    taker.takes = True
    offers.offer([Ranked("a.py", 0.6)])
    offers.offer([Ranked("a.py", 0.9)])  # held by now
    assert taker.offered == [("file:a.py", 0.3, 2), ("file:a.py", 0.6, 2)]


def test_what_was_refused_takes_no_room(offers, taker):
    taker.takes = False
    offers.offer(FILES[:5])
    taker.takes = True
    offers.offer(FILES[5:])
    assert taker.keys()[5:] == ["file:5.py", "file:6.py", "file:7.py"]


def test_what_was_held_and_is_lost_is_offered_again(offers, taker):
    offers.offer(FILES[:1])
    taker.held.clear()
    offers.offer(FILES[:1])
    assert taker.keys() == ["file:0.py"] * 2


def test_a_file_that_a_call_names_is_offered_without_room_as_the_next_to_be_needed(offers, taker):
    offers.offer(FILES)
    taker.keys()
    offers.announced("z.py", 0.9)
    assert taker.offered == [("file:z.py", 0.9, 1)]


def test_what_may_not_be_looked_at_is_passed_over(offers, taker):
    offers.announced(".env", 0.9)
    offers.offer([Ranked(".env", 0.9), Ranked("a.py", 0.5)])
    assert taker.keys() == ["file:a.py"]
