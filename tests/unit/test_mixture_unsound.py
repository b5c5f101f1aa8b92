"""What is no probability: an expert that says it is not heard there, and all else is as it was."""

import math

import numpy as np
import pytest

from preloader.events import Context
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import MixturePredictor
from preloader.testing import random_events
from tests.unit.mixture_sample import KIND, Oracle, contexts_of, fitted


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.2, 1.5])
def test_what_is_no_probability_is_not_heard(wrong, caplog):
    """A third of what one expert says is no probability: the mixture is what it is with an expert that sleeps then."""

    def broken(context):
        return {f"{KIND}:item1": wrong if len(context.recent) % 3 == 0 else 0.5, f"{KIND}:item2": 0.25}

    def sleeping(context):
        return dict.fromkeys(broken(context), 0.0) if len(context.recent) % 3 == 0 else broken(context)

    events = random_events(6)
    predictor, sleeper = (
        fitted(MixturePredictor([OnlinePredictor(), Oracle("net", say)]), events) for say in (broken, sleeping)
    )
    contexts = contexts_of(events)[:60]
    with caplog.at_level("DEBUG"):
        told, told_asleep = ([one.predict(context) for context in contexts] for one in (predictor, sleeper))
    assert [[(p.key, p.per_step) for p in one] for one in told] == [
        [(p.key, pytest.approx(p.per_step)) for p in one] for one in told_asleep
    ]
    assert predictor.unsound["net"] > len(contexts)
    assert sleeper.unsound == {}


def test_of_what_is_no_probability_one_line_is_logged_and_all_is_counted(caplog):
    predictor = MixturePredictor([OnlinePredictor(), Oracle("net", lambda context: {f"{KIND}:item1": math.nan})])
    with caplog.at_level("DEBUG"):
        fitted(predictor, random_events(6))
    (line,) = [record.getMessage() for record in caplog.records if "no probability" in record.getMessage()]
    assert "'net'" in line
    used = sum(len(event.keys(KIND)) for event in random_events(6))
    assert predictor.unsound["net"] >= 3 * used - 3
    assert all(math.isfinite(p.per_step[0]) for p in predictor.predict(contexts_of(random_events(6))[-1]))


def test_a_step_of_which_all_say_what_is_no_probability_is_said_nothing_of():
    oracle = Oracle("net", lambda context: {f"{KIND}:item1": math.nan})
    predictor = fitted(MixturePredictor([oracle], [KIND]), random_events(6))
    assert predictor.predict(Context()) == []


def test_a_use_that_is_no_probability_is_left_to_the_others():
    class Estimating(Oracle):
        def uses(self, context, keys):
            return np.array([[7.0] * len(keys), [-math.inf] * len(keys)])

    events = random_events(6)
    online = fitted(OnlinePredictor(), events)
    estimating = Estimating("net", lambda context: {f"{KIND}:item1": 0.5})
    predictor = fitted(MixturePredictor([OnlinePredictor(), estimating]), events)
    context = contexts_of(events)[-1]
    uses = {p.key: (p.p_use_if_loaded, p.p_use_soon) for p in online.predict(context)}
    for prediction in predictor.predict(context):
        if prediction.key in uses:
            assert (prediction.p_use_if_loaded, prediction.p_use_soon) == pytest.approx(uses[prediction.key], abs=1e-5)
