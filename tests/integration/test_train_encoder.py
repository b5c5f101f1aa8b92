"""A network that hears a sentence encoder: trained, exported, verified, loaded, served off the loop, and refused."""

import asyncio
import logging

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")

from preloader.errors import BundleError, ConfigurationError
from preloader.events import Context, ContextTracker, Event
from preloader.history import Session, SplitRule
from preloader.learning.card import card
from preloader.learning.example_shards import Place, prepare
from preloader.learning.fit import fit
from preloader.learning.linear_expert import fit_linear
from preloader.learning.lookahead import fit_network, inputs_of
from preloader.learning.parallel import Backend
from preloader.learning.parts import parts_of
from preloader.learning.personal_bundle import bases_of
from preloader.learning.recipe import DataRecipe, Recipe, SequenceRecipe, ValidationRecipe, overridden
from preloader.learning.settings import NetworkSettings, TrainingSettings
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.encoder import OnnxTextEncoder, open_encoder
from preloader.prediction.features import Features, FeatureSettings
from preloader.prediction.hotswap import HotSwapPredictor
from preloader.prediction.settings import OnlineSettings
from preloader.replay.unstaged import Unstaged
from preloader.settings import Settings
from preloader.testing import FakeProvider
from tests.unit.encoder_sample import WIDTH, write_encoder

KIND = "component"
ZERO = np.zeros((1, WIDTH), np.float32)
TAUGHT = (("lamp", "light", "lights"), ("song", "music", "player"), ("door", "gate", "door"))
UNHEARD = {"bulb": "lights", "tune": "player", "lock": "door"}
"""Words that no session has, and what those ask for that mean the same to the encoder."""


def said(text, number=0, session="new"):
    return Event(user="ann", session=session, time_s=60.0 * number, action="say", text=text)


def sessions():
    """Return sessions in which the words alone tell what is used next."""
    drawn = np.random.default_rng(0)
    made = []
    for number in range(60):
        events = []
        for turn in range(4):
            *words, key = TAUGHT[drawn.integers(len(TAUGHT))]
            at = 10_000.0 * number + 60.0 * turn
            text = f"{words[drawn.integers(2)]} {('please', 'now')[drawn.integers(2)]}"
            spoken = Event(user="ann", session=f"s{number}", time_s=at, action="say", text=text)
            shown = Event(
                user="ann", session=f"s{number}", time_s=at + 1.0, action="show", resources=(f"{KIND}:{key}",)
            )
            events += [spoken, shown]
        made.append(Session("ann", f"s{number}", tuple(events)))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="module")
def recipe(folder):
    return Recipe(
        name="tiny",
        model="sequence",
        data=DataRecipe(format="events", kinds=(KIND,), min_sessions=5, min_items=20),
        online=OnlineSettings(max_contexts=500, word_bits=10, max_sessions=4),
        sequence=SequenceRecipe(refit=False),
        features=FeatureSettings(rows=3, pieces=3, piece_bits=6, texts=1, words=8, word_bits=8, encoder=str(folder)),
        network=NetworkSettings(width=8, hidden=16, word_width=8, user_width=2, dropout=0.0, word_dropout=0.5),
        training=TrainingSettings(epochs=12, batch=32, rate=0.01),
        validation=ValidationRecipe(bootstraps=2, baselines=("logistic",)),
    )


@pytest.fixture(scope="module")
def fitted(recipe):
    return fit(parts_of(sessions(), SplitRule(), recipe), recipe)


@pytest.fixture(scope="module")
def bundle(fitted, tmp_path_factory):
    out = tmp_path_factory.mktemp("heard") / "bundle"
    save_bundle(out, fitted.predictor.snapshot(), fitted_on=fitted.fitted_on, files=fitted.files)
    return out


def network_of(bundle, folder):
    return load_bundle(bundle).predictor(encoder=folder).experts[1]


def likeliest(predictor, text):
    told = predictor.distribution(Context("ann", "new", (said(text),)), KIND, 1)
    return list(told.index)[int(told.probabilities[0].argmax())]


def test_words_that_training_never_saw_are_understood_by_their_meaning(bundle, folder):
    network = network_of(bundle, folder)
    assert {word: likeliest(network, f"{word} please") for word in UNHEARD} == {
        word: f"{KIND}:{key}" for word, key in UNHEARD.items()
    }


