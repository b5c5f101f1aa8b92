"""A small replay, for the tests of replays and of what they write."""

from preloader.history import SplitRule, group_sessions, split_sessions
from preloader.prediction import OnlinePredictor
from preloader.replay.study import Laboratory, Plan
from preloader.testing import random_events

KIND = "component"


def plan(seed=7, **changes):
    events = random_events(seed=seed, users=2, sessions=10, length=16, items=8)
    fit, test = split_sessions(group_sessions(events), SplitRule())
    defaults = {"kind": KIND, "fit": fit, "test": test, "budget": 4.0, "waste": 0.3}
    return Plan(**(defaults | changes))


def predictor_of(plan):
    def make():
        predictor = OnlinePredictor(kinds=(plan.kind,), horizon=3)
        for session in plan.fit:
            for event in session.events:
                predictor.learn_one(event)
        return predictor

    return make


def conduct(plan, **options):
    return Laboratory(plan, predictor_of(plan)).conduct(**options)
