"""What a network learns from, on disk: the same as in memory, wherever it is made, and kept when that is cut short."""

import logging
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
distributed = pytest.importorskip("distributed")

from preloader.errors import WorkError  # noqa: E402
from preloader.events import Event  # noqa: E402
from preloader.history import Session, load_sessions  # noqa: E402
from preloader.learning import example_shards  # noqa: E402
from preloader.learning.example_shards import Place, prepare  # noqa: E402
from preloader.learning.examples import examples, users_of, vocabulary_of  # noqa: E402
from preloader.learning.lookahead import fit_network  # noqa: E402
from preloader.learning.parallel import Backend  # noqa: E402
from preloader.learning.recipe import DataRecipe, Recipe  # noqa: E402
from preloader.learning.settings import NetworkSettings, TrainingSettings  # noqa: E402
from preloader.learning.worlds import counterfactuals  # noqa: E402
from preloader.prediction.features import Features, FeatureSettings  # noqa: E402

SEEN = FeatureSettings(rows=4, pieces=3, piece_bits=6, words=5, word_bits=6)
STEPS = 3
RECIPE = Recipe(
    "tiny",
    "sequence",
    DataRecipe("household", ("component",)),
    features=SEEN,
    network=NetworkSettings(width=8, hidden=8, word_width=4, user_width=4),
    training=TrainingSettings(epochs=2, batch=32),
)


@pytest.fixture(scope="module")
def scheduler():
    quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def sessions():
    """Two users' sessions that alternate: to go by user would be another order."""
    return load_sessions(["household:seed=1,users=2,days=5"], "household")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(example_shards, "_EVENTS", 60)
    monkeypatch.setattr("preloader.learning.shards._TAKEN", 50)


@pytest.fixture
def taught(sessions):
    vocabulary = vocabulary_of(sessions, "component")
    users = {name: number for number, name in enumerate(users_of(sessions))}
    assert len(users) == 2
    paying = counterfactuals(RECIPE, "component")(sessions, vocabulary)
    return {"features": Features("component", vocabulary, SEEN), "steps": STEPS, "users": users, "outcomes": paying}


@pytest.mark.parametrize("kind", ["serial", "threading", "loky", "dask"])
def test_examples_on_disk_are_those_in_memory_in_the_same_order(kind, sessions, taught, tmp_path, request):
    scheduler = request.getfixturevalue("scheduler") if kind == "dask" else None
    backend = Backend(kind, jobs=2 if kind in ("loky", "threading") else None, scheduler=scheduler)
    held = examples(sessions, **taught)
    stored = prepare(sessions, **taught, place=Place(tmp_path / "examples", backend, None))
    assert len(list((tmp_path / "examples").iterdir())) > 5
    assert len(stored) == len(held)
    for _ in range(3):  # and again, once all was unmapped
        check_equal(stored, held, np.random.default_rng(0).permutation(len(held)))
    check_equal(stored, held, np.array([len(held) - 1]))


def check_equal(stored, held, chosen):
    one, other = stored.take(chosen), held.take(chosen)
    assert one.arrays.keys() == other.arrays.keys()
    pairs = [(one.arrays[name], other.arrays[name]) for name in one.arrays]
    pairs += [(getattr(one, name), getattr(other, name)) for name in ("labels", "weights", "users", "uses")]
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)


def test_sessions_that_teach_nothing_make_an_empty_shard(sessions, taught, tmp_path, monkeypatch):
    monkeypatch.setattr(example_shards, "_EVENTS", 1)  # a shard each
    idle = [
        Session("ann", f"idle{number}", (Event(user="ann", session=f"idle{number}", time_s=1.7e9, action="idle"),))
        for number in range(3)
    ]
    told = [*idle, *sessions[:20], *idle]
    stored = prepare(told, **taught, waits=False, place=Place(tmp_path, Backend("serial"), None))
    check_equal(stored, examples(told, **taught, waits=False), np.arange(len(stored)))


def test_shards_that_were_finished_are_kept_and_others_are_not(sessions, taught, tmp_path):
    made = []

    def outcomes(session, most):
        if len(made) == most:
            raise ValueError("no")
        made.append(session)
        return taught["outcomes"](session)

    place = Place(tmp_path, Backend("serial"), {"budget": 1})
    with pytest.raises(WorkError, match=r"^sessions \d+ to \d+: ValueError: no"):
        prepare(sessions, **{**taught, "outcomes": partial(outcomes, most=30)}, place=place)
    finished = len(list(tmp_path.glob("user=*")))
    assert finished > 1
    made.clear()
    prepare(sessions, **{**taught, "outcomes": partial(outcomes, most=None)}, place=place)
    assert 0 < len(made) < len(sessions) - finished
    made.clear()
    prepare(sessions, **{**taught, "outcomes": partial(outcomes, most=None)}, place=Place(tmp_path, place.backend, 2))
    assert made == sessions


def test_a_network_learns_the_same_from_disk_as_from_memory(sessions, tmp_path):
    outcomes = counterfactuals(RECIPE, "component")
    fitted = partial(fit_network, sessions[:-20], "component", RECIPE, held_out=sessions[-20:], outcomes=outcomes)
    held, stored = fitted(), fitted(checkpoint=tmp_path / "draft")
    assert (held.losses, held.held_out) == (stored.losses, stored.held_out)
    one, other = held.learner.state_dict(), stored.learner.state_dict()
    assert all(bool((one[name] == other[name]).all()) for name in one)
    assert (tmp_path / "examples-draft").is_dir()
