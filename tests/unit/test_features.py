"""What a sequence model sees of a context: shapes, known cases, and nothing that it may not."""

import math

import msgspec
import numpy as np
import pytest

from preloader.evaluation.cases import walk
from preloader.events import Context, Event
from preloader.history import Session
from preloader.prediction.features import (
    AGES,
    COUNTS,
    FLAGS,
    MOMENTS,
    OUTSIDE,
    Features,
    FeatureSettings,
    stack,
)

KEYS = ("tool:a", "tool:b", "tool:c")
SMALL = FeatureSettings(rows=4, pieces=6, piece_bits=8, texts=2, words=8, word_bits=8)
OK, FAILED, TEXT, REPEATS, RUN, BESIDE, NEW, BACK, GAP, DURATION, TIMED = range(FLAGS)


def used(*resources, at=0.0, **more):
    return Event(user="ann", session="s", time_s=at, action="do", resources=resources, **more)


def seen(*events, settings=SMALL, keys=KEYS):
    return Features("tool", keys, settings).of(Context("ann", "s", events))


def session_of_events(*events):
    return Session("ann", "s", events)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_shapes_and_kinds_of_numbers():
    arrays = seen(used("tool:a", text="hello there"))
    shapes = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    assert shapes == {
        "items": ((4,), "int32"),
        "pieces": ((4, 6), "int32"),
        "flags": ((4, FLAGS), "float32"),
        "ages": ((4,), "int32"),
        "counts": ((4,), "int32"),
        "words": ((2, 8), "int32"),
        "word_weights": ((2, 8), "float32"),
        "circumstances": ((4,), "int32"),
        "moment": ((MOMENTS,), "float32"),
    }
    assert stack([arrays, arrays, arrays])["flags"].shape == (3, 4, FLAGS)


def test_rows_are_oldest_first_and_end_with_the_latest():
    arrays = seen(used("tool:b"), used(), used("tool:zzz", "tool:a"))
    without, before = len(KEYS) + 1, len(KEYS) + 2
    assert arrays["items"].tolist() == [2, without, OUTSIDE, 1]
    assert seen(used("tool:c"))["items"].tolist() == [before, before, before, 3]
    assert seen()["items"].tolist() == [before] * 4


def test_ages_count_items_back_and_know_a_repeat():
    arrays = seen(*[used(f"tool:{name}") for name in "abcb"])
    assert arrays["ages"].tolist() == [0, 4, 1, 2]
    assert seen(used("tool:a"), used("tool:a"))["ages"][1] == AGES - 1
    assert not seen()["ages"].any()
    long_ago = seen(used("tool:a"), *[used("tool:b")] * 30)["ages"]
    assert 4 < long_ago[1] < AGES - 1


def test_counts_are_the_bits_of_how_often():
    arrays = seen(*[used("tool:a")] * 5, used("tool:b"), *[used("tool:new1")] * 2, used("tool:new2"))
    assert arrays["counts"].tolist() == [2, 3, 1, 0]
    assert seen(*[used("tool:c")] * 500)["counts"][3] == COUNTS - 1


def test_runs_are_counted_and_end_with_an_event_of_another_sort():
    flags = seen(used("tool:a"), used("tool:a"), used("tool:a"), used("tool:b"))["flags"]
    assert flags[:, REPEATS].tolist() == [0, 1, 1, 0]
    assert np.allclose(flags[:, RUN], [math.log1p(run) / 2 for run in (1, 2, 3, 1)])


def test_a_return_to_a_resource_of_another_kind_shows():
    flags = seen(*[used("tool:a", f"file:{name}") for name in "xyx"], used("tool:a"))["flags"]
    assert flags[:, BESIDE].tolist() == [1, 1, 1, 0]
    assert flags[:, NEW].tolist() == [1, 1, 0, 0]
    assert flags[:, BACK].tolist() == [0, 0, 0.5, 0]


def test_results_texts_gaps_and_durations_show():
    flags = seen(used("tool:a", ok=True, duration_s=3.0), used("tool:a", at=60.0, ok=False, text="no"), used("tool:a"))
    row = flags["flags"][1:]
    assert row[:, OK].tolist() == [1, 0, 0]
    assert row[:, FAILED].tolist() == [0, 1, 0]
    assert row[:, TEXT].tolist() == [0, 1, 0]
    assert row[0, DURATION] == pytest.approx(math.log1p(3.0) / 8)
    assert row[:, TIMED].tolist() == [1, 0, 0]
    assert row[1, GAP] == pytest.approx(math.log1p(60.0) / 8)
    assert row[2, GAP] == 0, "time that runs backwards is no gap"


