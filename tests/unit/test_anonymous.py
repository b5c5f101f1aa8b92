import msgspec
import numpy as np
import pytest

from preloader.errors import BundleError, ConfigurationError
from preloader.events import Context, ContextTracker, Event
from preloader.ports import Snapshot, StagedPredictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.anonymous_features import AROUND, CANDIDATE_FEATURES, FLAGS, see
from preloader.prediction.anonymous_memory import AnonymousSettings, Memory
from preloader.prediction.distribution import Distribution
from preloader.prediction.successors import MAX_FOLLOWERS, Successors
from preloader.testing import random_events
from tests.contract.slot_runtime import SlotRuntime

SILENT = Distribution({}, np.zeros((3, 0)))


def use(key, number=0, session="s", **more):
    return Event(user="u", session=session, time_s=float(number), action="use", resources=(f"k:{key}",), **more)


def fitted(events, **more):
    predictor = AnonymousPredictor(SlotRuntime(), **more)
    for event in events:
        predictor.learn_one(event)
    return predictor


def contexts_of(events):
    tracker = ContextTracker()
    return [tracker.observe(event) for event in events]


def renamed(event, names):
    return msgspec.structs.replace(event, resources=tuple(names[key] for key in event.resources))


def test_a_key_never_seen_before_is_named_once_it_came():
    predictor = fitted([use("old", 0)])
    assert {one.key for one in predictor.predict(Context("u", "s"))} == {"k:old"}
    predictor.learn_one(use("new", 1))
    assert {one.key for one in predictor.predict(Context("u", "s"))} == {"k:old", "k:new"}


def test_some_mass_is_left_for_a_key_that_is_no_candidate():
    told = fitted([use("a", 0), use("b", 1)]).distribution(Context("u", "s"), "k", 3)
    assert (told.probabilities.sum(axis=1) < 0.999).all()


def test_renaming_keys_renames_the_memory_and_changes_no_feature():
    """The memory, the candidates and every array of features; the online predictor's opinion is not asked here."""
    events = [event for event in random_events(3) if event.resources]
    keys = sorted({key for event in events for key in event.resources})
    names = {key: f"{key.partition(':')[0]}:{number}renamed" for number, key in enumerate(reversed(keys))}
    kind = keys[0].partition(":")[0]
    settings = AnonymousSettings(candidates=8)
    memory, other = Memory(kind, settings), Memory(kind, settings)
    others = [renamed(event, names) for event in events]
    for event, alike, before, before_alike in zip(
        events[1:], others[1:], contexts_of(events), contexts_of(others), strict=False
    ):
        seen, seen_alike = see(memory, before, settings, SILENT), see(other, before_alike, settings, SILENT)
        assert [names[key] for key in seen.keys] == list(seen_alike.keys)
        for name, array in seen.arrays.items():
            np.testing.assert_array_equal(array, seen_alike.arrays[name], err_msg=name)
        for key in event.keys(kind):
            memory.learn(before, key, event.time_s)
            other.learn(before_alike, names[key], alike.time_s)
    assert memory.items > 20


def test_arrays_have_the_shapes_that_the_model_was_made_for():
    settings = AnonymousSettings(candidates=5, recent=7)
    memory = Memory("k", settings)
    context = Context("u", "s")
    for number in range(20):
        event = use(f"item{number % 9}", number, ok=bool(number % 2))
        memory.learn(context, event.resources[0], event.time_s)
        context = context.after(event)
    arrays = see(memory, context, settings, SILENT).arrays
    shapes = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    assert shapes == {
        "candidates": ((5, CANDIDATE_FEATURES), "float32"),
        "present": ((5,), "float32"),
        "around": ((AROUND,), "float32"),
        "recent": ((7,), "int32"),
        "flags": ((7, FLAGS), "float32"),
    }
    assert arrays["present"].sum() == 5
    assert 0 <= arrays["recent"].min() <= arrays["recent"].max() <= 5


