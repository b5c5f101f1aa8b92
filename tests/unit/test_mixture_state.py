"""What a mixture has learned: saved, restored, joined with other experts, bounded, and refused where it is damaged."""

import msgspec
import numpy as np
import pytest

from preloader.errors import BundleError
from preloader.evaluation.baselines import BASELINES
from preloader.ports import Snapshot
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import MixturePredictor
from preloader.testing import random_events
from tests.unit.mixture_sample import contexts_of, event, fitted, mixture_of_two


def test_weights_can_be_joined_with_experts_fitted_anew():
    events = random_events(7, users=4, sessions=6)
    learned = fitted(mixture_of_two(), events)
    joined = MixturePredictor(
        [fitted(OnlinePredictor(max_contexts=2_000), events), fitted(BASELINES["order2"](), events)]
    )
    joined.restore_weights(learned.weights_snapshot())
    for context in contexts_of(events)[::17]:
        assert joined.predict(context) == learned.predict(context)


def test_weights_of_other_experts_or_horizons_are_refused():
    weights = fitted(mixture_of_two(), random_events(7)).weights_snapshot()
    with pytest.raises(BundleError, match="order2"):
        MixturePredictor([OnlinePredictor()]).restore_weights(weights)
    with pytest.raises(BundleError, match="2"):
        mixture_of_two(horizon=2).restore_weights(weights)
    with pytest.raises(BundleError):
        mixture_of_two().restore_weights(mixture_of_two().snapshot())


def plain(snapshot):
    arrays = {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in snapshot.arrays.items()}
    return msgspec.to_builtins(snapshot.meta), arrays


def test_damaged_snapshots_are_refused_and_change_nothing():
    predictor = fitted(mixture_of_two(), random_events(8, users=2, sessions=1))
    snapshot = predictor.snapshot()
    before, empty = plain(snapshot), plain(mixture_of_two().snapshot())
    junk = [Snapshot({}, {}), Snapshot({**snapshot.meta, "version": 9}, snapshot.arrays)]
    for name, array in snapshot.arrays.items():
        if name.startswith("experts.1."):
            continue  # a baseline's arrays are its own to check
        junk.append(Snapshot(snapshot.meta, {key: a for key, a in snapshot.arrays.items() if key != name}))
        junk.append(Snapshot(snapshot.meta, {**snapshot.arrays, name: np.full(3, np.nan)}))
        if array.size:
            junk.append(Snapshot(snapshot.meta, {**snapshot.arrays, name: array[:-1]}))
    for field in snapshot.meta:
        if field != "kinds":
            junk.append(Snapshot({k: v for k, v in snapshot.meta.items() if k != field}, snapshot.arrays))
            junk.append(Snapshot({**snapshot.meta, field: {"no": ["such", -1, None]}}, snapshot.arrays))
    for one in junk:
        untouched = mixture_of_two()
        for victim, state in ((predictor, before), (untouched, empty)):
            with pytest.raises(BundleError):
                victim.restore(one)
            assert plain(victim.snapshot()) == state


def test_an_experts_damage_takes_the_others_back():
    events = random_events(8, users=2, sessions=1)
    snapshot = fitted(mixture_of_two(), events).snapshot()
    victim = fitted(mixture_of_two(), random_events(9))
    before = plain(victim.snapshot())
    snapshot.meta["experts"][1] = {"predictor": "order1"}
    with pytest.raises(BundleError):
        victim.restore(snapshot)
    assert plain(victim.snapshot()) == before


def test_sessions_and_users_are_bounded():
    predictor = mixture_of_two(max_sessions=3, max_users=4)
    for number in range(60):
        predictor.learn_one(event(number, f"k:{number % 5}", user=f"u{number % 10}", session=f"s{number % 10}"))
    weights = predictor.snapshot()
    assert len(weights.meta["sessions"][0]["sessions"]) == 3
    assert len(weights.meta["contexts"]) == 3
    assert len(weights.meta["weights"]["users"]["k"]) == 4
    predictor.forget_sessions()
    assert predictor.snapshot().meta["sessions"][0]["sessions"] == []
    assert predictor.snapshot().meta["contexts"] == []


def test_a_mixture_that_looks_one_item_ahead_is_saved_and_restored():
    events = random_events(6)
    predictor, copy = mixture_of_two(horizon=1), mixture_of_two(horizon=1)
    copy.restore(fitted(predictor, events).snapshot())
    context = contexts_of(events)[-1]
    assert copy.predict(context, 1) == predictor.predict(context, 1) != []
