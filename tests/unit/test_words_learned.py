"""A network that goes by words: which contexts it learns from, and how words speak for keys."""

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save

from preloader.events import Event
from preloader.history import Session
from preloader.learning.base import Base
from preloader.learning.base_weights import decode_network
from preloader.learning.examples import examples, vocabulary_of
from preloader.learning.network import SequenceNetwork
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.learning.trainer import Fit, Learner, batch_of, loss_of
from preloader.prediction.features import Features, FeatureSettings
from preloader.prediction.sequence import Calibration, SequenceSpec
from preloader.prediction.users import UserVectors

KIND = "skill"
SEEN = FeatureSettings(rows=4, texts=2, words=16, word_bits=8, piece_bits=6)
SMALL = NetworkSettings(width=8, hidden=8, word_width=8, dropout=0.0, word_dropout=0.0)
WISHES = {"a table for two please": "skill:dine", "a song by them please": "skill:music"}


def dialogue(number):
    text, key = list(WISHES.items())[number % len(WISHES)]
    told = (("user", text, ()), ("call", None, (key,)), ("system", "done", ()), ("user", "thanks", ()))
    events = [
        Event(user=f"{number}", session=f"{number}", time_s=float(at), action=action, text=said, resources=used)
        for at, (action, said, used) in enumerate(told)
    ]
    return Session(f"{number}", f"{number}", tuple(events))


@pytest.fixture(scope="module")
def dialogues():
    return [dialogue(number) for number in range(8)]


@pytest.fixture(scope="module")
def features(dialogues):
    return Features(KIND, vocabulary_of(dialogues, KIND), SEEN)


def test_contexts_in_which_nothing_comes_next_are_left_out_on_demand(dialogues, features):
    every = examples(dialogues, features, 2, {})
    asked = examples(dialogues, features, 2, {}, waits=False)
    assert len(every) == 5 * len(dialogues)
    assert len(asked) == len(dialogues)
    assert (asked.weights == 1.0).all()
    kept = every.weights == 1.0
    for name, array in asked.arrays.items():
        assert np.array_equal(array, every.arrays[name][kept]), name


@pytest.mark.parametrize("way", ["direct", "wide"])
def test_words_alone_tell_keys_apart_directly(dialogues, features, way):
    torch.manual_seed(0)
    network = SequenceNetwork(2, 2, SEEN, msgspec.structs.replace(SMALL, **{way: True}))
    torch.nn.init.zeros_(network.turn.weight)
    network.turn.weight.requires_grad_(False)  # nothing but that way tells texts apart now
    learned = examples(dialogues, features, 2, {}, waits=False)
    fit = Fit(Learner(network, 0), learned, TrainingSettings(epochs=40, batch=4, rate=0.03, weight_decay=0.0))
    for _ in range(40):
        fit.run_epoch()
    with torch.no_grad():
        told, _ = fit.finish()(batch_of(learned, np.arange(len(learned))))
    assert torch.equal(told[:, 0].argmax(-1), torch.from_numpy(learned.labels[:, 0]))


def test_weights_of_words_are_kept_where_the_network_is_built_on(dialogues, features):
    torch.manual_seed(0)
    network = SequenceNetwork(2, 2, SEEN, msgspec.structs.replace(SMALL, wide=True))
    torch.nn.init.normal_(network.wide.weight)
    keys = list(features.vocabulary)
    spec = SequenceSpec(
        kind=KIND, vocabulary=keys, horizon=2, features=SEEN, calibration=Calibration(temperatures=(1.0, 1.0))
    )
    learner = Learner(network, 0)
    held = {name: value.contiguous() for name, value in learner.state_dict().items()}
    read = decode_network(save(held), spec)
    assert torch.equal(read.wide.weight, network.wide.weight)
    users = UserVectors([], np.zeros((0, network.user_width), np.float32), np.zeros((0, 3), np.float32))
    wider = Base(read, spec, users).widened(["skill:new"]).network
    assert torch.equal(wider.wide.weight[:, :3], network.wide.weight)
    assert torch.equal(wider.wide.weight[:, 3], network.wide.weight[:, 0])


def test_later_steps_teach_as_much_as_they_should():
    twice = [Session(one.user, one.session, (*one.events, *one.events)) for one in map(dialogue, range(4))]
    seen = Features(KIND, vocabulary_of(twice, KIND), SEEN)
    learned = examples(twice, seen, 2, {}, waits=False)
    torch.manual_seed(0)
    learner = Learner(SequenceNetwork(2, 2, SEEN, SMALL), 0).eval()
    chosen = np.arange(len(learned))

    def loss(**changes):
        return float(loss_of(learner, learned, chosen, TrainingSettings(use_weight=0.0, **changes)).detach())

    none, half, whole = (loss(later_weight=weight) for weight in (0.0, 0.5, 1.0))
    assert none < half < whole
    assert half == pytest.approx((none + whole) / 2, rel=1e-4)
