"""The sequence predictor: a network that was trained offline, run here, told apart only by what runs it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.events import Context, Event, Prediction, kind_of
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.coreml import CoreMLRuntime
from preloader.prediction.distribution import Distribution, likeliest
from preloader.prediction.encoder import EncoderSpec, TextEncoder, check_encoder
from preloader.prediction.features import Arrays, Features, FeatureSettings, latest_text, stack
from preloader.prediction.onnx import OnnxRuntime
from preloader.prediction.runtime import Runtime, checked_output
from preloader.prediction.state import fitting
from preloader.prediction.users import UserVectors

NAME: Literal["sequence"] = "sequence"
"""What a sequence predictor's state is called; its own name adds the kind, since a mixture has one for each."""

VERSION = 1
MAX_VOCABULARY = 4_096
_HOPELESS = 1e-4
_MAX_ANSWERS = 64  # sessions whose latest answer is remembered
_MOST_ODDS = 30.0

FloatArray = NDArray[np.float64]
Temperature = Annotated[float, msgspec.Meta(gt=0.05, lt=20.0)]


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes the network's figures come true as often as they say, found on validation.

    Attributes:
        temperatures: What each step's log-probabilities are divided by (Guo et al., ICML 2017).
        slopes: What the log-odds of use (if loaded, soon) are multiplied by (Platt 1999).
        offsets: What is added to them then.
    """

    temperatures: tuple[Temperature, ...]
    slopes: tuple[float, float] = (1.0, 1.0)
    offsets: tuple[float, float] = (0.0, 0.0)


class SequenceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network was made for: all that is needed beside it to predict.

    Attributes:
        kind: The kind of the items.
        vocabulary: The keys that have a number.
        horizon: How many items ahead.
        features: What it sees.
        calibration: See `Calibration`.
        users: The users who have a vector of their own.
        model: What it is: a network, or a linear model, which says nothing of how likely keys are used.
        encoder: Which sentence encoder it hears texts through, too; none if not given.
    """

    kind: str
    vocabulary: Annotated[list[str], msgspec.Meta(max_length=MAX_VOCABULARY)]
    horizon: Annotated[int, msgspec.Meta(ge=1, le=16)]
    features: FeatureSettings
    calibration: Calibration
    users: list[str] = []
    model: Literal["sequence", "logistic"] = NAME
    encoder: EncoderSpec | None = None

    @property
    def name(self) -> str:
        """What a predictor is called that runs it."""
        return f"{self.model}_{self.kind}"

    @property
    def stem(self) -> str:
        """What its files in a bundle are called, before their suffixes."""
        return self.kind if self.model == NAME else f"{self.model}-{self.kind}"

    def __post_init__(self) -> None:
        if len(self.calibration.temperatures) != self.horizon:
            raise ValueError(f"there must be {self.horizon} temperatures, one a step")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("the vocabulary names a key twice")
        if self.features.encoder:
            raise ValueError(f"the features name the folder {shown(self.features.encoder)}, which is for training only")