def test_every_form_is_verified(fitted):
    told = [line.split(":")[0] for line in fitted.networks[0].verification]
    assert {"onnx", "coreml-fp16", "coreml-fp32"} <= set(told)


def test_the_bundle_names_the_encoder_and_holds_neither_it_nor_its_place(bundle, folder):
    spec = network_of(bundle, folder).spec
    assert (spec.encoder.name, spec.encoder.width) == ("tiny", WIDTH)
    assert spec.encoder.sha256 == OnnxTextEncoder(folder).sha256
    assert str(folder.parent).encode() not in b"".join(one.read_bytes() for one in bundle.rglob("*") if one.is_file())
    assert not list(bundle.rglob("tokenizer.json"))


def test_the_card_says_which_encoder_is_needed(fitted, recipe, folder):
    written = card(fitted, recipe, "preloader train")
    assert "through the sentence encoder `tiny`" in written
    assert OnnxTextEncoder(folder).sha256 in written


def test_a_mean_of_networks_hears_it_and_a_linear_model_beside_them_does_not(recipe):
    several = overridden(overridden(recipe, "sequence.members=2"), "training.epochs=1")
    trained = fit_network(sessions()[:6], KIND, several)
    inputs = inputs_of(trained, 8)
    with torch.no_grad():
        heard, unheard = (
            trained.network(**given)[0] for given in (inputs, {**inputs, "sentence": inputs["sentence"] * 0})
        )
    assert not torch.equal(heard, unheard)
    linear = fit_linear("logistic", trained)
    assert linear.spec.encoder is None
    assert linear.predictor().predict(Context("ann", "new", (said("lamp please"),)))


def test_the_environment_may_name_the_encoder(bundle, folder, monkeypatch):
    with pytest.raises(BundleError, match=r"encoder 'tiny' of SHA-256 .*: give its folder as encoder="):
        load_bundle(bundle).predictor()
    monkeypatch.setenv("PRELOADER_ENCODER", str(folder))
    assert likeliest(load_bundle(bundle).predictor().experts[1], "lamp please") == f"{KIND}:lights"


def test_another_encoder_is_refused(bundle, tmp_path):
    other = write_encoder(tmp_path / "other", seed=1)
    with pytest.raises(BundleError, match="and 'other' is another one"):
        load_bundle(bundle).predictor(encoder=other)
    with pytest.raises(BundleError, match=r"'tiny' cannot be opened: .*model\.onnx cannot be read"):
        load_bundle(bundle).predictor(encoder=tmp_path / "gone")


def test_inference_hears_what_prediction_does(bundle, folder):
    contexts = [Context("ann", f"n{at}", (said(text),)) for at, text in enumerate(("lamp now", "tune", "", "lock"))]
    network, other = network_of(bundle, folder), network_of(bundle, folder)
    requests = [network.begin(context, 3) for context in contexts]
    answers = network.infer(requests)
    for context, request, answer in zip(contexts, requests, answers, strict=True):
        for one, alone in zip(network.finish(request, answer), other.predict(context), strict=True):
            assert one.key == alone.key
            np.testing.assert_allclose(one.per_step, alone.per_step, atol=1e-6)


def refuse(self, texts):
    raise AssertionError("a text was encoded")


def test_in_stages_a_text_that_is_not_remembered_is_taken_for_silence(bundle, folder, monkeypatch):
    network = network_of(bundle, folder)
    context = Context("ann", "new", (said("bulb the lamp"),))
    heard = network.distribution(context, KIND, 1).probabilities
    silent = network.runtime.run(network.inputs([network.begin(context, 3)], recalled=True) | {"sentence": ZERO})
    network = network_of(bundle, folder)
    network.encode_in_stages()
    assert np.array_equal(network.distribution(context, KIND, 1).probabilities, heard)  # remembered
    open_encoder(folder)._remembered.clear()
    with monkeypatch.context() as patched:
        patched.setattr(OnnxTextEncoder, "encode", refuse)
        told = network_of(bundle, folder)
        told.encode_in_stages()
        before = told.distribution(context, KIND, 1).probabilities
    np.testing.assert_allclose(before, told._softmax(silent["log_probabilities"][0].astype(float))[:1, 1:])
    assert not np.allclose(before, heard)
    told.finish(told.begin(context, 3), told.infer([told.begin(context, 3)])[0])
    assert np.array_equal(told.distribution(context, KIND, 1).probabilities, heard)