def test_a_sequence_holds_slots_oldest_first():
    settings = AnonymousSettings(recent=4)
    memory = Memory("k", settings)
    context = Context("u", "s")
    for number, key in enumerate("abcab"):
        memory.learn(context, f"k:{key}", float(number))
        context = context.after(use(key, number))
    seen = see(memory, context, settings, SILENT)
    slot = {key[-1]: number + 1 for key, number in seen.keys.items()}
    assert seen.arrays["recent"].tolist() == [slot["b"], slot["c"], slot["a"], slot["b"]]


def test_what_came_two_and_three_items_later_is_counted_where_it_is_looked_up():
    memory = Memory("k", AnonymousSettings())
    context = Context("u", "s")
    for number, key in enumerate("abcd"):
        memory.learn(context, f"k:{key}", float(number))
        context = context.after(use(key, number))
    after_two = Context("u", "t").after(use("a", 9)).after(use("b", 10))
    second, second_of_two, third, _ = memory.recall(after_two).followers[-4:]
    assert second.counts == {"k:d": 1}  # two after b
    assert second_of_two.counts == {"k:d": 1}  # two after a, b
    assert third.counts == {}  # nothing came three after b
    assert memory.recall(Context("u", "t").after(use("a", 9))).followers[-2].counts == {"k:d": 1}


def test_a_context_forgets_its_rarest_follower_and_the_table_its_oldest_context():
    table = Successors(2)
    for number in range(MAX_FOLLOWERS + 5):
        table.add([7], "k:often")
        table.add([7], f"k:{number}")
    (followers,) = table.after([7])
    assert len(followers.counts) == MAX_FOLLOWERS
    assert followers.counts["k:often"] == MAX_FOLLOWERS + 5
    table.add([8, 9], "k:often")
    assert [one.total for one in table.after([7, 8, 9])] == [0, 1, 1]


def test_entropy_is_that_of_the_counts():
    table = Successors(1)
    for key in "aaab":
        table.add([1], key)
    assert table.after([1])[0].entropy() == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert table.after([2])[0].entropy() == 0.0


def test_memory_stays_within_its_bounds():
    bounds = AnonymousSettings(candidates=8, max_contexts=100, max_words=50, max_keys=20, max_users=3)
    memory = Memory("k", bounds)
    for number in range(400):
        said = Event(user="u", session="s", time_s=float(number), action="user", text=f"word{number}")
        memory.learn(Context(f"user{number // 50}", "s", (use(number), said)), f"k:{number}", float(number))
    meta, arrays = memory.dump()
    assert len(memory.known) == 20
    assert len(arrays["after.contexts"]) == 100
    assert len(arrays["words.contexts"]) == 50
    assert [len(held) for _, held in meta["users"]] == [8, 8, 8]


def test_stages_are_one_prediction_and_many_requests_are_one_run():
    events = random_events(5)
    runtime = SlotRuntime()
    predictor = AnonymousPredictor(runtime)
    assert isinstance(predictor, StagedPredictor)
    for event in events:
        predictor.learn_one(event)
    contexts = contexts_of(events)[-6:]
    expected = [predictor.predict(context) for context in contexts]
    runtime.runs = 0
    requests = [predictor.begin(context, 3) for context in contexts]
    results = predictor.infer(requests)
    assert runtime.runs == 1
    assert [predictor.finish(*pair) for pair in zip(requests, results, strict=True)] == expected
    before = runtime.runs
    predictor.distribution(contexts[-1], predictor.kinds[0], 3)
    assert runtime.runs == before  # what was finished last is known


def test_uses_are_those_of_the_predictions_and_unknown_of_strangers():
    predictor = fitted([use("a", 0), use("b", 1)])
    context = Context("u", "s")
    told = {one.key: (one.p_use_if_loaded, one.p_use_soon) for one in predictor.predict(context)}
    uses = predictor.uses(context, ["k:b", "k:never", "other:x"])
    assert tuple(uses[:, 0]) == told["k:b"]
    assert np.isnan(uses[:, 1:]).all()


