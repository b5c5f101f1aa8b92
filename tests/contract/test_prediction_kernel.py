"""What the C kernel promises: the same as its NumPy twin, and no harm from damaged state."""

import contextlib
import importlib
import random
import resource
import sys

import numpy as np
import pytest

from preloader.events import ContextTracker, Event, Prediction
from preloader.prediction import OnlinePredictor, kernel, twin
from preloader.testing import random_events

try:
    c = importlib.import_module("preloader.prediction._kernel")
except ImportError:
    pytest.skip("the prediction kernel was not built", allow_module_level=True)

H, C, S, R, N, M, W, BITS = 3, 5, 16, 40, 30, 6, 4, 6
SLOTS, BUCKETS = 22, 16


def of_counts(rng):
    keys = np.zeros((R, S), np.int32)
    counts = np.zeros((R, H, S), np.uint8)
    for row in range(1, R):
        held = rng.integers(0, S + 1)
        keys[row, :held] = rng.choice(np.arange(1, N), held, replace=False)
        counts[row, :, :held] = rng.integers(0, 6, (H, held))
    return keys, counts, twin.summaries(counts)


def seen_and_evidence(rng):
    return rng.integers(0, BUCKETS, 128 * 128).astype(np.uint8), rng.random(256)


def scored(rng, *, sparse=False, shared=False):
    """Return the arguments of `score` for random state: what it fills in, then what it reads."""
    size = N // 2 if sparse else N
    numbers = np.arange(N)[:: 2 if sparse else 1].copy()
    column_of = np.minimum(np.arange(N) // 2, size - 1) if sparse else np.zeros(0, np.int64)
    out = (
        *(np.empty((H, size)), np.empty((H, C, S), np.int64), np.empty((H, C, S)), np.empty((H, C), np.int64)),
        *(np.empty(size), np.empty((H, M), np.int64)),
    )
    lead = () if shared else (H,)
    marks = rng.integers(0, SLOTS, (*lead, M)).astype(np.int8)
    read = (
        *of_counts(rng),
        *(rng.normal(size=(H * C * BUCKETS, 4)) ** 2, rng.normal(size=(H, SLOTS)), rng.random((H, 1))),
        *(rng.integers(0, R, (*lead, C)), rng.integers(0, N, (*lead, M)).astype(np.int32), marks),
        *(numbers, column_of, rng.random(N), *seen_and_evidence(rng), 17.5),
    )
    return out, read


def copies(arrays):
    return [array.copy() if isinstance(array, np.ndarray) else array for array in arrays]


def same(name, arguments, changed):
    """Call both, and compare the first ``changed`` arguments; return them."""
    ours, theirs = copies(arguments), copies(arguments)
    assert getattr(c, name)(*ours) == getattr(twin, name)(*theirs)
    for mine, other in zip(ours[:changed], theirs[:changed], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-13)
    return ours[:changed]


@pytest.mark.parametrize("seed", range(20))
def test_counting_is_the_same_through_full_rows_and_halving(seed):
    rng = np.random.default_rng(seed)
    state, others = of_counts(rng), np.delete(np.arange(R), 1)
    for _ in range(300):
        rows = np.stack([rng.choice(others, C, replace=False) for _ in range(rng.integers(1, H + 1))])
        rows[:, 0] = 1  # one context is that of every step, and fills up
        state = same("count", (*state, rows, int(rng.integers(1, N)), C), 3)
    assert state[2].max() > 0


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_scoring_and_learning_are_the_same(seed, sparse, shared):
    rng = np.random.default_rng(seed)
    out, read = scored(rng, sparse=sparse, shared=shared)
    table, *filled = same("score", (*out, *read), len(out))
    size = table.shape[1]
    (table,) = same("softmax", (table, size), 1)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    chosen = same("likeliest", (np.empty(min(7, size - 2), np.int64), table, 2, size), 1)
    assert chosen[0].min() >= 2
    weights, mark_weights, popularity_weight = read[3:6]
    columns, values, places, popularity, mark_columns = filled
    state = weights + 0.1, mark_weights, np.ones_like(mark_weights), popularity_weight, np.ones_like(popularity_weight)
    told = table, columns, values, places, popularity, mark_columns, read[8]
    for first, last in ((0, 1), (1, H), (0, H)):
        state = same("learn", (*state, *told, 3, first, last, 0.03, 0.06), 5)


@pytest.mark.parametrize("seed", range(10))
def test_words_are_the_same_where_pairs_share_a_place(seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(1 << BITS, H)).astype(np.float32)  # 64 places for 120 pairs
    words, keys = (rng.integers(0, 1 << 32, size, dtype=np.uint32) for size in (W, N))
    hashing = 0x9E37_79B1, 32 - BITS, 0.5
    gains = rng.uniform(0.1, 2.0, (H, 4)).astype(np.float32)
    same("score_words", (rng.random((H, N)), weights, gains, words, keys, 0, H, *hashing), 1)
    same("score_words", (rng.random((H, N)), weights, gains, words, keys, 1, 2, *hashing), 1)
    state = weights, np.abs(weights), np.zeros(1 << BITS, np.bool_), gains, np.ones_like(gains)
    for step in range(H):
        state = same("learn_words", (*state, words, keys, rng.random((H, N)), 4, step, *hashing, 0.6, 0.05, 1e-4), 5)


@pytest.mark.parametrize("seed", range(10))
def test_reuse_is_the_same(seed):
    rng = np.random.default_rng(seed)
    columns = rng.choice(N, 8, replace=False)
    mark_columns = rng.integers(0, N, (H, M)) + N * np.arange(H)[:, None]
    marks = rng.integers(0, SLOTS, (H, M)).astype(np.int8)
    probabilities = rng.dirichlet(np.ones(N), H)
    asked = probabilities, columns, np.log(rng.random(N)), mark_columns, marks, 1e-5
    table, ages = same("features", (np.empty((3, 8)), np.empty(8, np.int64), *asked), 2)
    weights = rng.normal(size=(2, 13))
    same("estimate", (np.empty((2, 8)), weights, table, ages), 1)
    numbers = rng.integers(0, 9, (4, 8)).astype(np.int32)
    (used_after,) = same("note", (rng.integers(0, 2, (4, 8)).astype(np.int32), numbers, 2, 5, 7), 1)
    held = rng.normal(size=(4, 3, 8)).astype(np.float32), rng.integers(0, 10, (4, 8)).astype(np.int8)
    same("fit", (weights, np.ones_like(weights), *held, numbers, used_after, 2, 3, 0.05), 2)


@pytest.mark.parametrize("seed", range(10))
def test_sessions_and_contexts_are_the_same(seed):
    rng = np.random.default_rng(seed)
    rows, hashes = rng.integers(0, R, (4, H, C)), rng.integers(0, 3, (4, H, C))
    for items in range(H + 1):
        same("recall", (np.empty((H, C), np.int64), rows, hashes, rng.integers(0, 3, R), 2, 1, items), 1)
    multipliers, starts = (rng.integers(0, 1 << 64, size, dtype=np.uint64) for size in (7, C))
    members = rng.integers(0, 2, (C, 7)).astype(np.uint8)
    for ingredients in (rng.integers(0, 1 << 32, 7).tolist(), [0] * 7, [(1 << 32) - 1] * 7):
        same("mix", (np.empty(C, np.int64), multipliers, starts, members, tuple(ingredients)), 1)


def indexed(rows=8, places=32):
    """Return an empty index, the hashes of its rows, and what else a row holds."""
    row_hashes = np.zeros(rows, np.int64)
    tables = np.ones((rows, S), np.int32), np.ones((rows, H, S), np.uint8), np.ones((rows, H), np.int16)
    return np.zeros(places, np.int32), row_hashes, *tables


@pytest.mark.parametrize("seed", range(20))
def test_contexts_are_found_in_the_same_rows_as_in_a_dictionary(seed):
    rng = np.random.default_rng(seed)
    held, rows, order, added = indexed(), {}, 1, 0
    for _ in range(60):
        hashes = rng.integers(1, 12, 3) * 32 + rng.integers(30, 33, 3)  # most of them have the same few homes
        arguments = (np.empty(3, np.int64), *held, hashes, order)
        found, *held = same("find_or_add", arguments, 6)
        order = c.find_or_add(*copies(arguments))
        for value, row in zip(hashes.tolist(), found.tolist(), strict=True):
            if value not in rows:
                assert row == added % 7 + 1, "the oldest row goes first"
                rows = {other: of for other, of in rows.items() if of != row} | {value: row}
                added += 1
            assert rows[value] == row
        asked = np.arange(20, 420)
        (answer,) = same("find", (np.empty(400, np.int64), held[0], held[1], asked), 1)
        assert answer.tolist() == [rows.get(value, 0) for value in asked.tolist()]
    assert added > 14
    assert not any(table[1].any() for table in held[2:]), "a row that changed hands is empty"


@pytest.mark.parametrize("damage", [-1, 8, 1])
def test_a_damaged_index_is_refused(damage):
    index, row_hashes, *tables = indexed()
    index[:] = damage  # rows that are none, or one row in every place, so that no place is empty
    row_hashes[:] = 5
    asked = np.arange(6, 9)
    with pytest.raises(ValueError, match="out of range"):
        c.find(np.empty(3, np.int64), index, row_hashes, asked)
    with pytest.raises(ValueError, match="out of range"):
        c.find_or_add(np.empty(3, np.int64), index, row_hashes, *tables, asked, 1)
    for places in (0, 4, 31):
        with pytest.raises(ValueError, match="fit"):
            c.find(np.empty(3, np.int64), np.zeros(places, np.int32), row_hashes, asked)
    for following in (0, 8):
        with pytest.raises(ValueError, match="fit"):
            c.find_or_add(np.empty(3, np.int64), np.zeros(32, np.int32), row_hashes, *tables, asked, following)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_known_is_remembered_the_same(seed):
    rng = np.random.default_rng(seed)
    state = (
        *(np.zeros(4, np.int32), np.zeros(4, np.int32), np.zeros((4, H, C), np.int64), np.zeros((4, H, C), np.int64)),
        *(np.zeros((4, H, M), np.int32), np.full((4, H, M), 21, np.int8), np.zeros((4, H), np.int32)),
        *(np.zeros((4, H, W), np.uint32), np.zeros((4, H), np.int32)),
    )
    for _ in range(40):
        noted, heard = rng.integers(0, M + 1), rng.integers(0, W + 1)
        known = (
            *(rng.integers(0, R, C), rng.integers(0, 1 << 62, C), rng.integers(0, N, noted).astype(np.int32)),
            *(rng.integers(0, SLOTS, noted).astype(np.int8), rng.integers(0, 1 << 32, heard, dtype=np.uint32)),
        )
        state = same("remember", (*state, *known, int(rng.integers(0, 4))), 9)
    for bad in ({0: -1}, {0: H + 1}, {1: -1}, {1: H}):
        damaged = copies(state)
        for at, value in bad.items():
            damaged[at][2] = value
        with pytest.raises(ValueError, match="out of range"):
            c.remember(*damaged, *known, 2)
    for slot in (-1, 4):
        with pytest.raises(ValueError, match="fit"):
            c.remember(*state, *known, slot)
    with pytest.raises(ValueError, match="fit"):
        c.remember(*state, *known[:-1], np.zeros(W + 1, np.uint32), 2)


def test_a_sessions_items_are_found_the_same():
    rng = random.Random(3)
    for length in range(40):
        used = [tuple(rng.choices(["k:a", "k:b", "j:a", "k"], k=rng.choice((0, 1, 1, 1, 3)))) for _ in range(length)]
        for most, longest in ((1, 3), (4, 12), (50, 50)):
            same("past", (used, "k:", most, longest), 0)
    for wrong in ((("k:a",),), "k:", 3, 3), ([["k:a"]], "k:", 3, 3), ([], b"k:", 3, 3), ([], "k:", 3):
        with pytest.raises(TypeError):
            c.past(*wrong)


@pytest.mark.parametrize("seed", range(20))
def test_marks_are_the_same(seed):
    rng = np.random.default_rng(seed)
    slots = np.arange(4, dtype=np.int8), np.arange(4, 8, dtype=np.int8)
    for length in (0, 1, 2, 20, 256):
        came = rng.integers(0, 2 + seed, length).tolist()
        same("mark", (np.zeros(12, np.int32), np.zeros(12, np.int8), *slots, came, 8, 3), 2)


def test_marks_of_another_type_are_refused():
    marked, slots = np.zeros(12, np.int32), np.zeros(12, np.int8)
    for came in ((1, 2), [1] * 257, [-1], [1 << 40], ["a"]):
        with pytest.raises(ValueError, match=r"fit|range"):
            c.mark(marked, slots, slots, slots, came, 8, 3)


def learned(backend, events, monkeypatch, **settings):
    monkeypatch.setattr(kernel, "active", backend)
    predictor, tracker, said = OnlinePredictor(**settings), ContextTracker(), []
    for event in events:
        predictor.learn_one(event)
        said.append(predictor.predict(tracker.observe(event)))
    return predictor.snapshot(), said


def chatter(count):
    """Yield events of some 600 keys with words, so that rows fill up, keys are forgotten and candidates proposed."""
    rng = random.Random(5)
    for index in range(count):
        text = " ".join(rng.choices(["play", "some", "music", "light", "off", "on"], k=4)) if index % 3 else None
        key = f"component:c{rng.randrange(8) if rng.random() < 0.6 else rng.randrange(700)}"
        name = {"user": f"u{index % 2}", "session": f"s{index // 50}"}
        yield Event(**name, time_s=1.7e9 + 9.0 * index, action="say", text=text, resources=(key,) if index % 4 else ())


@pytest.mark.parametrize("settings", [{}, {"max_contexts": 512, "max_keys": 64}, {"horizon": 1}], ids=str)
@pytest.mark.parametrize("history", ["mixed", "many keys"])
def test_both_learn_and_say_the_same(history, settings, monkeypatch):
    events = list(random_events(600, 3)) if history == "mixed" else list(chatter(1_500))
    if settings.get("horizon") == 1:
        monkeypatch.setattr(OnlinePredictor.predict, "__defaults__", (1,))
    (mine, said), (other, heard) = (learned(backend, events, monkeypatch, **settings) for backend in (c, twin))
    assert mine.arrays.keys() == other.arrays.keys()
    for name, array in mine.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=1e-5, atol=1e-7, err_msg=name)
    mine, other = [], []
    for ours, theirs in zip(said, heard, strict=True):
        ours, theirs = ({one.key: one for one in predictions} for predictions in (ours, theirs))
        assert len(ours.keys() ^ theirs.keys()) <= 2  # keys about as likely may change places at the end of the list
        for key in ours.keys() & theirs.keys():
            mine.append((*ours[key].per_step, ours[key].p_use_soon, ours[key].p_use_if_loaded))
            other.append((*theirs[key].per_step, theirs[key].p_use_soon, theirs[key].p_use_if_loaded))
    assert len(mine) > 1_000
    np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_every_damaged_array_is_refused():
    rng = np.random.default_rng(1)
    out, read = scored(rng)
    good = (*out, *read)
    c.score(*good)
    for at, array in enumerate(good[:-1]):
        for bad in (array.astype(np.complex128), array.ravel()[:-1].copy(), np.repeat(array.ravel(), 2)[::2]):
            if array.size == 0:
                continue
            with pytest.raises(ValueError):  # noqa: PT011 - which message depends on what is damaged
                c.score(*good[:at], bad, *good[at + 1 :])
    frozen = out[0].copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        c.score(frozen, *good[1:])


