"""A recipe with a linear expert, from a history to a bundle that is loaded and built on."""

import pytest

from preloader.errors import BundleError, ConfigurationError
from preloader.events import Context
from preloader.history import READERS, load_sessions
from preloader.learning.fit import fit
from preloader.learning.parts import parts_of
from preloader.learning.personal_bundle import bases_of
from preloader.learning.recipe import DataRecipe, Recipe, SequenceRecipe, ValidationRecipe, overridden
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.prediction import load_bundle, save_bundle
from preloader.prediction.features import FeatureSettings
from preloader.prediction.settings import OnlineSettings

KIND = "component"
RECIPE = Recipe(
    name="tiny",
    model="sequence",
    data=DataRecipe(format="household", kinds=(KIND,), min_sessions=5, min_items=20),
    online=OnlineSettings(max_contexts=500, word_bits=10, max_sessions=4),
    sequence=SequenceRecipe(experts=("logistic",), coreml=()),
    features=FeatureSettings(rows=4, pieces=3, piece_bits=6, words=12, word_bits=8),
    network=NetworkSettings(width=8, hidden=8, word_width=4, user_width=4),
    training=TrainingSettings(epochs=1, batch=64),
    validation=ValidationRecipe(bootstraps=2, baselines=()),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sessions = load_sessions(["household:seed=1,users=2,days=10"], "household")
    parts = parts_of(sessions, READERS["household"].rule, RECIPE)
    fitted = fit(parts, RECIPE)
    out = tmp_path_factory.mktemp("linear") / "bundle"
    save_bundle(out, fitted.predictor.snapshot(), fitted_on=fitted.fitted_on, files=fitted.files)
    return fitted, out


def test_the_mixture_hears_it_beside_the_network(made):
    fitted, out = made
    predictor = load_bundle(out).predictor()
    assert [expert.name for expert in predictor.experts] == ["online", f"sequence_{KIND}", f"logistic_{KIND}"]
    context = Context("person1", "new")
    assert predictor.predict(context) == fitted.predictor.predict(context)
    alone = predictor.experts[2].distribution(context, KIND, 1)
    assert alone.index != {}
    assert predictor.experts[1].distribution(context, KIND, 1).probabilities.tolist() != alone.probabilities.tolist()


def test_it_is_verified_and_stands_in_the_table(made):
    fitted, _ = made
    told = [line for line in fitted.networks[0].verification if line.startswith("logistic, ")]
    assert [line.split(":")[0] for line in told[1:]] == [
        "logistic, onnx",
        "logistic, coreml-fp16",
        "logistic, coreml-fp32",
    ]
    assert (f"logistic_{KIND}", "frozen") in {(row.predictor, row.learn) for row in fitted.validation[KIND]}


def test_a_bundle_without_its_file_is_refused(made, tmp_path):
    fitted, _ = made
    files = {name: held for name, held in fitted.files.items() if not name.startswith("logistic")}
    save_bundle(tmp_path / "bundle", fitted.predictor.snapshot(), files=files)
    with pytest.raises(BundleError, match=rf"no logistic-{KIND}\.onnx, which its state names"):
        load_bundle(tmp_path / "bundle").predictor()


def test_personal_networks_are_built_on_the_network(made):
    bases = bases_of(load_bundle(made[1]))
    assert [base.spec.name for base in bases.values()] == [f"sequence_{KIND}"]


def test_another_expert_than_there_is_is_refused():
    with pytest.raises(ConfigurationError, match=r"sequence\.experts"):
        overridden(RECIPE, 'sequence.experts=["forest"]')