def test_a_shared_online_predictor_is_left_to_its_owner():
    online = OnlinePredictor()
    predictor = fitted([use("a", 0)], online=online)
    assert online.predict(Context("u", "s")) == []
    snapshot = predictor.snapshot()
    assert snapshot.meta["online"] is None
    with pytest.raises(BundleError, match="kept elsewhere"):
        AnonymousPredictor(SlotRuntime()).restore(snapshot)


def test_a_state_of_another_network_is_refused():
    snapshot = fitted([use("a", 0)], digest="one").snapshot()
    with pytest.raises(BundleError, match="another network"):
        AnonymousPredictor(SlotRuntime(), digest="two").restore(snapshot)
    with pytest.raises(BundleError, match="another network"):
        AnonymousPredictor(SlotRuntime(), AnonymousSettings(candidates=9), digest="one").restore(snapshot)


def test_damaged_states_are_refused_and_change_nothing():
    predictor = fitted(random_events(7, users=2, sessions=1))
    good = predictor.snapshot()
    context = contexts_of(random_events(7, users=2, sessions=1))[-1]
    before = predictor.predict(context)
    for name, array in good.arrays.items():
        damaged = [array[:-1], np.full(3, np.nan)] if array.size else []
        if name.startswith("0.") and array.dtype.kind == "i":
            damaged += [-1 - array, array + 2**30 * (array.dtype == np.int32)][: 1 + (array.dtype == np.int32)]
        for one in damaged:
            with pytest.raises(BundleError):
                predictor.restore(Snapshot(good.meta, {**good.arrays, name: one}))
    for field in ("version", "memories", "contexts", "settings", "online"):
        with pytest.raises(BundleError):
            predictor.restore(Snapshot({**good.meta, field: {"no": ["such", -1, None]}}, good.arrays))
    assert predictor.predict(context) == before


def test_only_the_kinds_that_were_named_are_predicted():
    events = [use("a", 0), Event(user="u", session="s", time_s=1.0, action="x", resources=("other:b",))]
    assert fitted(events, kinds=["other"]).kinds == ("other",)
    assert fitted(events, settings=AnonymousSettings(max_kinds=1)).kinds == ("k",)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="candidates"):
        AnonymousSettings(candidates=0)


class Broken(SlotRuntime):
    """Says something else than it ought to of one output, once it is told so."""

    def __init__(self, output, change):
        super().__init__()
        self._output, self._change = output, change

    def run(self, inputs):
        said = super().run(inputs)
        return said | {self._output: self._change(said[self._output])}


def without_first(output):
    return output[:, :, 1:]


def not_a_number(output):
    return np.where(output == output.max(), np.nan, output)


@pytest.mark.parametrize("output", ["log_probabilities", "uses"])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without_first, "of shape"),
        (lambda output: output[0], "of shape"),
        (not_a_number, "what is no number"),
        (lambda output: output - np.inf, "what is no number"),
        (lambda output: output.astype(np.int64), "int64"),
    ],
)
def test_a_network_that_says_something_else_is_an_error(output, change, complaint):
    predictor = AnonymousPredictor(Broken(output, change))
    predictor.learn_one(use("a"))
    with pytest.raises(BundleError, match=f"{output!r}.*{complaint}"):
        predictor.predict(Context("u", "s"))
    with pytest.raises(BundleError, match=complaint):
        predictor.distribution(Context("u", "s"), "k", 1)


def test_a_network_that_is_absurdly_sure_still_gives_probabilities():
    predictor = AnonymousPredictor(Broken("log_probabilities", lambda output: output * 1e30))
    predictor.learn_one(use("a"))
    told = predictor.distribution(Context("u", "s"), "k", 3).probabilities
    assert np.isfinite(told).all()
    assert (told.sum(axis=1) <= 1.0 + 1e-9).all()
