"""Fits sequence models and the mixture that they are part of: fit, calibrate, evaluate, fit anew, export, verify.

Networks are drafted on what is not held out. What is held out then calibrates them, and teaches the mixture how far
to believe each of its experts. Last, networks and online predictor are fitted to everything, and take the drafts'
place in that mixture.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from preloader.evaluation import Candidate, Row, evaluate
from preloader.evaluation.cases import items_of, learnable
from preloader.events import Context
from preloader.history import Session
from preloader.learning.baselines import NAMES, sklearn_predictor
from preloader.learning.example_shards import place_of
from preloader.learning.examples import UNKNOWN, moments, uses_label
from preloader.learning.export import to_onnx
from preloader.learning.fit import (
    DraftFacts,
    Fitted,
    NetworkFacts,
    OnStep,
    fitted_on,
    learn,
    online,
    task_of,
    used,
    validate_online,
)
from preloader.learning.forms import Files, forms_of
from preloader.learning.linear_expert import Linear, calibrated, fit_linear
from preloader.learning.lookahead import Trained, calibration_of, fit_network, held_out, inputs_of
from preloader.learning.network import OUTPUTS, USES, SequenceNetwork, parameters
from preloader.learning.parallel import Backend, single_threaded
from preloader.learning.parts import Parts, count_items
from preloader.learning.recipe import Recipe
from preloader.learning.worlds import counterfactuals
from preloader.ndarray import NDArray
from preloader.ports import Predictor, Snapshot
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.sequence import Calibration, OnnxPredictor
from preloader.prediction.uses import EstimatesUse

_VERIFIED_ON = 1_024
_USES_ASKED = 600  # contexts on which the weights of the experts' probabilities of use are fitted


class _Expert(msgspec.Struct, frozen=True, eq=False):
    """A fitted network as the mixture uses it, and the linear models beside it."""

    trained: Trained
    calibration: Calibration
    onnx: bytes
    linears: list[Linear]

    def predictor(self) -> OnnxPredictor:
        trained = self.trained
        return OnnxPredictor(trained.spec(self.calibration), trained.users, self.onnx, trained.features.encoder)

    def predictors(self) -> list[OnnxPredictor]:
        return [self.predictor(), *(linear.predictor() for linear in self.linears)]


@single_threaded()
def fit_sequence(
    parts: Parts, recipe: Recipe, *, workplace: Path | None, backend: Backend | None, on_step: OnStep
) -> Fitted:
    """Fit networks and their mixture with the online predictor; see `fit`.

    On one thread: sums over threads depend on how many there are, and a resumed run has to come to the same bits,
    whatever the process does besides and wherever the examples were made.
    """
    drafts = [_draft(parts, kind, recipe, workplace, backend, on_step) for kind in recipe.data.kinds]
    counted = _counted(parts.fit, recipe, on_step)
    mixture = _mixture(counted, drafts, recipe)
    validation = {draft.trained.features.kind: _validate(parts, draft, counted, recipe, on_step) for draft in drafts}
    _weigh(mixture, parts, drafts, recipe)
    finals, whole, learned = drafts, mixture, parts.fit
    if recipe.sequence.refit and len(parts.whole) > len(parts.fit):
        learned = parts.whole
        finals = [_final(parts, draft, recipe, workplace, backend, on_step) for draft in drafts]
        whole = _mixture(_counted(learned, recipe, on_step), finals, recipe)
        whole.restore_weights(mixture.weights_snapshot())
    whole.forget_sessions()
    exported = [_exported(final, recipe) for final in finals]
    return Fitted(
        whole,
        fitted_on(parts, recipe),
        count_items(learned, recipe),
        used(parts, learned),
        validation,
        {name: content for files, _ in exported for name, content in files.items()},
        [_facts(draft, final, verified) for draft, final, (_, verified) in zip(drafts, finals, exported, strict=True)],
    )


def _draft(
    parts: Parts, kind: str, recipe: Recipe, workplace: Path | None, backend: Backend | None, on_step: OnStep
) -> _Expert:
    outcomes = counterfactuals(recipe, kind)
    trained = fit_network(
        parts.fit,
        kind,
        recipe,
        held_out=parts.validation,
        outcomes=outcomes,
        checkpoint=workplace and workplace / f"{kind}-draft",
        backend=backend,
        on_epoch=on_step,
    )
    calibration = Calibration(temperatures=(1.0,) * recipe.sequence.horizon)
    if recipe.sequence.calibrate:
        place = place_of(workplace, f"{kind}-calibration", recipe, backend)
        calibration = calibration_of(trained, parts.validation, outcomes, recipe.training.waits, place)
    linears = [fit_linear(name, trained) for name in recipe.sequence.experts]
    if linears and recipe.sequence.calibrate:
        asked = held_out(trained, parts.validation, place_of(workplace, f"{kind}-draft-asked", recipe, backend))
        linears = [calibrated(linear, asked) for linear in linears]
    return _Expert(trained, calibration, _onnx(trained), linears)


def _final(
    parts: Parts, draft: _Expert, recipe: Recipe, workplace: Path | None, backend: Backend | None, on_step: OnStep
) -> _Expert:
    kind = draft.trained.features.kind
    outcomes = counterfactuals(recipe, kind)
    checkpoint = workplace and workplace / f"{kind}-final"
    trained = fit_network(
        parts.whole, kind, recipe, outcomes=outcomes, checkpoint=checkpoint, backend=backend, on_epoch=on_step
    )
    linears = [fit_linear(linear.name, trained, linear.calibration) for linear in draft.linears]
    return _Expert(trained, draft.calibration, _onnx(trained), linears)


def _counted(sessions: Sequence[Session], recipe: Recipe, on_step: OnStep) -> list[Snapshot]:
    """Return the states of the online predictors once they have learned sessions."""
    counting = [online(recipe, recipe.data.kinds)]
    if recipe.sequence.second:
        counting.append(online(_deaf(recipe), recipe.data.kinds))
    for predictor in counting:
        learn(predictor, sessions, on_step)
    return [predictor.snapshot() for predictor in counting]


def _mixture(counted: Sequence[Snapshot], experts: Sequence[_Expert], recipe: Recipe) -> MixturePredictor:
    counting = [OnlinePredictor.from_snapshot(snapshot) for snapshot in counted]
    networks = [predictor for expert in experts for predictor in expert.predictors()]
    horizon, calibrate = recipe.sequence.horizon, recipe.sequence.calibrate
    return MixturePredictor([*counting, *networks], recipe.data.kinds, horizon=horizon, calibrate=calibrate)


def _deaf(recipe: Recipe) -> Recipe:
    """Return the recipe of an online predictor that hears no words: where they mislead, it is the better one."""
    return msgspec.structs.replace(recipe, online=msgspec.structs.replace(recipe.online, words=False, label="deaf"))


def _validate(parts: Parts, draft: _Expert, counted: Sequence[Snapshot], recipe: Recipe, on_step: OnStep) -> list[Row]:
    """Score the mixture as it learns, its experts, and what they have to beat, on what is held out."""
    kind = draft.trained.features.kind
    task = task_of(parts, kind, recipe)
    mixture = _mixture(counted, [draft], _only(recipe, kind))
    score = partial(evaluate, task, bootstraps=recipe.validation.bootstraps, on_session=on_step)
    named = [name for name in recipe.validation.baselines if name in NAMES]
    alone = (draft.predictor, *(linear.predictor for linear in draft.linears))
    fitted = [Candidate(make().name, make, fitted=True) for make in alone]
    sklearn = partial(sklearn_predictor, features=recipe.features, horizon=recipe.sequence.horizon)
    vocabulary = draft.trained.features.vocabulary
    fitted += [
        Candidate(name, partial(sklearn, name, parts.fit, kind, vocabulary=vocabulary), fitted=True) for name in named
    ]
    return [
        *score([Candidate(MixturePredictor.name, lambda: mixture, fitted=True)], learn=("online",)),
        *score(fitted, learn=("frozen",)),
        *validate_online(parts, kind, recipe, on_step),
    ]


def _weigh(mixture: MixturePredictor, parts: Parts, drafts: Sequence[_Expert], recipe: Recipe) -> None:
    """Let the mixture learn from what is held out how far to believe each expert."""
    for draft in drafts:
        _weigh_uses(mixture, parts.validation, draft, recipe)
    shuffled = list(parts.validation)
    random.Random(recipe.training.seed).shuffle(shuffled)  # or the weights would end where the last stream left them
    for session in shuffled:
        for event in learnable(session):
            mixture.weigh_one(event)


def _weigh_uses(mixture: MixturePredictor, sessions: Sequence[Session], draft: _Expert, recipe: Recipe) -> None:
    features, steps = draft.trained.features, draft.trained.network.steps
    outcomes = counterfactuals(recipe, features.kind)(sessions, features.vocabulary)
    asked = [(session, one) for session in sessions for one in moments(session, features.kind) if one.events]
    weighed = mixture.mixture(features.kind)
    assert weighed is not None
    chances, used = [], []
    for session, one in asked[:: max(1, len(asked) // _USES_ASKED)]:
        following = [features.number(key) for key in items_of(session, features.kind)[one.items :][:steps]]
        label = uses_label(features, following, outcomes(session)[one.events - 1])[:, 1:]  # (2, keys)
        said = np.stack([_said(expert, one.context, features.vocabulary) for expert in mixture.experts])
        chances.append(np.where(label == UNKNOWN, np.nan, said))  # (experts, 2, keys)
        used.append(label == 1)
    for quantity in range(USES):
        if chances:
            said, came = (np.concatenate(found, axis=-1) for found in (chances, used))
            weighed.uses.fit(quantity, said[:, quantity].T, came[quantity])


def _said(expert: Predictor, context: Context, keys: Sequence[str]) -> NDArray[np.float64]:
    """Return an expert's P(used if loaded) and P(used soon) of some keys, not a number where it cannot say."""
    return expert.uses(context, keys) if isinstance(expert, EstimatesUse) else np.full((USES, len(keys)), np.nan)


