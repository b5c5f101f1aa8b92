"""Leaves one data set out: is a model that learned from other assistants of use to one whose actions it never saw?

The model is fitted on all other sources' fit parts and on invented assistants. Then every assistant of the source that
was left out begins anew, with an empty online predictor, and its first events are predicted by that predictor alone,
by the anonymous one, and by the mixture of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from random import Random

import msgspec
import torch
from torch import Tensor

from preloader.evaluation import task_of_split
from preloader.evaluation.cases import items_of
from preloader.evaluation.first_events import FIRST_EVENTS, Beginning, Gain, first_events, gains
from preloader.evaluation.metrics import StepScores
from preloader.history import Session, SplitRule, order_sessions, streams
from preloader.history.annotations import without_annotations
from preloader.learning.anonymous_examples import Assistant, chunks
from preloader.learning.anonymous_fit import OnProgress, fit_anonymous
from preloader.learning.anonymous_network import OUTPUTS, AnonymousNetwork
from preloader.learning.anonymous_settings import AnonymousTraining
from preloader.learning.export import to_onnx
from preloader.learning.invented import KIND, InventedAssistant
from preloader.learning.parallel import single_threaded
from preloader.ports import Predictor
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.anonymous_features import AROUND, CANDIDATE_FEATURES, FLAGS
from preloader.prediction.anonymous_memory import AnonymousSettings
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.onnx import OnnxRuntime
from preloader.prediction.runtime import Runtime

ONLINE, ANONYMOUS, MIXTURE = "online", "anonymous", "mixture"


class Source(msgspec.Struct, frozen=True):
    """A data set.

    Attributes:
        name: Its name.
        kinds: The kinds of its items.
        rule: How it is split.
        histories: All of it; a history whose users are apart holds one assistant for each of them.
        shared: Whether all users of a history share one assistant, as in a household.
        max_items: About how many items of a kind are learned from each assistant at most.
    """

    name: str
    kinds: tuple[str, ...]
    rule: SplitRule
    histories: Sequence[Sequence[Session]]
    shared: bool = False
    max_items: int = 16_000


def assistants_of(source: Source, seed: int = 0) -> list[Assistant]:
    """Return the assistants of a source's fit part, of sessions that are a test for none of its kinds."""
    found = []
    for history in source.histories:
        tasks = [task_of_split(history, source.rule, kind, seed) for kind in source.kinds]
        tested = {(one.user, one.session) for task in tasks for one in task.test}
        fit = [one for task in tasks for one in task.fit if (one.user, one.session) not in tested]
        found += assistants_in(list({(one.user, one.session): one for one in fit}.values()), source, seed)
    return found


def assistants_in(sessions: Sequence[Session], source: Source, seed: int = 0) -> list[Assistant]:
    """Return the assistants of some of a source's sessions: one for each kind and stream that has items of it."""
    found = []
    for kind in source.kinds:
        holding = [without_annotations(one, kind) for one in sessions if items_of(one, kind)]
        learned = [next(chunks(stream, kind, source.max_items)) for stream in streams_of(holding, source, seed)]
        found += [Assistant(f"{source.name} {kind}", kind, stream) for stream in learned]
    return found


def invented_assistants(count: int, items: int = 250) -> list[Assistant]:
    """Return assistants that were drawn at random; see `InventedAssistant`."""
    return [Assistant(KIND, KIND, InventedAssistant(seed).sessions(items)) for seed in range(count)]


