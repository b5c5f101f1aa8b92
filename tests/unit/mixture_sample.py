"""Experts and events to make mixtures of."""

import numpy as np

from preloader.errors import BundleError
from preloader.evaluation.baselines import BASELINES
from preloader.events import ContextTracker, Event
from preloader.ports import Snapshot
from preloader.prediction import OnlinePredictor
from preloader.prediction.distribution import Distribution
from preloader.prediction.experts import MixturePredictor

KIND = "component"


class Oracle:
    """An expert that says what a function of the context says, and counts how often it is asked."""

    def __init__(self, name, say):
        self.name = name
        self.asked = 0
        self._say = say

    def learn_one(self, event):
        pass

    def predict(self, context, steps=3):
        raise AssertionError("a distribution is enough")

    def distribution(self, context, kind, steps):
        self.asked += 1
        said = self._say(context)
        return Distribution({key: at for at, key in enumerate(said)}, np.tile(list(said.values()), (steps, 1)))

    def snapshot(self):
        return Snapshot({"predictor": self.name}, {})

    def restore(self, snapshot):
        if snapshot.meta.get("predictor") != self.name:
            raise BundleError(f"not of {self.name}")


def mixture_of_two(**settings):
    return MixturePredictor([OnlinePredictor(max_contexts=2_000), BASELINES["order2"]()], **settings)


def fitted(predictor, events):
    for event in events:
        predictor.learn_one(event)
    return predictor


def contexts_of(events):
    tracker = ContextTracker()
    return [tracker.observe(event) for event in events]


def event(number, *resources, user="u", session="s", **fields):
    return Event(user=user, session=session, time_s=float(number), action="go", resources=resources, **fields)