def _only(recipe: Recipe, kind: str) -> Recipe:
    return msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, kinds=(kind,)))


def _onnx(trained: Trained) -> bytes:
    return to_onnx(trained.network, inputs_of(trained, 2), OUTPUTS)


def _is_adaptable(trained: Trained, recipe: Recipe) -> bool:
    """Return whether to keep what adapters go on from; a mean of several networks is nothing to train on."""
    return recipe.sequence.adaptable and isinstance(trained.network, SequenceNetwork)


def _exported(final: _Expert, recipe: Recipe) -> tuple[Files, list[str]]:
    """Return the forms of a network that a bundle is to hold, and in words how far all of them are from it."""
    trained = final.trained
    files, verified = forms_of(
        trained.features.kind,
        trained.network,
        final.onnx,
        inputs_of(trained, _VERIFIED_ON),
        OUTPUTS,
        kept=recipe.sequence.coreml,
        weights=trained.learner.state_dict() if _is_adaptable(trained, recipe) else None,
    )
    for linear in final.linears:
        more, told = linear.forms(recipe.sequence.coreml)
        files |= more
        verified += [f"{linear.name}, {line}" for line in told]
    return files, verified


def _facts(draft: _Expert, final: _Expert, verified: list[str]) -> NetworkFacts:
    trained, drafted = final.trained, draft.trained
    return NetworkFacts(
        kind=trained.features.kind,
        parameters=parameters(trained.network),
        vocabulary=len(trained.features.vocabulary),
        users=len(trained.users.names),
        losses=trained.losses,
        calibration=final.calibration,
        verification=verified,
        refitted=final is not draft,
        draft=DraftFacts(
            parameters=parameters(drafted.network),
            vocabulary=len(drafted.features.vocabulary),
            users=len(drafted.users.names),
            losses=drafted.losses,
            held_out=drafted.held_out,
        ),
        encoder=trained.encoder,
    )
