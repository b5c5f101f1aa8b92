"""What every predictor promises (`preloader.ports.Predictor`), over all that ship, the fake included."""

import copy
import json
import os
import subprocess
import sys
import tracemalloc
from collections import defaultdict

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.errors import BundleError
from preloader.evaluation.baselines import BASELINES
from preloader.events import Context, ContextTracker, Event, kind_of
from preloader.ports import Predictor, Snapshot
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.hotswap import HotSwapPredictor
from preloader.prediction.llm_expert import LlmExpert
from preloader.testing import FakeLanguageModel, FakePredictor, fake_prediction, random_events
from tests.contract import sequence_samples
from tests.contract.slot_runtime import SlotRuntime


def mixture():
    return MixturePredictor([OnlinePredictor(max_contexts=2_000), BASELINES["order2"](), BASELINES["most_recent"]()])


COUNTING = {"online": OnlinePredictor, "hot swap": lambda: HotSwapPredictor(BASELINES["order1"]()), **BASELINES}
LEARNERS = {**COUNTING, "mixture": mixture, "anonymous": lambda: AnonymousPredictor(SlotRuntime())}
MAKERS = {
    **LEARNERS,
    "onnx": sequence_samples.onnx,
    "coreml": sequence_samples.coreml,
    "llm": lambda: LlmExpert(FakeLanguageModel([]), "component"),
    "fake": lambda: FakePredictor({"user": [fake_prediction("component:item0", 0.5, 0.25, 0.25)]}),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture(params=LEARNERS)
def make_learner(request):
    return LEARNERS[request.param]


def contexts_of(events):
    tracker = ContextTracker()
    return [tracker.observe(event) for event in events]


def fitted(make, events):
    predictor = make()
    for event in events:
        predictor.learn_one(event)
    return predictor


def plain(snapshot):
    """Return a snapshot as nested built-in values, which compare by value."""
    arrays = {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in snapshot.arrays.items()}
    return msgspec.to_builtins(snapshot.meta), arrays


def assert_sound(predictions, steps):
    sums = defaultdict(lambda: np.zeros(steps))
    for prediction in predictions:
        assert len(prediction.per_step) == steps
        for probability in (*prediction.per_step, prediction.p_use_if_loaded, prediction.p_use_soon):
            assert 0.0 <= probability <= 1.0
        sums[kind_of(prediction.key)] += prediction.per_step
    assert all((total <= 1.0 + 1e-6).all() for total in sums.values())
    first = [prediction.per_step[0] for prediction in predictions]
    assert first == sorted(first, reverse=True)
    assert len({prediction.key for prediction in predictions}) == len(predictions)


def test_it_is_a_predictor(make):
    assert isinstance(make(), Predictor)
    assert make().name


def test_before_the_first_event_nothing_is_predicted(make_learner):
    assert make_learner().predict(Context()) == []
    assert make_learner().predict(contexts_of(random_events(1))[-1]) == []


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_probabilities_are_sound_and_sorted(make, steps):
    events = random_events(3)
    predictor = fitted(make, events)
    for context in contexts_of(events)[::17]:
        assert_sound(predictor.predict(context, steps), steps)


@pytest.mark.parametrize("steps", [0, -1, 4, 1_000])
def test_steps_that_it_does_not_look_ahead_are_refused(make_learner, steps):
    with pytest.raises(ValueError, match=str(steps)):
        fitted(make_learner, random_events(1)).predict(Context(), steps)


def test_predicting_changes_nothing(make):
    events = random_events(4)
    predictor, silent = fitted(make, events), fitted(make, events)
    before = plain(predictor.snapshot())
    context = contexts_of(events)[-1]
    strange = Context("nobody", "nowhere", (Event(user="nobody", session="nowhere", time_s=1.0, action="unheard of"),))
    first = predictor.predict(context)
    predictor.predict(strange)
    predictor.predict(Context())
    assert predictor.predict(context) == first
    assert plain(predictor.snapshot()) == before
    for event in random_events(5):
        predictor.learn_one(event)
        silent.learn_one(event)
    assert predictor.predict(context) == silent.predict(context)


def test_strangers_get_the_populations_prediction(make_learner):
    events = random_events(6)
    predictor = fitted(make_learner, events)
    keys = {key for event in events for key in event.resources}
    event = Event(user="nobody", session="nowhere", time_s=events[-1].time_s, action="unheard of", text="never said")
    for context in (Context(), Context("nobody", "nowhere"), Context("nobody", "nowhere").after(event)):
        predictions = predictor.predict(context)
        assert predictions
        assert {prediction.key for prediction in predictions} <= keys
        assert_sound(predictions, 3)


def test_events_without_resources_and_with_many_are_learned(make_learner):
    predictor = make_learner()
    for number in range(30):
        event = Event(user="u", session="s", time_s=float(number), action="quiet")
        predictor.learn_one(event)
        used = ("a:1", "b:2", "a:3") if number % 2 else ("a:1",)
        predictor.learn_one(msgspec.structs.replace(event, action="busy", resources=used))
    predictions = predictor.predict(Context("u", "s"))
    assert {prediction.key for prediction in predictions} == {"a:1", "b:2", "a:3"}
    assert_sound(predictions, 3)


def test_interleaved_sessions_are_kept_apart(make_learner):
    def session(name, keys):
        return [
            Event(user="u", session=name, time_s=float(n), action="go", resources=(f"k:{key}",))
            for n, key in enumerate(keys)
        ]

    one, two = session("one", "ababababab"), session("two", "cdcdcdcdcd")
    mixed = [event for pair in zip(one, two, strict=True) for event in pair]
    predictor = fitted(make_learner, mixed * 4)
    other = fitted(make_learner, one * 4 + two * 4)
    assert {p.key for p in predictor.predict(contexts_of(one)[-1])} == {p.key for p in other.predict(Context("u", "x"))}
    if make_learner is not BASELINES["popular"] and make_learner is not BASELINES["user_frequency"]:
        assert predictor.predict(contexts_of(one)[-1])[0].key in ("k:a", "k:b")


def test_a_restored_predictor_is_the_same_and_learns_the_same(make, tmp_path):
    events = random_events(7)
    predictor = fitted(make, events)
    snapshot = predictor.snapshot()
    save_bundle(tmp_path / "bundle", snapshot)
    copies = [make(), make()]
    copies[0].restore(snapshot)
    copies[1].restore(load_bundle(tmp_path / "bundle").snapshot)
    contexts = contexts_of(events)[::13]
    for restored in copies:
        assert [restored.predict(context) for context in contexts] == [predictor.predict(c) for c in contexts]
    for event in random_events(8):
        for each in (predictor, *copies):
            each.learn_one(event)
    for restored in copies:
        assert [restored.predict(context) for context in contexts] == [predictor.predict(c) for c in contexts]
        assert plain(restored.snapshot()) == plain(predictor.snapshot())


FORGETFUL = {name: MAKERS[name] for name in ("online", "anonymous", "llm")}
FORGETTING = {**FORGETFUL, "mixture": lambda: MixturePredictor([make() for make in FORGETFUL.values()])}


@pytest.mark.parametrize("name", FORGETTING)
def test_forgetting_sessions_leaves_nothing_of_them_and_all_that_was_learned(name):
    predictor = fitted(FORGETTING[name], random_events(7))
    told = [(one.key, one.per_step) for one in predictor.predict(Context("u", "new"))]
    last = contexts_of(random_events(7))[-1]
    predictor.predict(last)
    predictor.forget_sessions()
    assert [(one.key, one.per_step) for one in predictor.predict(Context("u", "new"))] == told
    assert last.session not in msgspec.json.encode(predictor.snapshot().meta).decode()
    for event in random_events(8):
        predictor.learn_one(event)


def test_a_snapshot_does_not_change_afterwards(make):
    predictor = fitted(make, random_events(9))
    snapshot = predictor.snapshot()
    before = plain(snapshot)
    for event in random_events(10):
        predictor.learn_one(event)
    assert plain(snapshot) == before


def test_a_restored_state_is_not_shared_with_the_snapshot(make):
    snapshot = fitted(make, random_events(9)).snapshot()
    before = plain(snapshot)
    restored = make()
    restored.restore(snapshot)
    for event in random_events(10):
        restored.learn_one(event)
    assert plain(snapshot) == before


def junk_of(snapshot):
    """Yield damaged copies of a snapshot."""
    yield Snapshot({}, {})
    yield Snapshot({"predictor": "somebody else"}, snapshot.arrays)
    yield Snapshot({**snapshot.meta, "version": 999}, snapshot.arrays)
    for name in snapshot.arrays:
        yield Snapshot(snapshot.meta, {key: a for key, a in snapshot.arrays.items() if key != name})
        if snapshot.arrays[name].size:
            yield Snapshot(snapshot.meta, {**snapshot.arrays, name: snapshot.arrays[name][:-1]})
        yield Snapshot(snapshot.meta, {**snapshot.arrays, name: np.full(3, np.nan)})
    for field in snapshot.meta:
        if field != "kinds":  # none are known, or all: both are right
            yield Snapshot({key: value for key, value in snapshot.meta.items() if key != field}, snapshot.arrays)
            yield Snapshot({**snapshot.meta, field: {"no": ["such", -1, None]}}, snapshot.arrays)


def test_damaged_snapshots_are_refused_and_change_nothing():
    predictor = fitted(OnlinePredictor, random_events(11, users=2, sessions=1))
    before = plain(predictor.snapshot())
    for junk in junk_of(predictor.snapshot()):
        with pytest.raises(BundleError):
            predictor.restore(junk)
        assert plain(predictor.snapshot()) == before


_PRINTS_PREDICTIONS = """
import json, sys
from preloader.evaluation.baselines import BASELINES
from preloader.events import ContextTracker
from preloader.prediction import OnlinePredictor
from preloader.testing import random_events
told = {}
for name, make in {"online": OnlinePredictor, **BASELINES}.items():
    predictor, tracker = make(), ContextTracker()
    for event in random_events(12):
        predictor.learn_one(event)
        context = tracker.observe(event)
    told[name] = [(p.key, p.per_step, p.p_use_if_loaded, p.p_use_soon) for p in predictor.predict(context)]
json.dump(told, sys.stdout)
"""


def test_every_process_predicts_the_same():
    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", _PRINTS_PREDICTIONS]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    first = run("1")
    assert first == run("2")
    assert all(first.values())


weird = st.text(alphabet=st.characters(), max_size=8)
weird_events = st.builds(
    Event,
    user=weird,
    session=weird,
    time_s=st.floats(allow_nan=False, min_value=-1e12, max_value=1e12),
    action=weird,
    text=st.none() | weird,
    resources=st.lists(weird.map(lambda name: f"kind:{name}x"), max_size=4).map(tuple),
    duration_s=st.none() | st.floats(0.0, 1e9),
    ok=st.none() | st.booleans(),
    context=st.dictionaries(weird, weird | st.integers() | st.booleans() | st.floats(allow_nan=False), max_size=2),
)


@settings(max_examples=15, deadline=None)
@given(events=st.lists(weird_events, max_size=12))
@pytest.mark.parametrize("name", LEARNERS)
def test_weird_events_are_learned(name, events):
    predictor = LEARNERS[name]()
    for event in events:
        predictor.learn_one(event)
        assert_sound(predictor.predict(Context(event.user, event.session, (event,))), 3)
    twin = LEARNERS[name]()
    twin.restore(copy.deepcopy(predictor.snapshot()))
    assert plain(twin.snapshot()) == plain(predictor.snapshot())


@pytest.mark.timeout(60)
def test_memory_of_the_online_predictor_is_bounded():
    """Many contexts, keys, users, sessions and words: more of each than it may hold."""
    bounds = {"max_contexts": 2_000, "max_keys": 200, "max_sessions": 20, "word_bits": 10}
    rng = np.random.default_rng(13)

    def event(number):
        user, session, key = rng.integers(0, 2**40, 3).tolist()
        return Event(
            user=f"user{user % 50}",
            session=f"session{session % 40}",
            time_s=float(number),
            action=f"action{key % 1_000}",
            text=f"word{key % 10_000}" if number % 3 == 0 else None,
            resources=(f"k:item{key % 5_000}",),
        )

    predictor = OnlinePredictor(["k"], **bounds)
    sizes = []
    tracemalloc.start()
    try:
        for number in range(2_400):
            predictor.learn_one(event(number))
            if number % 800 == 799:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    model = predictor.model("k")
    assert len(model.counts) <= 2_000
    assert len(model.vocabulary.ids) <= 200
    stated = 2_000 * 250 + (1 << 10) * 25 + 20 * 5_000 + 200 * 400
    assert sizes[-1] < stated + 3_500_000  # … and the live events, and the caches of hashes that all predictors share
    assert sizes[-1] < sizes[0] + 1_500_000
    assert_sound(predictor.predict(Context("user1", "session1")), 3)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", COUNTING)
def test_100_000_events_fit_in_the_stated_bound(name):
    """Ever new contexts, far more than may be held: what is kept stays within what each predictor states."""
    make_learner = COUNTING[name]
    is_online = make_learner is OnlinePredictor
    predictor = make_learner(["k"], max_contexts=2_000, max_keys=200, max_sessions=20) if is_online else make_learner()
    rng = np.random.default_rng(17)
    for number, (user, session, key) in enumerate(rng.integers(0, [50, 40, 500], (100_000, 3)).tolist()):
        used = (f"k:item{key}",)
        predictor.learn_one(
            Event(user=f"user{user}", session=f"session{session}", time_s=float(number), action="act", resources=used)
        )
    snapshot = predictor.snapshot()
    held = sum(array.nbytes for array in snapshot.arrays.values()) + len(msgspec.json.encode(snapshot.meta))
    stated = 2_000 * 250 + 200 * 400 + 20 * 5_000 + 100_000 if is_online else 32 * 1_000_000
    assert held <= stated
    assert_sound(predictor.predict(Context("user1", "session1")), 3)
