"""What a sequence predictor remembers of sessions, so that the network is not run twice for the same context."""

import msgspec
import pytest

from preloader.events import ContextTracker, Event
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.sequence import SequencePredictor
from preloader.testing import random_events
from tests.contract import sequence_samples

KIND = sequence_samples.KIND


class CountedRuntime:
    """Counts how often another runtime is run."""

    def __init__(self, runtime):
        self.name, self.inputs = runtime.name, runtime.inputs
        self.runs = 0
        self._runtime = runtime

    def run(self, inputs):
        self.runs += 1
        return self._runtime.run(inputs)


@pytest.fixture
def sample():
    return sequence_samples.onnx()


def counted(sample, **options):
    return SequencePredictor(sample.spec, CountedRuntime(sample.runtime), sequence_samples.users(), **options)


def event(number, user, session):
    return Event(user=user, session=session, time_s=60.0 * number, action="go", resources=(f"{KIND}:item{number % 3}",))


def interleaved(users, rounds=4):
    return [event(number, user, f"{user}'s") for number in range(rounds) for user in users]


def test_interleaved_sessions_run_the_network_once_a_context(sample):
    network, tracker = counted(sample), ContextTracker()
    predictor = MixturePredictor([OnlinePredictor(), network], [KIND])
    users = [*sample.spec.users[:2], "a stranger"]
    for one in interleaved(users):
        predictor.learn_one(one)
        asked = predictor.begin(tracker.observe(one))
        predictor.finish(asked, predictor.infer([asked])[0])
    assert network.runtime.runs == len(users) * 4 + len(users)  # and before each session's first event


def test_what_a_stranger_does_is_not_overlooked(sample):
    network, fresh = counted(sample), counted(sample)
    context = ContextTracker().observe(event(0, "a stranger", "s"))
    before = network.predict(context)
    for predictor in (network, fresh):
        for number in range(40):
            predictor.learn_one(event(number, "a stranger", "other"))
    assert network.predict(context) == fresh.predict(context)
    assert network.predict(context) != before


def test_sessions_are_remembered_up_to_a_bound(sample):
    network = counted(sample)
    user = sample.spec.users[0]
    contexts = [ContextTracker().observe(event(0, user, f"s{number}")) for number in range(65)]
    for context in (*contexts, *contexts[1:]):
        network.answer(context)
    assert network.runtime.runs == 65
    network.answer(contexts[0])
    assert network.runtime.runs == 66


def test_a_context_that_went_on_is_asked_about_anew(sample):
    network, tracker = counted(sample), ContextTracker()
    for one in random_events(4)[:20]:
        one = msgspec.structs.replace(one, user="u", session="s")
        assert network.answer(tracker.observe(one)) is network.answer(tracker.context("u", "s"))
    assert network.runtime.runs == 20


def test_only_the_likeliest_are_predicted(sample):
    context = ContextTracker().observe(event(0, "u", "s"))
    everything = counted(sample).predict(context)
    assert len(everything) > 3
    assert counted(sample, max_predictions=3).predict(context) == everything[:3]


def test_what_was_said_of_a_context_is_said_again_without_running_the_network(sample):
    network, tracker = counted(sample), ContextTracker()
    context = tracker.observe(event(0, "u", "s"))
    assert network.said(context, KIND, 3) is None
    told = network.distribution(context, KIND, 3)
    again = network.said(context, KIND, 3)
    assert again is not None
    assert again.probabilities.tolist() == told.probabilities.tolist()
    assert network.said(context, "other", 3) is None
    assert network.said(tracker.observe(event(1, "u", "s")), KIND, 3) is None
    assert network.runtime.runs == 1