class Request(msgspec.Struct, frozen=True, eq=False):
    """What is asked of the network: the features of one context, and the text that a sentence encoder is to hear."""

    context: Context
    arrays: Arrays
    text: str
    steps: int


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What the network said, calibrated.

    Attributes:
        probabilities: Shape (horizon, 1 + vocabulary); column 0 is for every key outside the vocabulary.
        uses: P(used if loaded), P(used soon): shape (2, 1 + vocabulary); not a number where the network cannot say.
    """

    probabilities: FloatArray
    uses: FloatArray


class SequencePredictor:
    """Predicts the items of one kind with a trained network. Its weights never change here.

    What it learns from events is only whom a user not met in training is like (`UserVectors`).

    Args:
        spec: What the network was made for.
        runtime: Runs it.
        users: The vectors of the users that ``spec`` names.
        digest: The SHA-256 of the network, by which a saved state knows its own.
        encoder: The sentence encoder that the spec names.
        max_predictions: How many predictions are made at most.

    Raises:
        BundleError: The users or the encoder do not fit the spec.
    """

    def __init__(
        self,
        spec: SequenceSpec,
        runtime: Runtime,
        users: UserVectors,
        digest: str = "",
        encoder: TextEncoder | None = None,
        max_predictions: int = 64,
    ) -> None:
        check_encoder(spec.encoder, encoder)
        if list(users.names) != spec.users or users.profiles.shape[1] != len(spec.vocabulary) + 1:
            raise BundleError("the users' vectors do not fit the network's vocabulary")
        self.name = spec.name
        self.spec = spec
        self.runtime = runtime
        self.digest = digest
        self._features = Features(spec.kind, spec.vocabulary, spec.features)
        self._encoder = encoder if spec.encoder else None
        self._encodes_in_stages = False
        self._users = users
        self._index = {key: column for column, key in enumerate(spec.vocabulary)}
        self._temperatures = np.array(spec.calibration.temperatures)[:, None]
        self._max_predictions = max_predictions
        self._answers: OrderedDict[tuple[str, str], tuple[Context, Answer]] = OrderedDict()  # by user and session

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind that it predicts."""
        return (self.spec.kind,)

    @property
    def horizon(self) -> int:
        """How many items ahead it looks."""
        return self.spec.horizon

    def encode_in_stages(self) -> None:
        """Encode no text, from now on, but in `infer`: it takes milliseconds, for which an event loop must not wait.

        Whoever asks otherwise hears what the network says where a text that is not remembered is taken for silence, as
        some are in training.
        """
        self._encodes_in_stages = self._encoder is not None

    def learn_one(self, event: Event) -> None:
        """Take note of what a user does; see `Predictor.learn_one`."""
        if self._users.knows(event.user):
            return
        numbers = [self._features.number(key) for key in event.resources if kind_of(key) == self.spec.kind]
        for number in numbers:
            self._users.observe(event.user, number)
        if numbers:
            for slot in [slot for slot in self._answers if slot[0] == event.user]:
                del self._answers[slot]

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return predictions for the likeliest keys of the vocabulary; see `Predictor.predict`."""
        self._check_steps(steps)
        return self._predictions(self.answer(context), steps)

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what `predict` says as an array; what it lacks to 1 is for the keys outside the vocabulary."""
        self._check_steps(steps)
        if kind != self.spec.kind:
            return Distribution({}, np.zeros((steps, 0)))
        return Distribution(self._index, self.answer(context).probabilities[:steps, 1:])

    def said(self, context: Context, kind: str, steps: int) -> Distribution | None:
        """Return what it last said of a session, if that was this very context; asks nothing. See `Expert`."""
        latest = self._answers.get((context.user, context.session))
        if kind != self.spec.kind or latest is None or latest[0] != context:
            return None
        return Distribution(self._index, latest[1].probabilities[:steps, 1:])

    def answer(self, context: Context) -> Answer:
        """Return what the network says of a context; of a session's latest one without asking it again."""
        latest = self._answers.get((context.user, context.session))
        if latest is not None and latest[0] == context:
            return latest[1]
        asked = [self.begin(context, self.horizon)]
        if self._encodes_in_stages:
            return self._asked(asked, self.inputs(asked, recalled=True))[0]
        answer = self.infer(asked)[0]
        self._remember(context, answer)
        return answer

    def begin(self, context: Context, steps: int) -> Request:
        """Return what is to be asked; see `StagedPredictor`."""
        self._check_steps(steps)
        arrays = self._features.of(context)
        arrays["user"] = self._users.of(context.user)
        if self.spec.model != NAME:  # it looks at some of them
            arrays = {name: array for name, array in arrays.items() if name in self.runtime.inputs}
        return Request(context, arrays, latest_text(context) if self._encoder else "", steps)

    def infer(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask the network, once for all; see `StagedPredictor`.

        Raises:
            BundleError: The network does not fit the spec, or says what is no number.
        """
        return self._asked(requests, self.inputs(requests))

    def inputs(self, requests: Sequence[Request], *, recalled: bool = False) -> Arrays:
        """Return what the network is given for requests.

        Args:
            requests: They.
            recalled: Whether to encode no text, and take those that are not remembered for silence.
        """
        arrays = stack(one.arrays for one in requests)
        if self._encoder is not None:
            hear = self._encoder.recall if recalled else self._encoder.encode
            arrays["sentence"] = hear([one.text for one in requests])
        return arrays

    def _asked(self, requests: Sequence[Request], inputs: Arrays) -> list[Answer]:
        said = self.runtime.run(inputs)
        keys = len(self.spec.vocabulary) + 1
        logs = checked_output(said, "log_probabilities", (len(requests), self.horizon, keys))
        odds = np.full((len(requests), 2, keys), np.nan)
        if self.spec.model == NAME:
            odds = checked_output(said, "uses", odds.shape)
        return [Answer(self._softmax(logs[at]), self._used(odds[at])) for at in range(len(requests))]

    def finish(self, request: Request, answer: Answer) -> list[Prediction]:
        """Return the predictions; see `StagedPredictor`."""
        self.keep(request, answer)
        return self._predictions(answer, request.steps)

    def keep(self, request: Request, answer: Answer) -> None:
        """Take note of what `infer` returned, of which ``distribution`` and ``uses`` then speak without delay."""
        self._remember(request.context, answer)

    def uses(self, context: Context, keys: Sequence[str]) -> FloatArray:
        """Return P(used if loaded) and P(used soon) of some keys: shape (2, keys); of unknown keys, not a number."""
        told = self.answer(context).uses
        columns = [self._features.number(key) for key in keys]
        found = told[:, columns]
        found[:, [not column for column in columns]] = np.nan
        return found

    def snapshot(self) -> Snapshot:
        """Return all but the network itself, which the state names by its SHA-256."""
        meta = {
            "predictor": NAME,
            "version": VERSION,
            "spec": msgspec.to_builtins(self.spec),
            "network": self.digest,
            "strangers": self._users.strangers(),
        }
        return Snapshot(meta, {"users": self._users.vectors.copy(), "profiles": self._users.profiles.copy()})

    def restore(self, snapshot: Snapshot) -> None:
        """Replace what is remembered of users; see `Predictor.restore`.

        Raises:
            BundleError: The snapshot is damaged, or of another network.
        """
        spec, users = read_sequence(snapshot)
        if snapshot.meta.get("network") != self.digest or spec != self.spec:
            raise BundleError("the state belongs to another network than the one that is loaded")
        self._users = users
        self._answers.clear()

    def _check_steps(self, steps: int) -> None:
        if not 1 <= steps <= self.horizon:
            raise ValueError(f"steps must be from 1 to {self.horizon}, not {steps}")

    def _remember(self, context: Context, answer: Answer) -> None:
        slot = (context.user, context.session)
        self._answers[slot] = (context, answer)
        self._answers.move_to_end(slot)
        if len(self._answers) > _MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _softmax(self, logs: FloatArray) -> FloatArray:
        warmed = logs / self._temperatures
        powers = np.exp(warmed - warmed.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _used(self, odds: FloatArray) -> FloatArray:
        calibration = self.spec.calibration
        slopes, offsets = np.array(calibration.slopes)[:, None], np.array(calibration.offsets)[:, None]
        if_loaded, soon = 1.0 / (1.0 + np.exp(-np.clip(odds * slopes + offsets, -_MOST_ODDS, _MOST_ODDS)))
        return np.stack([np.maximum(if_loaded, soon), soon])

    def _predictions(self, answer: Answer, steps: int) -> list[Prediction]:
        chances, uses = answer.probabilities[:steps, 1:], answer.uses[:, 1:]
        uses = np.where(np.isnan(uses), 1.0 - np.prod(1.0 - chances, axis=0), uses)  # as if steps were independent
        order = likeliest(chances[0], self._max_predictions)
        chances, uses = chances[:, order], uses[:, order]
        hopeful = (chances >= _HOPELESS).any(axis=0) | (uses[0] >= _HOPELESS)
        order, chances, uses = order[hopeful], chances[:, hopeful], uses[:, hopeful]
        columns = zip(order.tolist(), chances.T.tolist(), *uses.tolist(), strict=True)
        keys = self.spec.vocabulary
        return [Prediction(keys[at], tuple(per_step), if_loaded, soon) for at, per_step, if_loaded, soon in columns]


class OnnxPredictor(SequencePredictor):
    """A sequence predictor whose network runs in ONNX Runtime, everywhere.

    Args:
        spec: What the network was made for.
        users: The vectors of the users that ``spec`` names.
        model: The bytes of the ONNX file.
        encoder: The sentence encoder that ``spec`` names.

    Raises:
        BundleError: The model cannot be read, or does not fit the spec.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(
        self, spec: SequenceSpec, users: UserVectors, model: bytes, encoder: TextEncoder | None = None
    ) -> None:
        super().__init__(spec, OnnxRuntime(model), users, sha256(model).hexdigest(), encoder)


class CoreMLPredictor(SequencePredictor):
    """A sequence predictor whose network runs in CoreML, on macOS.

    Args:
        spec: What the network was made for.
        users: The vectors of the users that ``spec`` names.
        runtime: The opened model.
        digest: The SHA-256 of the bundle's ONNX network, which both forms share as their name.
        encoder: The sentence encoder that ``spec`` names.
    """

    def __init__(
        self,
        spec: SequenceSpec,
        users: UserVectors,
        runtime: CoreMLRuntime,
        digest: str = "",
        encoder: TextEncoder | None = None,
    ) -> None:
        super().__init__(spec, runtime, users, digest, encoder)


def read_sequence(snapshot: Snapshot) -> tuple[SequenceSpec, UserVectors]:
    """Return what a saved state says.

    Raises:
        BundleError: It is of another predictor or version, or damaged.
    """
    meta = snapshot.meta
    for field, expected in (("predictor", NAME), ("version", VERSION)):
        if meta.get(field) != expected:
            raise BundleError(f"the state's {field} is {meta.get(field)!r}; a sequence predictor's is {expected!r}")
    try:
        spec = msgspec.convert(meta["spec"], SequenceSpec)
        return spec, _users(spec, snapshot.arrays, meta["strangers"])
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"the state of the sequence predictor is damaged: {error}") from error


def _users(spec: SequenceSpec, arrays: Mapping[str, NDArray[np.generic]], strangers: Mapping[str, Any]) -> UserVectors:
    vectors, profiles = arrays["users"], arrays["profiles"]
    count, keys = len(spec.users), len(spec.vocabulary) + 1
    width = vectors.shape[1] if vectors.ndim == 2 else 0
    fitting("users", vectors, np.zeros((count, width), np.float32))
    fitting("profiles", profiles, np.zeros((count, keys), np.float32))
    users = UserVectors(spec.users, vectors.astype(np.float32), profiles.astype(np.float32))
    users.restore_strangers(strangers)
    return users
