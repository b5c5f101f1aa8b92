"""The four runs of every comparison: the same manager, with different parts cast.

``lru`` loads on demand only; ``predictive_eviction`` does too, but keeps what is expected; ``preloader`` is the chosen
configuration; ``clairvoyant`` knows the future.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from preloader.cache import make_eviction
from preloader.decision import make_policy
from preloader.events import Context, Event, Prediction
from preloader.ports import DecisionPolicy, Predictor, Provider, Snapshot
from preloader.replay.clairvoyant import ClairvoyantEviction, ClairvoyantPolicy, ClairvoyantPredictor, Foresight
from preloader.replay.metrics import Metrics, measure
from preloader.replay.run import Cast, Casting, Progress, Recording, World, play
from preloader.replay.script import SessionScript

RUNS = ("lru", "predictive_eviction", "preloader", "clairvoyant")
PRELOADER = "preloader"


class NoPredictor:
    """Expects nothing: for a run that does not predict."""

    name = "none"

    def learn_one(self, event: Event) -> None:
        """Learn nothing."""

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return nothing."""
        return []

    def snapshot(self) -> Snapshot:
        """Return an empty snapshot."""
        return Snapshot({}, {})

    def restore(self, snapshot: Snapshot) -> None:
        """There is no state to replace."""


class Contender(msgspec.Struct, frozen=True):
    """The configuration that is compared.

    Attributes:
        predictor: Returns a new predictor that has learned what may be learned before the replay.
        policy: Returns a new decision policy.
        eviction: Name of the eviction policy.
    """

    predictor: Callable[[], Predictor]
    policy: Callable[[], DecisionPolicy]
    eviction: str = "predictive"


def castings(contender: Contender, provider: Provider) -> dict[str, Casting]:
    """Return how each run is cast, by its name; each casting is for one run."""
    predictive = msgspec.structs.replace(contender, policy=lambda: make_policy("none", None), eviction="predictive")
    return {
        "lru": lambda _: Cast(NoPredictor(), make_policy("none", None), make_eviction("lru")),
        "predictive_eviction": contending(predictive),
        PRELOADER: contending(contender),
        "clairvoyant": lambda sessions: _clairvoyant(sessions, provider),
    }


def contending(contender: Contender) -> Casting:
    """Return a casting in which all stores share one predictor and one policy, as one assistant would."""
    shared: list[tuple[Predictor, DecisionPolicy]] = []

    def cast(sessions: Sequence[SessionScript]) -> Cast:
        if not shared:
            shared.append((contender.predictor(), contender.policy()))
        predictor, policy = shared[0]
        return Cast(predictor, policy, make_eviction(contender.eviction))

    return cast


def _clairvoyant(sessions: Sequence[SessionScript], provider: Provider) -> Cast:
    foresight = Foresight(sessions, provider.dependencies)
    return Cast(
        ClairvoyantPredictor(foresight),
        ClairvoyantPolicy(foresight, provider),
        ClairvoyantEviction(foresight),
        listeners=(foresight.served,),
    )


def compare(
    script: Sequence[SessionScript],
    world: World,
    contender: Contender,
    progress: Progress | None = None,
    watch: Callable[[str, Casting], Casting] | None = None,
) -> dict[str, Recording]:
    """Play the script in each of the four runs.

    Args:
        script: The sessions, in order.
        world: What is replayed in.
        contender: The configuration to compare.
        progress: Called after each session with its number of events.
        watch: Given a run's name and casting, returns the casting to play; see `preloader.replay.watch`.
    """
    recordings = {}
    by_run = castings(contender, world.provider)
    for run in sorted(RUNS, key=lambda run: run != PRELOADER):  # first, so that its speed is that of a real predictor
        casting = watch(run, by_run[run]) if watch else by_run[run]
        recordings[run] = play(run, script, world, casting, progress)
    return {run: recordings[run] for run in RUNS}


def measure_all(recordings: Mapping[str, Recording]) -> dict[str, Metrics]:
    """Return the metrics of each run."""
    lru, clairvoyant = recordings["lru"].needs, recordings["clairvoyant"].needs
    return {
        run: measure(run, recording.needs, recording.preloads, lru, clairvoyant, recording.mean_resident_bytes)
        for run, recording in recordings.items()
    }