def test_without_times_no_time_shows():
    timeless = msgspec.structs.replace(SMALL, use_times=False)
    early = seen(used("tool:a", at=5.0), used("tool:b", at=9.0, duration_s=1.0), settings=timeless)
    late = seen(used("tool:a", at=50_000.0), used("tool:b", at=99_000.0), settings=timeless)
    assert same(early, late)


def test_without_words_no_text_shows_but_that_there_was_one():
    wordless = msgspec.structs.replace(SMALL, use_words=False)
    assert same(seen(used(text="one"), settings=wordless), seen(used(text="two"), settings=wordless))
    assert not same(seen(used(text="one")), seen(used(text="two")))


def test_files_are_told_by_suffix_and_directory():
    def pieces(file):
        return seen(used("tool:a", f"file:{file}"))["pieces"][-1].tolist()

    assert pieces("src/app.py") == pieces("src/deep/other.py")
    assert pieces("src/app.py") != pieces("src/app.md")
    assert pieces("src/app.py") != pieces("docs/app.py")


def test_keys_outside_the_vocabulary_share_one_number():
    features = Features("tool", KEYS, SMALL)
    assert [features.number(key) for key in (*KEYS, "tool:never", "")] == [1, 2, 3, OUTSIDE, OUTSIDE]
    assert same(seen(used("tool:a"), keys=()), seen(used("tool:a"), keys=()))


def test_users_and_sessions_are_no_part_of_it():
    features = Features("tool", KEYS, SMALL)
    event = used("tool:a")
    other = msgspec.structs.replace(event, user="ben", session="t")
    assert same(features.of(Context("ann", "s", (event,))), features.of(Context("ben", "t", (other,))))


def test_nothing_of_an_event_or_after_it_shows_in_what_is_seen_before_it():
    features = Features("tool", KEYS, SMALL)
    past = [used("tool:a", at=1.0, ok=True, duration_s=100.0), used("tool:b", at=2.0)]

    def before_third(third, *rest):
        session = session_of_events(*past, third, *rest)
        return [features.of(case.context) for cases, _ in walk(session, "tool") for case in cases][2]

    one = before_third(used("tool:c", at=3.0, text="a word", ok=True, duration_s=1.0))
    assert same(one, before_third(used("tool:a", at=50.0, text="another", ok=False), used("tool:c", at=51.0)))
    assert one["flags"][2, OK] == 0, "the first event had not ended by then"
    ended = before_third(used("tool:c", at=200.0))
    assert ended["flags"][2, OK] == 1


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, -1e300, 1e300])
def test_times_that_are_none_give_finite_numbers(time_s):
    arrays = seen(used("tool:a", at=time_s, duration_s=time_s), used("tool:b", at=0.0), used("tool:b", at=time_s))
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_huge_and_odd_inputs_stay_within_the_tables():
    names = tuple(f"file:{'x/' * 10_000}{number}.\ud800é\0" for number in range(2_000))
    tools = tuple(f"tool:{'|' * number}\N{SNOWMAN}" for number in range(2_000))
    context = {f"place {number}": "p" * 10_000 for number in range(50)}
    arrays = seen(used(*names, *tools, text="word " * 1_000_000, context=context))
    assert arrays["pieces"].min() >= 0
    assert arrays["pieces"].max() < 1 << SMALL.piece_bits
    assert arrays["words"].max() < 1 << SMALL.word_bits
    assert arrays["circumstances"].max() < 1 << SMALL.piece_bits
    assert arrays["items"].tolist() == [OUTSIDE] * 4


@pytest.mark.parametrize(("name", "value"), [("rows", 0), ("rows", 1_025), ("piece_bits", 19), ("words", -1)])
def test_settings_past_their_bounds_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        FeatureSettings(**{name: value})


class Lengths:
    """A sentence encoder that says how long a text is."""

    name, width, sha256 = "lengths", 1, "0" * 64

    def encode(self, texts):
        return np.array([[len(text)] for text in texts], np.float32)

    recall = encode


def test_a_sentence_encoder_hears_as_much_of_the_latest_text_as_words_are_taken_from():
    features = Features("tool", KEYS, SMALL, Lengths())
    heard = [used("tool:a", text="first"), used("tool:a", text="second one"), used("tool:b")]
    for count, length in ((0, 0), (1, 5), (2, 10), (3, 10)):
        sentence = features.of(Context("ann", "s", tuple(heard[:count])))["sentence"]
        assert (sentence.tolist(), sentence.dtype) == ([length], np.float32)
    assert features.of(Context("ann", "s", (used(text="word " * 10_000),)))["sentence"] == 2_000
    assert "sentence" not in seen(used(text="hello"))


def test_an_encoder_that_may_not_hear_is_refused():
    with pytest.raises(ValueError, match="use_words = false"):
        FeatureSettings(encoder="minilm", use_words=False)
