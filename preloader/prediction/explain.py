"""Why the online predictor says what it says about one key: which evidence spoke for it, and how loudly."""

from __future__ import annotations

import msgspec
import numpy as np

from preloader.events import Context, Prediction, kind_of
from preloader.prediction.contexts import TEMPLATES
from preloader.prediction.counts import VALUES
from preloader.prediction.kind import Evidence, KindModel
from preloader.prediction.mixture import Scored
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.recency import NAMES
from preloader.prediction.words import spoken

_WORDS_SHOWN = 12


class ContextEvidence(msgspec.Struct, frozen=True):
    """What one context says about the next item.

    Attributes:
        scope: ``global`` or ``user``: whose counts.
        order: How many earlier items it looks at.
        context: The context in words.
        count: How often the key came next, as far as it is not faded.
        total: How often anything did.
        probability: The one by the other.
        weight: How much is made of it: what its evidence is multiplied with, by what the context has seen.
        evidence: What it adds to the key's score, in log-odds.
    """

    scope: str
    order: int
    context: str
    count: float
    total: float
    probability: float
    weight: float
    evidence: float


class Spoken(msgspec.Struct, frozen=True):
    """What a word, a word pair, or a mark of the session adds to the key's score, in log-odds."""

    what: str
    evidence: float


class Explanation(msgspec.Struct, frozen=True):
    """Why a key is predicted.

    Attributes:
        key: The resource.
        known: Whether it was ever seen: an unknown key has no probability.
        prediction: The final probabilities.
        popularity: What its popularity adds to its score, in log-odds.
        contexts: The contexts that were seen before, those with the strongest evidence first.
        marks: What its use in this session adds.
        words: What the latest words add, the strongest first.
    """

    key: str
    known: bool
    prediction: Prediction
    popularity: float = 0.0
    contexts: list[ContextEvidence] = []
    marks: list[Spoken] = []
    words: list[Spoken] = []


def explain(predictor: OnlinePredictor, context: Context, key: str) -> Explanation:
    """Return why ``predictor`` says what it says about ``key`` after ``context``.

    All evidence is that for the next item; a key's share is that of its exponentiated score.
    """
    model = predictor.model(kind_of(key))
    number = model.vocabulary.ids.get(key) if model is not None else None
    if model is None or number is None:
        return Explanation(key, False, Prediction(key, (0.0,) * predictor.settings.horizon, 0.0, 0.0))
    evidence = model.evidence(context)
    scored = model.score(evidence)
    column = int(np.searchsorted(scored.numbers, number))
    if column == len(scored.numbers) or scored.numbers[column] != number:
        return Explanation(key, True, Prediction(key, (0.0,) * predictor.settings.horizon, 0.0, 0.0))
    columns = np.array([column])
    soon, loaded = model.reuse.estimate(*model.reuse.features(scored, columns))
    return Explanation(
        key,
        True,
        Prediction(key, tuple(scored.probabilities[:, column].tolist()), float(loaded[0]), float(soon[0])),
        float(model.mixture.popularity_weight[0, 0] * scored.popularity[column]),
        _contexts(model, evidence, scored, number),
        _marks(model, evidence, number),
        _words(model, context, scored, column),
    )


def _contexts(model: KindModel, evidence: Evidence, scored: Scored, number: int) -> list[ContextEvidence]:
    weights = model.mixture.context_weights(scored)[0]
    told = model.counts.told(model.counts.find(evidence.hashes), number)
    found = [
        ContextEvidence(
            template.scope,
            template.order,
            evidence.past.describe(template),
            count,
            total,
            count / total,
            float(weight),
            float(weight * VALUES[count] + presence) if is_held else 0.0,
        )
        for template, (count, total, is_held), (weight, presence) in zip(TEMPLATES, told, weights, strict=True)
        if total
    ]
    return sorted(found, key=lambda one: -abs(one.evidence))


def _marks(model: KindModel, evidence: Evidence, number: int) -> list[Spoken]:
    weights = model.mixture.mark_weights[0]
    return [
        Spoken(NAMES[mark], float(weights[mark]))
        for marked, mark in zip(*evidence.marks, strict=True)
        if marked == number
    ]


def _words(model: KindModel, context: Context, scored: Scored, column: int) -> list[Spoken]:
    said = model.words.evidence(scored.words[0], scored.hashes[column : column + 1])[:, 0, 0].tolist()
    found = [Spoken(what, value) for what, value in zip(spoken(context), said, strict=False)]
    return sorted(found, key=lambda one: -abs(one.evidence))[:_WORDS_SHOWN]