@pytest.mark.parametrize("value", [-1, 1_000])
@pytest.mark.parametrize("at", [6, 12, 13, 14, 15])
def test_every_index_out_of_range_is_refused(at, value):
    out, read = scored(np.random.default_rng(1))
    arguments = copies((*out, *read))
    arguments[12][...] = 1
    arguments[at].flat[arguments[at].size // 2 if at != 6 else S] = np.int64(value).astype(arguments[at].dtype)
    with pytest.raises(ValueError, match="out of range"):
        c.score(*arguments)


def test_indices_are_checked_before_anything_is_learned():
    rng = np.random.default_rng(1)
    state = of_counts(rng)
    before = copies(state)
    with pytest.raises(ValueError, match="out of range"):
        c.count(*state, np.array([[1, 2, R]]), 3, 3)
    for array, was in zip(state, before, strict=True):
        np.testing.assert_array_equal(array, was)
    for rows, key, contexts in (([[1, 2]], 0, 2), ([[1, 2, 3]], 1, 2), ([[1]] * 4, 1, 1), ([[1]], 1, 0)):
        with pytest.raises(ValueError, match="fit"):
            c.count(*state, np.array(rows), key, contexts)
    with pytest.raises(TypeError, match="arguments"):
        c.count(*state)


@pytest.mark.skipif(sys.platform == "win32", reason="memory use is asked of POSIX")
def test_no_call_leaves_memory_behind():
    rng = np.random.default_rng(1)
    state, rows = of_counts(rng), np.array([[1, 2, 3]])
    words = np.arange(8, dtype=np.uint32), np.arange(N, dtype=np.uint32)
    weights = np.zeros((1 << BITS, H), np.float32)
    gains = np.ones((H, 4), np.float32)
    heard = weights, weights.copy(), np.zeros(1 << BITS, np.bool_), gains, gains.copy(), *words, rng.random((H, N))
    hashes = np.arange(1, 4, dtype=np.uint64), np.arange(C, dtype=np.uint64), np.ones((C, 3), np.uint8)

    found, (index, row_hashes, *_), asked = np.empty(C, np.int64), indexed(), np.arange(C)
    used = [("k:a",), (), ("k:b", "j:c")]
    told = asked, rng.random((1, C)), asked[:2].copy(), rng.random((2, 2)), Prediction, list("abcde")

    def call(times):
        for _ in range(times):
            c.count(*state, rows, 3, 3)
            c.learn_words(*heard, 1, 1, 12345, 32 - BITS, 1.0, 0.1, 0.05, 1e-4)
            c.mix(found, *hashes, (1, 2, 3))
            c.find(found, index, row_hashes, asked)
            c.past(used, "k:", 2, 3)
            c.predictions(*told, 1, 0.0, 0.0)
            with contextlib.suppress(ValueError):
                c.count(*state, rows, 0, 3)

    lent = [*state, rows, *heard, *hashes, found, index, row_hashes, asked, used, used[0][0], *told]
    held = [sys.getrefcount(array) for array in lent]
    call(2_000)
    assert [sys.getrefcount(array) for array in lent] == held, "an array that was looked at was not let go"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call(100_000 if sys.platform == "linux" else 10_000)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < (2_048 if sys.platform == "linux" else 2_048 * 1_024)


def test_ties_keep_their_order():
    for tied in (np.full(N, 0.5), np.arange(N) // 4 / N, -(np.arange(N) // 4) / N):
        for most in (1, 3, N - 2):
            same("likeliest", (np.empty(most, np.int64), tied, 2, N), 1)


@pytest.mark.parametrize("seed", range(10))
def test_predictions_are_the_same(seed):
    rng = np.random.default_rng(seed)
    probabilities, uses = rng.dirichlet(np.full(N, 0.2), H), rng.random((2, 9)) ** 8
    columns, keys = rng.choice(N, 9, replace=False), [f"k:{number}" for number in range(2 * N)]
    told = 2 * np.arange(N), probabilities, columns, uses, Prediction, keys
    lengths = set()
    for steps in range(1, H + 1):
        for least in (0.0, 0.01, 2.0):
            same("predictions", (*told, steps, least, least), 0)
            lengths.add(len(c.predictions(*told, steps, least, least)))
    assert {0, 9} < lengths, "some were left out"


def test_predictions_of_nothing_or_by_nobody_are_refused():
    numbers, probabilities, columns, uses = np.arange(4), np.full((H, 4), 0.2), np.array([1, 3]), np.full((2, 2), 0.5)
    good = [numbers, probabilities, columns, uses, Prediction, list("abcd"), H, 0.0, 0.0]
    for at, wrong in ((0, -numbers), (0, numbers + 1), (2, columns + 1), (2, columns - 2)):
        with pytest.raises(ValueError, match="range"):
            c.predictions(*good[:at], wrong, *good[at + 1 :])
    for at, wrong in ((0, np.arange(5)), (3, uses[:1]), (5, tuple("abcd")), (6, 0), (6, H + 1)):
        with pytest.raises(ValueError, match="fit"):
            c.predictions(*good[:at], wrong, *good[at + 1 :])
    with pytest.raises(ZeroDivisionError):
        c.predictions(*good[:4], lambda *said: 1 / 0, *good[5:])
