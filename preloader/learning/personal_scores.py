"""How one user is served: by the base, by the online predictor, and by the user's own network, on sessions held out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from preloader.errors import ConfigurationError
from preloader.evaluation import Candidate, Row, Task, evaluate
from preloader.learning.base import Base
from preloader.learning.personal_bundle import learn_once, learned_of, online_of
from preloader.ports import Predictor
from preloader.prediction import Bundle
from preloader.prediction.manifest import session_hash

_BOOTSTRAPS = 200


class Scores(msgspec.Struct, frozen=True):
    """One user's figures.

    Attributes:
        rows: They; none where no session is left to score.
        excluded: How many of the held-out sessions are left out, because the base had learned them.
    """

    rows: list[Row]
    excluded: int


def scores_of(bundle: Bundle, base: Base, personal: Base, task: Task) -> Scores:
    """Score what serves one user, on the next item, each having met the user's fit part once.

    Args:
        bundle: The base's bundle.
        base: Its network.
        personal: The user's own; the base where none is kept.
        task: The user's sessions. Of those to test on, the ones that the base learned are left out.

    Raises:
        ConfigurationError: The bundle does not say what it learned from.
    """
    if bundle.manifest.fitted_on is None:
        raise ConfigurationError(f"{bundle.path} does not say what it learned from, so no test of it would be fair")
    learned = learned_of(bundle)
    test = [one for one in task.test if session_hash(one.user, one.session) not in learned]
    excluded = len(task.test) - len(test)
    if not test:
        return Scores([], excluded)

    def candidate(name: str, make: Callable[[], Predictor]) -> Candidate:
        def taught() -> Predictor:
            predictor = make()
            learn_once(predictor, task.fit, learned)
            return predictor

        return Candidate(name, taught, fitted=True)

    candidates = [
        candidate("base", base.predictor),
        candidate("online", lambda: online_of(bundle)),
        candidate("personalised", personal.predictor),
    ]
    own = msgspec.structs.replace(task, fit=[], test=test, steps=1)
    return Scores(evaluate(own, candidates, learn=("frozen",), bootstraps=_BOOTSTRAPS), excluded)