def test_a_candidate_on_trial_encodes_nothing_on_the_loop(bundle, folder, monkeypatch):
    open_encoder(folder)._remembered.clear()
    swap = HotSwapPredictor(OnlinePredictor((KIND,)))
    swap.offer(load_bundle(bundle).predictor(encoder=folder))
    tracker = ContextTracker()
    for event in (event for session in sessions()[:3] for event in session.events):
        with monkeypatch.context() as patched:
            patched.setattr(OnnxTextEncoder, "encode", refuse)
            swap.learn_one(event)
            request = swap.begin(tracker.observe(event), 3)
        (result,) = swap.infer([request])  # which a manager has done in a thread
        with monkeypatch.context() as patched:
            patched.setattr(OnnxTextEncoder, "encode", refuse)
            swap.finish(request, result)
    assert swap.status().items > 5
    assert swap.counts["shadows_failed"] == 0


def test_replay_hears_what_is_said(bundle, folder):
    context = Context("ann", "new", (said("bulb please"),))

    async def replayed():
        swap = HotSwapPredictor(Unstaged(load_bundle(bundle).predictor(encoder=folder)))
        return swap.predict(context)

    open_encoder(folder)._remembered.clear()
    assert asyncio.run(replayed()) == load_bundle(bundle).predictor(encoder=folder).predict(context)


class Serving:
    """A manager with the bundle, to which somebody speaks."""

    def __init__(self, bundle):
        provider = FakeProvider({f"{KIND}:{key}": Cost(0.0, 10) for *_, key in TAUGHT})
        self.manager = PreloadManager({KIND: provider}, settings=Settings(waste_budget=None), bundle=bundle)
        self.threads = []

    def hear(self):
        async def main():
            async with self.manager:
                for number, word in enumerate(("lamp", "bulb", "tune")):
                    self.manager.observe(said(f"{word} please", number))
                    await self.manager.settled()

        asyncio.run(main())
        return self.manager.swap_status().live


def test_in_service_texts_are_encoded_off_the_loop(bundle, folder, monkeypatch):
    monkeypatch.setenv("PRELOADER_ENCODER", str(folder))
    heard, encode = [], OnnxTextEncoder.encode

    def noted(self, texts):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            heard.extend(text for text in texts if text)
        else:
            raise AssertionError("a text was encoded on the event loop")
        return encode(self, texts)

    monkeypatch.setattr(OnnxTextEncoder, "encode", noted)
    assert Serving(bundle).hear() == str(bundle)
    assert {"lamp please", "bulb please", "tune please"} <= set(heard)


@pytest.mark.parametrize("place", ["unset", "gone", "other"])
def test_without_its_encoder_the_online_predictor_goes_on_alone(bundle, tmp_path, monkeypatch, caplog, place):
    monkeypatch.delenv("PRELOADER_ENCODER", raising=False)
    if place != "unset":
        monkeypatch.setenv("PRELOADER_ENCODER", str(tmp_path / place))
    if place == "other":
        write_encoder(tmp_path / "other", seed=1)
    serving = Serving(bundle)
    with caplog.at_level(logging.WARNING, "preloader"):
        assert serving.hear() == "online"
    assert serving.manager.statistics().counts["bundles_refused"] == 1
    (record,) = caplog.records
    assert "sentence encoder" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_workers_open_the_encoder_for_themselves(recipe, folder, tmp_path):
    features = Features(KIND, [f"{KIND}:lights"], recipe.features, open_encoder(folder))
    part = sessions()[:8]
    here = prepare(part, features, 3, {})
    stored = prepare(part, features, 3, {}, place=Place(tmp_path / "shards", Backend("loky", 2), None))
    every = np.arange(len(here))
    assert (stored.take(every).arrays["sentence"] == here.take(every).arrays["sentence"]).all()
    assert here.arrays["sentence"].any(axis=1).sum() > 8


def test_no_personal_network_is_built_on_one_with_an_encoder(bundle):
    with pytest.raises(BundleError, match=r"without features\.encoder"):
        bases_of(load_bundle(bundle))


def test_a_recipe_names_an_encoder_that_is_there_and_may_be_heard(recipe, tmp_path):
    wrong = overridden(recipe, f"features.encoder={tmp_path / 'none'}")
    with pytest.raises(ConfigurationError, match=r"model\.onnx cannot be read"):
        fit(parts_of(sessions(), SplitRule(), wrong), wrong)
    with pytest.raises(ConfigurationError, match="use_words = false"):
        overridden(recipe, "features.use_words=false")
