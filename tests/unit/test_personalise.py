"""Personalisation: a user who differs gets a network of their own; the base, and everybody else's, stay as they are."""

import random
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from preloader.errors import BundleError, ConfigurationError, HistoryError
from preloader.evaluation import Task
from preloader.evaluation.metrics import measure
from preloader.evaluation.scoring import score
from preloader.events import Context, Event
from preloader.history import Session
from preloader.learning.adapter import Adapter
from preloader.learning.adapter_files import file_name, load_adapter, save_adapter
from preloader.learning.base import Base
from preloader.learning.examples import examples, profiles
from preloader.learning.network import SequenceNetwork
from preloader.learning.personalise import (
    PersonalSettings,
    _by_session,
    _examples,
    _learner_of,
    _losses,
    _Run,
    personalise,
)
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.learning.trainer import Fit, Learner
from preloader.prediction.features import Features, FeatureSettings
from preloader.prediction.sequence import Calibration, SequenceSpec
from preloader.prediction.users import UserVectors

KEYS = [f"tool:{number}" for number in range(10)]
SETTINGS = PersonalSettings(rates=(1e-2,), ranks=(4,), epochs=20, patience=3, batch=16, shares=(0.5, 1.0))
FEATURES = FeatureSettings(rows=4, pieces=3, piece_bits=7, texts=1, words=4, word_bits=6)


def sessions_of(user: str, order: list[str], count: int, seed: int = 0, first: int = 0) -> list[Session]:
    """Sessions in which a user goes through an order, and strays from it one time in ten."""
    rng = random.Random(f"{user} {seed}")
    made = []
    for number in range(first, first + count):
        at, events = rng.randrange(len(order)), []
        for step in range(16):
            at = (at + 1) % len(order) if rng.random() < 0.9 else rng.randrange(len(order))
            events.append(
                Event(user=user, session=f"s{number}", time_s=1e5 * number + step, action="x", resources=(order[at],))
            )
        made.append(Session(user, f"s{number}", tuple(events)))
    return made


ODD = [*KEYS[:5], *reversed(KEYS[5:])]
"""An order whose half is everybody's."""


@pytest.fixture(scope="module")
def base() -> Base:
    torch.set_num_threads(1)
    population = [one for user in ("u0", "u1") for one in sessions_of(user, KEYS, 10)]
    features = Features("tool", KEYS, FEATURES)
    torch.manual_seed(0)
    network = SequenceNetwork(len(KEYS), 2, FEATURES, NetworkSettings(width=16, hidden=32, word_width=4, user_width=4))
    run = Fit(
        Learner(network, 2),
        examples(population, features, 2, {"u0": 0, "u1": 1}),
        TrainingSettings(epochs=8, batch=32, rate=1e-2),
    )
    for _ in range(8):
        run.run_epoch()
    learner = run.finish()
    spec = SequenceSpec(
        kind="tool",
        vocabulary=KEYS,
        horizon=2,
        features=FEATURES,
        calibration=Calibration(temperatures=(1.0, 1.0)),
        users=["u0", "u1"],
    )
    vectors = learner.users.weight[:2].detach().numpy()
    return Base(learner.network, spec, UserVectors(spec.users, vectors, profiles(population, features, spec.users)))


@pytest.fixture(scope="module")
def odd(base: Base) -> Adapter:
    (done,) = personalise(base, {"odd": sessions_of("odd", ODD, 20)}, SETTINGS)
    assert done.adapter is not None
    return done.adapter


def top1(base: Base, sessions: list[Session]) -> float:
    figure = measure(score(base.predictor(), Task("tool", [], sessions, steps=1), "frozen")[0]).top1
    assert figure is not None
    return figure


def test_a_user_who_differs_on_half_the_items_is_predicted_better_and_the_base_stays_as_it_is(base, odd):
    test = sessions_of("odd", ODD, 6, seed=1, first=50)
    assert top1(odd.personal(base), test) > top1(base, test) + 0.15
    assert base.digest == odd.info.base  # which was taken before anything was fitted


def test_a_user_who_acts_as_all_do_keeps_the_base(base):
    (done,) = personalise(base, {"like": sessions_of("like", KEYS, 3)}, SETTINGS)
    assert done.adapter is None
    assert done.sessions == 3


def test_keys_that_the_base_does_not_know_get_numbers(base):
    strange = [f"tool:own-{number}" for number in range(4)]
    (done,) = personalise(base, {"new": sessions_of("new", strange, 8)}, SETTINGS)
    assert done.adapter is not None
    assert sorted(done.adapter.info.keys) == strange
    assert top1(done.adapter.personal(base), sessions_of("new", strange, 4, seed=1, first=50)) > 0.6


def test_wider_networks_say_the_same_of_what_the_base_knows(base):
    wide = base.widened(["tool:a", "tool:b"])
    context = sessions_of("u0", KEYS, 1)[0].events
    arrays = [one.features.of(Context("u0", "s0", context)) for one in (base, wide)]
    odds = []
    for one, held in zip((base, wide), arrays, strict=True):
        inputs = {name: torch.from_numpy(value)[None] for name, value in held.items()}
        odds.append(one.network(**inputs, user=torch.zeros(1, 4))[0][0, 0].detach().numpy())
    known = np.exp(odds[0][1:11]) / np.exp(odds[0][1:11]).sum()
    assert np.allclose(known, np.exp(odds[1][1:11]) / np.exp(odds[1][1:11]).sum(), atol=1e-6)
    assert odds[1][0] == odds[1][11] == odds[1][12]


