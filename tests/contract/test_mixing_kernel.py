"""The C kernel of the mixture of experts is the same as its NumPy twin, and refuses damaged state."""

import importlib

import numpy as np
import pytest

from preloader.evaluation.baselines import BASELINES
from preloader.events import ContextTracker
from preloader.prediction import OnlinePredictor, kernel, twin
from preloader.prediction.experts import MixturePredictor
from preloader.testing import random_events

try:
    c = importlib.import_module("preloader.prediction._kernel")
except ImportError:
    pytest.skip("the prediction kernel was not built", allow_module_level=True)

E, S, K, H, T = 3, 2, 7, 4, 10
RATES = 0.02, 0.01


def arguments_of(name, seed):
    """Return random arguments of a function, and how many of them it changes."""
    rng = np.random.default_rng(seed)
    logs = np.log(rng.dirichlet(np.full(K, 0.3), (E, S)) + 1e-6)
    unnamed = rng.integers(0, 2, (E, K)).astype(np.float64)
    weights, own, biases = rng.normal(size=(H, E, T)), rng.normal(size=(2, H, E)), rng.normal(size=(H, E + 1))
    steps, columns = rng.choice(H, S, replace=False), rng.integers(0, K, S)
    chances = rng.dirichlet(np.ones(K), S)
    taken = np.stack([rng.integers(first, last, (S, E)) for first, last in ((0, 1), (1, 5), (5, T))])
    awake = rng.random((S, E + 1)) < 0.6
    awake[0, :2] = True
    log_weights = np.log(rng.dirichlet(np.ones(E + 1), H))
    squares = own.copy()
    squares[1] = 0.1
    bounds = np.log([0.3, 0.5, 0.7, 0.9])
    given = {
        "pool": ((np.empty((S, K)), taken, logs, unnamed, weights, own[0], biases, steps, bounds, 2, 5), 2),
        "learn_pool": (
            (
                *(weights, np.full_like(weights, 0.1), squares, biases, np.full_like(biases, 0.1)),
                *(chances, logs, unnamed, taken, steps, columns, *RATES),
            ),
            5,
        ),
        "join": ((np.empty((S, K)), chances, logs, log_weights, awake, steps), 1),
        "weigh": ((log_weights, np.log(rng.random((S, E + 1))), awake, steps, 0.001 * (seed % 2)), 1),
    }
    return given[name]


def copies(arguments):
    return [one.copy() if isinstance(one, np.ndarray) else one for one in arguments]


NAMES = "pool", "learn_pool", "join", "weigh"
INDICES = {"pool": [7], "learn_pool": [8, 9, 10], "join": [5], "weigh": [3]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(20))
def test_both_do_the_same(name, seed):
    arguments, changed = arguments_of(name, seed)
    ours, theirs = copies(arguments), copies(arguments)
    getattr(c, name)(*ours)
    getattr(twin, name)(*theirs)
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-13, err_msg=str(number))
    assert all((mine != before).any() for mine, before in zip(ours[:changed], arguments, strict=False))


def test_both_leave_those_alone_who_sleep_through_everything():
    arguments, _ = arguments_of("weigh", 2)
    arguments[2][:] = False
    before = arguments[0].copy()
    for backend in (c, twin):
        backend.weigh(*arguments)
        np.testing.assert_array_equal(arguments[0], before)
    arguments, _ = arguments_of("join", 2)
    arguments[4][0] = False
    for backend in (c, twin):
        backend.join(*arguments)
        assert not arguments[0][0].any()
        assert arguments[0].shape == (S, K)


@pytest.mark.parametrize("name", NAMES)
def test_every_damaged_array_is_refused(name):
    arguments, _ = arguments_of(name, 1)
    for at, array in enumerate(arguments):
        if not isinstance(array, np.ndarray) or (name, at) == ("pool", 8):  # any number of bounds that the sets allow
            continue
        for bad in (
            array.astype(np.complex128),
            array.ravel()[:-1].copy(),
            np.repeat(array.ravel(), 2)[::2],
            array[:0],
        ):
            with pytest.raises(ValueError):  # noqa: PT011 - which message depends on what is damaged
                getattr(c, name)(*arguments[:at], bad, *arguments[at + 1 :])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, 1_000])
def test_indices_are_checked_before_anything_changes(name, value):
    for at in INDICES[name]:
        arguments = copies(arguments_of(name, 1)[0])
        arguments[at].flat[-1] = value
        before = copies(arguments)
        with pytest.raises(ValueError, match="out of range"):
            getattr(c, name)(*arguments)
        for array, was in zip(arguments, before, strict=True):
            np.testing.assert_array_equal(array, was)


@pytest.mark.parametrize(("by_seen", "by_sure"), [(-1, 5), (T, 5), (2, -1), (2, 6), ("a", 5), (2, 1 << 70)])
def test_sets_that_there_are_not_are_refused(by_seen, by_sure):
    arguments, _ = arguments_of("pool", 1)
    with pytest.raises(ValueError, match="fit"):
        c.pool(*arguments[:-2], by_seen, by_sure)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan"), "a"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="fit"):
        c.weigh(*arguments_of("weigh", 1)[0][:-1], share)


def test_a_whole_mixture_learns_the_same(monkeypatch):
    said = []
    for backend in (c, twin):
        monkeypatch.setattr(kernel, "active", backend)
        predictor, tracker = MixturePredictor([OnlinePredictor(), BASELINES["order2"]()]), ContextTracker()
        for event in random_events(7):
            predictor.learn_one(event)
            tracker.observe(event)
        told = [predictor.distribution(context, "component", 3) for context in tracker.contexts()]
        said.append(np.array([[one.probabilities[:, one.index[key]] for key in sorted(one.index)] for one in told]))
    np.testing.assert_allclose(*said, rtol=1e-6)
    assert said[0].size > 100