def beginnings_of(source: Source, kind: str, a_stream: int, seed: int = 0) -> list[Beginning]:
    """Return new assistants: each stream of a source, begun at up to so many places, evenly apart."""
    found = []
    for history in source.histories:
        holding = [without_annotations(one, kind) for one in history if items_of(one, kind)]
        for sessions in streams_of(holding, source, seed):
            cut = list(chunks(sessions, kind, FIRST_EVENTS))[:-1]  # the last one may be short
            found += [Beginning(kind, one) for one in cut[:: max(len(cut) // a_stream, 1)][:a_stream]]
    return found


def runtime_of(network: AnonymousNetwork, recent: int) -> OnnxRuntime:
    """Return what runs a network; it is exported first."""
    return OnnxRuntime(to_onnx(network, example_inputs(network, recent), OUTPUTS))


def example_inputs(network: AnonymousNetwork, recent: int) -> dict[str, Tensor]:
    """Return one row of each of a network's inputs, for exporting it.

    Args:
        network: It.
        recent: How many items it reads as a sequence.
    """
    return {
        "candidates": torch.zeros(1, network.slots, CANDIDATE_FEATURES),
        "present": torch.ones(1, network.slots),
        "around": torch.zeros(1, AROUND),
        "recent": torch.zeros(1, recent, dtype=torch.int32),
        "flags": torch.zeros(1, recent, FLAGS),
    }


@single_threaded()
def leave_out(
    left: Source,
    others: Iterable[Source],
    training: AnonymousTraining,
    invented: int,
    a_stream: int = 4,
    on_progress: OnProgress = lambda batch, loss: None,
    on_assistant: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Gain]]:
    """Fit on all others, and measure on what was left out; on one thread, as `fit_sources` does.

    Args:
        left: The source that was left out.
        others: What is learned from.
        training: How.
        invented: How many invented assistants are learned from, too.
        a_stream: At how many places each stream of ``left`` begins anew.
        on_progress: As for `fit_anonymous`.
        on_assistant: Called after each new assistant and predictor.

    Returns:
        For each kind, the figures of the next item by predictor, and what each gains over the online predictor alone.
    """
    assistants = [one for source in others for one in assistants_of(source, training.seed)]
    network = fit_anonymous([*assistants, *invented_assistants(invented)], training, on_progress)
    runtime = runtime_of(network, training.features.recent)
    begun = {kind: beginnings_of(left, kind, a_stream, training.seed) for kind in left.kinds}
    return {kind: compared(runtime, training.features, found, on_assistant) for kind, found in begun.items() if found}


def compared(
    runtime: Runtime,
    features: AnonymousSettings,
    begun: Sequence[Beginning],
    on_assistant: Callable[[], None] = lambda: None,
) -> dict[str, Gain]:
    """Return what new assistants gain from a network over the online predictor alone, on the next item.

    Args:
        runtime: Runs the network.
        features: What it sees.
        begun: The assistants.
        on_assistant: Called after each of them and predictor.
    """
    makers: dict[str, Callable[[str], Predictor]] = {
        ONLINE: lambda kind: OnlinePredictor([kind]),
        ANONYMOUS: lambda kind: AnonymousPredictor(runtime, features, [kind]),
        MIXTURE: lambda kind: mixture_of(runtime, features, [kind]),
    }
    scores: dict[str, StepScores] = {
        name: first_events(make, begun, on_assistant=on_assistant)[0] for name, make in makers.items()
    }
    return gains(scores, ONLINE)


def mixture_of(
    runtime: Runtime, features: AnonymousSettings, kinds: Sequence[str] | None = None, digest: str = ""
) -> MixturePredictor:
    """Return a mixture that has learned nothing yet: an online predictor, and a network that hears its opinion.

    Args:
        runtime: Runs the network.
        features: What it sees.
        kinds: The kinds to predict; every kind that is met, if not given.
        digest: The SHA-256 of the network.
    """
    online = OnlinePredictor(kinds)
    return MixturePredictor([online, AnonymousPredictor(runtime, features, kinds, online, digest)], kinds)


def streams_of(sessions: Sequence[Session], source: Source, seed: int) -> list[list[Session]]:
    """Return each assistant's sessions: in order of time, or shuffled where times say nothing."""
    rule = source.rule
    ordered = order_sessions(sessions, rule, seed)
    if source.shared or not rule.per_user:
        return [ordered]
    if rule.order == "time":
        return [list(stream.sessions) for stream in streams(sessions, rule, seed)]
    Random(seed).shuffle(ordered)
    ordered.sort(key=lambda session: session.user)
    return [list(held) for _, held in groupby(ordered, key=lambda session: session.user)]