def test_adapters_are_kept_apart_and_are_the_same_once_read(base, odd, tmp_path):
    (other,) = personalise(base, {"../odd": sessions_of("../odd", list(reversed(KEYS)), 8)}, SETTINGS)
    assert other.adapter is not None
    paths = [save_adapter(tmp_path, adapter) for adapter in (odd, other.adapter)]
    assert len(set(paths)) == 2
    assert all(path.parent == tmp_path and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    read = load_adapter(tmp_path, "odd", base)
    assert read.info == odd.info
    assert read.personal(base).digest == odd.personal(base).digest
    assert read.personal(base).digest != load_adapter(tmp_path, "../odd", base).personal(base).digest


@pytest.mark.parametrize("user", ["../../etc/passwd", "a/b", "", "\x00", "CON", "n" * 500, "ü\udc80", "."])
def test_hostile_names_stay_in_their_folder(user):
    name = file_name(user)
    assert Path(name).name == name
    assert len(name) < 80
    assert not name.startswith(".")


def test_names_that_a_file_system_takes_for_one_are_told_apart():
    assert len({file_name(user).lower() for user in ("ann", "Ann", "a nn", "a/nn")}) == 4


def test_damaged_foreign_and_missing_adapters_are_refused(base, odd, tmp_path):
    path = save_adapter(tmp_path, odd)
    intact = path.read_bytes()
    for at in (len(intact) - 5, 0, 40, len(intact) // 2):
        path.write_bytes(intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :])
        with pytest.raises(BundleError, match=path.name):
            load_adapter(tmp_path, "odd", base)
    path.write_bytes(intact[:100])
    with pytest.raises(BundleError, match="no adapter, or damaged"):
        load_adapter(tmp_path, "odd", base)
    path.write_bytes(intact)
    (tmp_path / file_name("other")).write_bytes(intact)
    with pytest.raises(BundleError, match="adapter of user 'odd', not of 'other'"):
        load_adapter(tmp_path, "other", base)
    with pytest.raises(BundleError, match="personalise anew"):
        load_adapter(tmp_path, "odd", odd.personal(base))
    with pytest.raises(ConfigurationError, match="holds no adapter of user 'nobody'"):
        load_adapter(tmp_path, "nobody", base)


def test_an_adapter_of_another_shape_is_refused(base, odd, tmp_path):
    info = msgspec.structs.replace(odd.info, rank=8)
    save_adapter(tmp_path, Adapter(info, odd.tensors))
    with pytest.raises(BundleError, match="has shape"):
        load_adapter(tmp_path, "odd", base)


@pytest.mark.parametrize("keys", [[KEYS[0]], ["tool:new", "tool:new"]])
def test_an_adapter_that_adds_a_key_twice_is_refused(base, odd, tmp_path, keys):
    save_adapter(tmp_path, Adapter(msgspec.structs.replace(odd.info, keys=keys), odd.tensors))
    with pytest.raises(BundleError, match=f"adds the key '{keys[0]}', which the base or the adapter itself has"):
        load_adapter(tmp_path, "odd", base)


def test_too_few_sessions_and_foreign_ones_are_refused(base):
    with pytest.raises(HistoryError, match="user 'odd' has 2 sessions"):
        list(personalise(base, {"odd": sessions_of("odd", ODD, 2)}, SETTINGS))
    with pytest.raises(ConfigurationError, match="is filed under 'odd'"):
        list(personalise(base, {"odd": sessions_of("u0", ODD, 4)}, SETTINGS))


def test_how_sure_a_gain_is_follows_from_sessions_and_not_from_items(base, monkeypatch):
    """Two sessions, one of which gains much and the other nothing, on however many items: that may be chance."""
    chooses = sessions_of("odd", ODD, 2)
    counts = [
        len(_losses(_learner_of(base.network, np.zeros(4, np.float32)), _examples(base, [one]))) for one in chooses
    ]
    gains = np.repeat(np.array([1.0, 0.0], np.float32), counts)
    assert _by_session(base, chooses, gains).tolist() == [1.0, 0.0]
    monkeypatch.setattr("preloader.learning.personalise._by_session", lambda *_: np.array([1.0, 0.0], np.float32))
    (done,) = personalise(base, {"odd": sessions_of("odd", ODD, 8)}, SETTINGS)
    assert done.error == pytest.approx(0.5)
    assert done.adapter is None


def test_weights_are_put_back_whatever_happens_while_their_means_are_in_place(base):
    run = _Run(base, SETTINGS, sessions_of("odd", ODD, 3), rank=2, rate=1e-2)
    run.fit.run_epoch()
    before = {name: value.clone() for name, value in run.fit.learner.state_dict().items()}
    with pytest.raises(ZeroDivisionError), run.averaged():
        raise ZeroDivisionError
    assert all(torch.equal(value, before[name]) for name, value in run.fit.learner.state_dict().items())
