"""Sentence encoders: the mean of what a real ONNX model says of a real tokenizer's tokens, and what is refused."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("tokenizers")

from preloader.errors import BundleError, ConfigurationError, MissingExtraError
from preloader.prediction import encoder as module
from preloader.prediction.encoder import EncoderSpec, OnnxTextEncoder, check_encoder, open_encoder, spec_of
from preloader.prediction.onnx import OnnxRuntime
from tests.unit.encoder_sample import WIDTH, table, vocabulary, write_encoder


@pytest.fixture
def encoder(tmp_path):
    return OnnxTextEncoder(write_encoder(tmp_path / "tiny"))


def expected(*tokens):
    mean = np.mean([table()[vocabulary()[token]] for token in tokens], axis=0)
    return mean / np.linalg.norm(mean)


@pytest.fixture
def runs(monkeypatch):
    """The token numbers of every run."""
    made, run = [], OnnxRuntime.run

    def noted(self, inputs):
        made.append(inputs["input_ids"].tolist())
        return run(self, inputs)

    monkeypatch.setattr(OnnxRuntime, "run", noted)
    return made


def test_a_text_is_the_mean_of_its_tokens_brought_to_length_one(encoder):
    found = encoder.encode(["lamp please", "unheard"])
    assert found.dtype == np.float32
    assert found.shape == (2, WIDTH)
    np.testing.assert_allclose(found[0], expected("[CLS]", "lamp", "please", "[SEP]"), atol=1e-6)
    assert np.linalg.norm(found[0]) == pytest.approx(1.0)
    assert (encoder.name, encoder.width) == ("tiny", WIDTH)


def test_a_text_that_says_nothing_is_zero(encoder):
    assert not encoder.encode(["", "  \n"]).any()
    assert encoder.encode([]).shape == (0, WIDTH)


def test_the_padding_that_a_tokenizer_asks_for_does_not_count(encoder, tmp_path):
    padded = OnnxTextEncoder(write_encoder(tmp_path / "padded", padding=40))
    assert (padded.encode(["lamp"]) == encoder.encode(["lamp"])).all()


def test_a_model_that_takes_the_tokens_alone_will_do(tmp_path):
    plain = OnnxTextEncoder(write_encoder(tmp_path / "plain", inputs=("input_ids",)))
    np.testing.assert_allclose(plain.encode(["lamp"])[0], expected("[CLS]", "lamp", "[SEP]"), atol=1e-6)


def test_a_vector_is_the_same_to_the_bit_in_any_company(encoder, tmp_path):
    texts = ["lamp please", "song", "door now the lamp " * 30]
    together = encoder.encode(texts)
    fresh = OnnxTextEncoder(tmp_path / "tiny")
    assert all((fresh.encode([text])[0] == vector).all() for text, vector in zip(texts, together, strict=True))


def test_long_texts_are_cut(encoder, runs):
    encoder.encode(["lamp " * 5_000])
    assert len(runs[-1][0]) == module.MAX_TOKENS


def test_the_latest_texts_are_remembered(encoder, runs, monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    first = encoder.encode(["lamp"])
    encoder.encode(["song"])
    before = len(runs)
    assert (encoder.encode(["lamp"]) == first).all()
    assert len(runs) == before
    encoder.encode(["door"])
    encoder.encode(["lamp"])
    assert len(runs) == before + 1
    encoder.encode(["song"])
    assert len(runs) == before + 2


def test_what_is_not_remembered_is_recalled_as_silence(encoder, runs):
    known = encoder.encode(["lamp"])[0]
    before = len(runs)
    recalled = encoder.recall(["lamp", "song"])
    assert (recalled[0] == known).all()
    assert not recalled[1].any()
    assert (len(runs), recalled.dtype) == (before, np.float32)


def test_threads_may_encode_at_once(encoder):
    texts = [f"{word} {other}" for word in vocabulary() for other in vocabulary()]
    alone = [encoder.encode([text])[0] for text in texts]
    encoder._remembered.clear()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: encoder.encode([text])[0], texts * 3))
    assert (np.array(found) == np.array(alone * 3)).all()


def test_the_same_folder_is_opened_once_and_again_where_it_changed(tmp_path):
    folder = write_encoder(tmp_path / "tiny")
    one = open_encoder(folder)
    assert open_encoder(str(folder)) is one
    (folder / "model.onnx").write_bytes((write_encoder(tmp_path / "other", seed=1) / "model.onnx").read_bytes())
    os.utime(folder / "model.onnx", ns=(1, 1))
    other = open_encoder(folder)
    assert other is not one
    assert other.sha256 != one.sha256


def test_another_process_opens_the_folder_for_itself(tmp_path):
    folder = write_encoder(tmp_path / "tiny")
    sent = pickle.dumps(open_encoder(folder))
    assert pickle.loads(sent).sha256 == open_encoder(folder).sha256
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b"\n")
    with pytest.raises(ConfigurationError, match="is another one here"):
        pickle.loads(sent)


def test_either_file_makes_another_encoder(encoder, tmp_path):
    (tmp_path / "tiny" / "tokenizer.json").write_bytes((tmp_path / "tiny" / "tokenizer.json").read_bytes() + b"\n")
    assert OnnxTextEncoder(tmp_path / "tiny").sha256 != encoder.sha256


DAMAGE = {
    "missing": (lambda at: None, r"model\.onnx cannot be read"),
    "no tokenizer": (lambda at: (write_encoder(at) / "tokenizer.json").unlink(), r"tokenizer\.json cannot be read"),
    "no words": (lambda at: (write_encoder(at) / "tokenizer.json").write_text("{}"), "is no tokenizer"),
    "no model": (lambda at: (write_encoder(at) / "model.onnx").write_bytes(b"no"), "is no sentence encoder"),
    "a pooled output": (lambda at: write_encoder(at, output="pooled"), "output 'last_hidden_state'"),
    "other inputs": (lambda at: write_encoder(at, inputs=("pixels",)), "takes pixels, and a sentence encoder takes"),
    "foreign operators": (lambda at: write_encoder(at, domain="com.acme"), "com.acme"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("open_it", [OnnxTextEncoder, open_encoder])
def test_what_is_no_encoder_is_refused_in_one_sentence(damage, open_it, tmp_path):
    make, words = DAMAGE[damage]
    make(tmp_path / "tiny")
    with pytest.raises(ConfigurationError, match=words) as refused:
        open_it(tmp_path / "tiny")
    assert "\n" not in str(refused.value)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    folder = write_encoder(tmp_path / "tiny")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"preloader\[encoder\]"):
        OnnxTextEncoder(folder)


def test_a_network_takes_its_own_encoder_only(encoder, tmp_path):
    own = spec_of(encoder)
    other = OnnxTextEncoder(write_encoder(tmp_path / "other", seed=1))
    check_encoder(own, encoder)
    check_encoder(None, encoder)
    check_encoder(None, None)
    with pytest.raises(BundleError, match=f"'tiny' of SHA-256 {own.sha256}, and 'other' is another one"):
        check_encoder(own, other)
    with pytest.raises(BundleError, match="PRELOADER_ENCODER"):
        check_encoder(own, None)
    assert own == EncoderSpec(name="tiny", width=WIDTH, sha256=encoder.sha256)
