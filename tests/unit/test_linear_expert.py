"""A linear model of scikit-learn as an expert: the module says what scikit-learn says, and a bundle holds it."""

import msgspec
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from preloader.errors import BundleError
from preloader.events import Context
from preloader.history import group_sessions
from preloader.learning.examples import NOTHING
from preloader.learning.linear import LinearNetwork
from preloader.learning.linear_expert import calibrated, fit_linear
from preloader.learning.lookahead import fit_network, held_out, inputs_at
from preloader.learning.recipe import DataRecipe, Recipe
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.features import FeatureSettings
from preloader.prediction.online import OnlinePredictor
from preloader.testing import random_events

KIND = "component"
RECIPE = Recipe(
    name="sample",
    model="sequence",
    data=DataRecipe(format="household", kinds=(KIND,)),
    features=FeatureSettings(rows=5, pieces=3, piece_bits=6, words=8, word_bits=11),
    network=NetworkSettings(width=8, hidden=12, word_width=6, user_width=4),
    training=TrainingSettings(epochs=1, batch=64),
)


@pytest.fixture(scope="module")
def beside():
    return fit_network(group_sessions(random_events(3)), KIND, RECIPE)


@pytest.fixture(scope="module")
def linear(beside):
    return fit_linear("logistic", beside)


def asked(beside):
    return inputs_at(beside, beside.examples, np.arange(len(beside.examples)))


def told(network, inputs):
    given = {name: inputs[name] for name in ("items", "pieces", "ages", "flags", "words", "word_weights")}
    with torch.no_grad():
        return network(**given, moment=inputs["moment"], user=inputs["user"])


def test_every_step_is_scikit_learns(beside):
    inputs, labels = asked(beside), beside.examples.labels
    network = LinearNetwork(len(beside.features.vocabulary), 3, RECIPE.features, beside.users.size)
    models = []
    for step in range(3):
        came = np.flatnonzero(labels[:, step] != NOTHING)
        part = {name: value[came] for name, value in inputs.items()}
        models.append(LogisticRegression(tol=0.1).fit(network.columns.matrix(part, step), labels[came, step]))
        network.take(step, models[-1])
    chances = told(network, inputs).exp().numpy()
    for step, model in enumerate(models):
        expected = model.predict_proba(network.columns.matrix(inputs, step))
        np.testing.assert_allclose(chances[:, step, model.classes_], expected, atol=1e-5)
        absent = np.setdiff1d(np.arange(network.keys), model.classes_)
        assert (chances[:, step, absent] < 1e-4).all()


def test_every_sort_of_evidence_counts(beside, linear):
    inputs = asked(beside)
    for name in ("items", "pieces", "ages", "flags", "word_weights", "moment", "user"):
        changed = {**inputs, name: torch.zeros_like(inputs[name])}
        assert not torch.allclose(told(linear.network, changed), told(linear.network, inputs)), name


def test_later_steps_hear_no_words(beside, linear):
    inputs = asked(beside)
    before, silent = (
        told(linear.network, one) for one in (inputs, {**inputs, "word_weights": inputs["word_weights"] * 0})
    )
    assert not torch.equal(before[:, 0], silent[:, 0])
    assert torch.equal(before[:, 1:], silent[:, 1:])


def test_what_alone_ever_came_is_expected(beside):
    network = LinearNetwork(len(beside.features.vocabulary), 3, RECIPE.features, beside.users.size)
    network.expect(1, np.array([4]))
    assert (told(network, asked(beside))[:, 1].argmax(-1) == 4).all()


def test_it_learns_more_than_how_frequent_keys_are(beside, linear):
    labels = beside.examples.labels[:, 0]
    came = (labels != NOTHING) & (beside.examples.weights == 1.0)
    logs = told(linear.network, asked(beside))[came, 0].numpy()
    shares = np.bincount(labels[came], minlength=linear.network.keys) / came.sum()
    assert -logs[np.arange(len(logs)), labels[came]].mean() < -np.log(shares[labels[came]]).mean()


def test_it_is_calibrated_on_what_it_has_not_learned(beside, linear):
    others = group_sessions(random_events(7))
    warm = calibrated(linear, held_out(beside, others))
    assert len(warm.calibration.temperatures) == 3
    assert warm.calibration.temperatures != linear.calibration.temperatures
    assert warm.spec.calibration == warm.calibration


def test_as_a_predictor_it_says_nothing_of_use(linear):
    predictor = linear.predictor()
    context = Context("ann", "new")
    assert predictor.name == f"logistic_{KIND}"
    assert np.isnan(predictor.uses(context, linear.spec.vocabulary)).all()
    chances = predictor.distribution(context, KIND, 3).probabilities
    assert (chances.sum(1) <= 1.0).all()
    for one in predictor.predict(context):
        assert one.p_use_if_loaded == pytest.approx(1 - np.prod(1 - np.array(one.per_step)))


def test_two_predictors_do_not_share_the_users_they_get_to_know(linear):
    one, other = linear.predictor(), linear.predictor()
    for event in random_events(5)[:100]:
        one.learn_one(msgspec.structs.replace(event, user="stranger"))
    assert one.snapshot().meta["strangers"] != other.snapshot().meta["strangers"]


def test_a_mixture_hears_it_and_goes_on_from_its_state(linear):
    def mixture():
        return MixturePredictor([OnlinePredictor((KIND,)), linear.predictor()], (KIND,))

    one, other = mixture(), mixture()
    for event in random_events(5)[:100]:
        one.learn_one(event)
    other.restore(one.snapshot())
    assert other.predict(Context("ann", "new")) == one.predict(Context("ann", "new"))
    alone = OnlinePredictor((KIND,))
    for event in random_events(5)[:100]:
        alone.learn_one(event)
    assert one.predict(Context("ann", "new")) != alone.predict(Context("ann", "new"))


def test_a_state_of_the_network_is_not_taken_for_that_of_the_model(linear):
    snapshot = linear.predictor().snapshot()
    snapshot.meta["spec"] |= {"model": "sequence"}
    with pytest.raises(BundleError, match="another network"):
        linear.predictor().restore(snapshot)
