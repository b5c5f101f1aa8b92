"""Sentence encoders: what a text means as a vector, for networks that were trained to hear one beside hashed words.

An encoder is a folder with ``model.onnx`` and ``tokenizer.json``, as exporters of sentence transformers write it. Its
token vectors are averaged and brought to length 1 (Reimers & Gurevych, *Sentence-BERT*, EMNLP 2019). Encoders are tens
of megabytes large and shared by many bundles, so a bundle does not hold one: it names it by its SHA-256.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.errors import BundleError, ConfigurationError, require
from preloader.ndarray import NDArray
from preloader.prediction.onnx import OnnxRuntime
from preloader.prediction.runtime import checked_output

MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
OUTPUT = "last_hidden_state"

VARIABLE = "PRELOADER_ENCODER"
"""The environment variable that names the folder of the encoder, for bundles that need one."""

MAX_TOKENS = 256
MAX_WIDTH = 4_096
_REMEMBERED = 2_048  # texts: 3 MB at the usual width of 384
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LEAST = 1e-12

FloatArray = NDArray[np.float32]


class EncoderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which encoder a network was trained with.

    Attributes:
        name: The name of its folder, for people.
        width: The length of its vectors.
        sha256: What it is known by: the SHA-256 of the SHA-256 of model and tokenizer.
    """

    name: Annotated[str, msgspec.Meta(max_length=255)]
    width: Annotated[int, msgspec.Meta(ge=1, le=MAX_WIDTH)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class TextEncoder(Protocol):
    """Makes vectors of texts. `encode` may be called from several threads at once.

    Attributes:
        name: What it is called in messages.
        width: The length of its vectors.
        sha256: What it is known by.
    """

    name: str
    width: int
    sha256: str

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return a vector for each text: (texts, width), of length 1, or 0 for one that says nothing.

        A text's vector is the same to the bit whatever other texts there are. Takes milliseconds a text: for a thread.

        Raises:
            BundleError: The encoder fails, or says what is no number.
        """

    def recall(self, texts: Sequence[str]) -> FloatArray:
        """Return what is remembered of each text, without delay; zeros for one that is not."""


class OnnxTextEncoder:
    """A `TextEncoder` that runs in ONNX Runtime, on one thread.

    Each text is encoded by itself: padding a batch would round otherwise in every company. The latest are remembered.

    Args:
        folder: Where ``model.onnx`` and ``tokenizer.json`` are.

    Raises:
        ConfigurationError: They are missing, damaged, or no sentence encoder.
        MissingExtraError: ``tokenizers`` or ``onnxruntime`` is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.name = self.folder.resolve().name
        model, tokenizer = (_read(self.folder / name) for name in (MODEL, TOKENIZER))
        self.sha256 = sha256(sha256(model).digest() + sha256(tokenizer).digest()).hexdigest()
        self._tokenizer = _tokenizer(self.folder, tokenizer)
        try:
            self._runtime = OnnxRuntime(model, operators=None)  # the user's own, as some exporter wrote it
        except BundleError as error:
            raise ConfigurationError(f"{self.folder / MODEL} is no sentence encoder: {error}") from error
        self.width = self._width()
        self._remembered: OrderedDict[str, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """See `TextEncoder.encode`."""
        found = np.zeros((len(texts), self.width), np.float32)
        for at, text in enumerate(texts):
            vector = self._recalled(text)
            if vector is None:
                vector = self._encoded(text)
                self._remember(text, vector)
            found[at] = vector
        return found

    def recall(self, texts: Sequence[str]) -> FloatArray:
        """See `TextEncoder.recall`."""
        held = [self._recalled(text) for text in texts]
        return np.array([np.zeros(self.width) if one is None else one for one in held], np.float32)

    def _recalled(self, text: str) -> FloatArray | None:
        with self._lock:
            vector = self._remembered.get(text)
            if vector is not None:
                self._remembered.move_to_end(text)
            return vector

    def _remember(self, text: str, vector: FloatArray) -> None:
        with self._lock:
            self._remembered[text] = vector
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _encoded(self, text: str) -> FloatArray:
        tokens = self._tokens(text)
        count = tokens["attention_mask"].shape[1]
        if not count or not text.strip():  # the tokens that begin and end every text are none of it
            return np.zeros(self.width, np.float32)
        hidden = checked_output(self._runtime.run(self._asked(tokens)), OUTPUT, (1, count, self.width))[0]
        heard = tokens["attention_mask"][0, :, None]  # (tokens, 1)
        mean = (hidden * heard).sum(0) / max(heard.sum(), 1)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), _LEAST), np.float32)

    def _tokens(self, text: str) -> dict[str, NDArray[np.int64]]:
        encoding = self._tokenizer.encode(text)
        rows = (encoding.ids, encoding.attention_mask, encoding.type_ids)
        return {name: np.array([row], np.int64) for name, row in zip(_INPUTS, rows, strict=True)}

    def _asked(self, tokens: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.generic]]:
        return {name: tokens[name] for name in self._runtime.inputs}

    def _width(self) -> int:
        """Return the length of the vectors, once the model has shown that it is one of sentences."""
        model = self.folder / MODEL
        unknown = [name for name in self._runtime.inputs if name not in _INPUTS]
        if unknown or "input_ids" not in self._runtime.inputs:
            raise ConfigurationError(
                f"{model} takes {', '.join(self._runtime.inputs)}, and a sentence encoder takes {', '.join(_INPUTS)}"
            )
        try:
            said = self._runtime.run(self._asked({name: np.ones((1, 2), np.int64) for name in _INPUTS}))
        except BundleError as error:
            raise ConfigurationError(f"{model} is no sentence encoder: {error}") from error
        hidden = said.get(OUTPUT)
        if hidden is None or hidden.ndim != 3 or hidden.shape[:2] != (1, 2) or not 1 <= hidden.shape[2] <= MAX_WIDTH:
            shape = "none" if hidden is None else f"one of shape {hidden.shape}"
            raise ConfigurationError(
                f"{model} must have the output {OUTPUT!r} of shape (texts, tokens, width) with a width up to "
                f"{MAX_WIDTH:,}, and has {shape}"
            )
        return int(hidden.shape[2])

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes open the folder for themselves."""
        return _reopened, (str(self.folder.absolute()), self.sha256)


def spec_of(encoder: TextEncoder) -> EncoderSpec:
    """Return what a bundle says of an encoder."""
    return EncoderSpec(name=encoder.name, width=encoder.width, sha256=encoder.sha256)


def check_encoder(spec: EncoderSpec | None, encoder: TextEncoder | None) -> None:
    """Check that an encoder is the one that a network was trained with, if it was with any.

    Raises:
        BundleError: It is another, or missing.
    """
    if spec is None or (encoder is not None and (encoder.sha256, encoder.width) == (spec.sha256, spec.width)):
        return
    wanted = f"the network was trained with the sentence encoder {shown(spec.name)} of SHA-256 {spec.sha256}"
    if encoder is None:
        raise BundleError(f"{wanted}: give its folder as encoder=, or in the environment as {VARIABLE}")
    raise BundleError(f"{wanted}, and {shown(encoder.name)} is another one, of SHA-256 {encoder.sha256}")


def open_encoder(folder: Path | str) -> OnnxTextEncoder:
    """Return the encoder in a folder: the same one for as long as its files are the same, so that texts are shared.

    Raises:
        ConfigurationError: As for `OnnxTextEncoder`.
        MissingExtraError: As for `OnnxTextEncoder`.
    """
    path = Path(folder).absolute()
    stamps = []
    for name in (MODEL, TOKENIZER):
        try:
            state = (path / name).stat()
        except OSError as error:
            raise _unreadable(path / name, error) from error
        stamps.append((state.st_mtime_ns, state.st_size, state.st_ino))
    return _opened(path, tuple(stamps))


@lru_cache(maxsize=4)
def _opened(path: Path, stamps: tuple[tuple[int, int, int], ...]) -> OnnxTextEncoder:
    return OnnxTextEncoder(path)


def _reopened(folder: str, digest: str) -> OnnxTextEncoder:
    encoder = open_encoder(folder)
    if encoder.sha256 != digest:
        raise ConfigurationError(f"the sentence encoder in {folder} is another one here: copy the same files there")
    return encoder


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> ConfigurationError:
    reason = error.strerror or error
    return ConfigurationError(
        f"{file} cannot be read ({reason}); a sentence encoder is a folder with {MODEL} and {TOKENIZER}"
    )


def _tokenizer(folder: Path, content: bytes) -> Any:
    tokenizers = require("tokenizers", "encoder")
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # tokenizers raises bare ones
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{folder / TOKENIZER} is no tokenizer: {reason}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    return tokenizer
