"""What eviction may believe of a prediction: each key by its own past."""

import random

import pytest

from preloader.cache.accuracy import UseRecord
from preloader.events import Prediction
from preloader.outlook import Outlook

SLOT = ("u", "s")


def prediction(name, p, kind="component"):
    return Prediction(f"{kind}:{name}", (p,), p, p)


def window(record, stated, came, slot=SLOT):
    """Predictions, and then the three items after them."""
    record.stated(slot, [prediction(name, p) for name, p in stated.items()])
    for name in came:
        record.came(slot, f"component:{name}")


def test_what_has_no_past_is_believed():
    assert UseRecord(3).corrected("component:a", 0.7) == 0.7


def test_a_key_that_is_overstated_and_one_that_is_understated_are_corrected_towards_what_came():
    record, rng = UseRecord(3), random.Random(1)
    for _ in range(300):
        came = ["x", "x", "x"]
        if rng.random() < 0.2:
            came[0] = "over"
        if rng.random() < 0.8:
            came[1] = "under"
        window(record, {"over": 0.5, "under": 0.5}, came)
    assert record.corrected("component:over", 0.5) == pytest.approx(0.2, abs=0.15)
    assert record.corrected("component:under", 0.5) == pytest.approx(0.8, abs=0.15)
    assert record.corrected("component:over", 0.0) == 0.0
    assert record.corrected("component:under", 1.0) == 1.0


def test_a_key_that_is_right_is_left_as_it_is():
    record, rng = UseRecord(3), random.Random(2)
    for _ in range(300):
        p = rng.choice([0.2, 0.6, 0.9])
        window(record, {"a": p}, ["a" if rng.random() < p else "x", "x", "x"])
    for p in (0.2, 0.6, 0.9):
        assert record.corrected("component:a", p) == pytest.approx(p, abs=0.08)


def test_only_the_next_items_of_its_kind_count():
    record = UseRecord(3)
    record.stated(SLOT, [prediction("a", 0.5), prediction("f", 0.5, kind="file")])
    for key in ("component:x", "file:y", "file:y", "component:x", "component:x", "component:a"):
        record.came(SLOT, key)
    assert record.corrected("component:a", 0.5) < 0.5  # the fourth item came too late
    assert record.corrected("file:f", 0.5) == 0.5  # one item is still to come
    record.came(SLOT, "file:f")
    assert record.corrected("file:f", 0.5) > 0.5


def test_a_use_counts_once_and_predictions_within_a_window_are_not_watched():
    once, often = UseRecord(3), UseRecord(3)
    window(once, {"a": 0.5}, ["a", "x", "x"])
    often.stated(SLOT, [prediction("a", 0.5)])
    for name in ("a", "a", "a"):
        often.came(SLOT, f"component:{name}")
        often.stated(SLOT, [prediction("a", 0.5)])
    assert often.corrected("component:a", 0.5) == once.corrected("component:a", 0.5)


def test_what_would_have_come_after_a_sessions_end_nobody_knows():
    record = UseRecord(3)
    record.stated(SLOT, [prediction("a", 0.5)])
    record.came(SLOT, "component:x")
    record.ended(SLOT)
    for _ in range(3):
        record.came(SLOT, "component:x")
    assert record.corrected("component:a", 0.5) == 0.5


def test_it_follows_a_habit_that_changes():
    record = UseRecord(3)
    for came in (["a", "x", "x"], ["x", "x", "x"]):
        for _ in range(200):
            window(record, {"a": 0.5}, came)
    assert record.corrected("component:a", 0.5) < 0.35


def test_its_memory_is_bounded():
    record = UseRecord(3)
    for number in range(6_000):
        slot = ("u", f"session{number}")
        window(record, {f"key{number}-{at}": 0.5 for at in range(100)}, ["x"], slot)
        if number % 2:
            record.ended(slot)
    assert len(record._windows) <= 256
    assert len(record._shifts) <= 4_096
    assert max(len(window.stated) for window in record._windows.values()) <= 32


def test_the_outlook_is_that_of_the_session_that_is_surest_and_holds_for_dependencies():
    outlook = Outlook(lambda key: ["component:base"] if key != "component:base" else [], 3, ("component",))
    for session, stated in (("s", {"a": 0.4, "b": 0.7}), ("t", {"a": 0.6, "base": 0.2})):
        outlook.update(("u", session), [prediction(name, p) for name, p in stated.items()])
    expected = {key.removeprefix("component:"): one.p_use_soon for key, one in outlook.merged().items()}
    assert expected == {"a": 0.6, "b": 0.7, "base": 0.7}
    outlook.forget(("u", "s"))
    assert {key[10:]: one.p_use_soon for key, one in outlook.merged().items()} == {"a": 0.6, "base": 0.6}


def test_known_kinds_change_nothing_of_what_is_watched():
    told, untold = UseRecord(3, ("component", "file")), UseRecord(3)
    rng = random.Random(3)
    for _ in range(500):
        predictions = [
            Prediction(f"{kind}:x", (0.8,), 0.8, 0.8) for kind in ("component", "file") if rng.random() < 0.7
        ]
        came = f"{rng.choice(('component', 'file'))}:{rng.choice('xy')}"
        for record in (told, untold):
            record.stated(("u", "s"), predictions)
            record.came(("u", "s"), came)
    assert told.corrected("file:x", 0.8) == untold.corrected("file:x", 0.8) != 0.8
