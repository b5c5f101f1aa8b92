"""A mixture in service: no network is run while it learns, and only what was said in time earns credit or blame."""

import asyncio
import threading

import numpy as np
import pytest

from preloader.events import Context, ContextTracker, Event
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.distribution import Distribution
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.hotswap import HotSwapPredictor
from preloader.testing import FakeProvider, random_events
from tests.contract.slot_runtime import SlotRuntime


def use(key, number, session="s"):
    return Event(user="u", session=session, time_s=float(number), action="use", resources=(f"k:{key}",))


def interleaved(sessions, rounds):
    return [use("abc"[turn % 3], 10 * turn, name) for turn in range(rounds) for name in sessions]


def mixture():
    online = OnlinePredictor()
    return MixturePredictor([online, AnonymousPredictor(SlotRuntime(), online=online)])


def runs(predictor):
    return predictor.experts[1].runtime.runs


def asked(predictor, context):
    request = predictor.begin(context)
    return predictor.finish(request, predictor.infer([request])[0])


def weights(predictor):
    return predictor.weights_snapshot().arrays


def test_in_stages_the_network_is_run_once_a_context_and_never_while_it_learns():
    predictor, tracker = mixture(), ContextTracker()
    predictor.use_in_stages()
    events = interleaved("xyz", 12)
    for event in events:
        before = runs(predictor)
        predictor.learn_one(event)
        assert runs(predictor) == before
        asked(predictor, tracker.observe(event))
        assert runs(predictor) == before + 1


def test_what_interleaved_sessions_were_told_is_learned_from():
    """Each session's answers are remembered while the others go on: the network earns credit, as when it is asked."""
    events = interleaved("xyz", 20)

    def learned(in_stages):
        predictor, tracker = mixture(), ContextTracker()
        if in_stages:
            predictor.use_in_stages()
        for event in events:
            predictor.learn_one(event)
            asked(predictor, tracker.observe(event))
        return predictor.predict(Context("u", "x", tuple(events[-3:-2])))[0]

    assert learned(True).key == learned(False).key
    assert learned(True).per_step == pytest.approx(learned(False).per_step, abs=0.05)


def test_an_expert_that_was_not_asked_sleeps_for_the_event():
    """Neither credit nor blame: the weights are those of a mixture whose expert had nothing to say."""

    class Silent(AnonymousPredictor):
        def distribution(self, context, kind, steps):
            return super().distribution(context, "nothing", steps)

    online = OnlinePredictor()
    silent = MixturePredictor([online, Silent(SlotRuntime(), online=online)])
    unasked = mixture()
    unasked.use_in_stages()
    for event in interleaved("xy", 10):
        silent.learn_one(event)
        unasked.learn_one(event)
    assert runs(unasked) == 0
    for name, array in weights(unasked).items():
        assert array.tolist() == weights(silent)[name].tolist(), name


def test_without_stages_it_is_asked_about_every_item():
    predictor = mixture()
    events = interleaved("xy", 5)
    for event in events:
        predictor.learn_one(event)
    assert runs(predictor) == len(events) - 1  # of the very first there is nothing to say


def test_what_begins_to_serve_is_used_in_stages():
    live = mixture()
    serving = HotSwapPredictor(live)
    for event in interleaved("xy", 10):
        serving.learn_one(event)
    assert runs(live) == 0


def test_a_kind_that_came_up_during_an_inference_is_not_asked_about_when_it_lands():
    predictor, tracker = mixture(), ContextTracker()
    predictor.use_in_stages()
    context = tracker.observe(use("a", 0))
    predictor.learn_one(use("a", 0))
    request = predictor.begin(context)
    result = predictor.infer([request])[0]
    predictor.learn_one(Event(user="v", session="t", time_s=1.0, action="new", resources=("other:thing",)))
    before = runs(predictor)
    assert predictor.finish(request, result)
    assert runs(predictor) == before


def test_a_manager_never_runs_the_network_on_its_loop(monkeypatch):
    on_loop = []
    run = SlotRuntime.run

    def noted(self, inputs):
        on_loop.append(threading.current_thread() is threading.main_thread())
        return run(self, inputs)

    monkeypatch.setattr(SlotRuntime, "run", noted)
    events = random_events(5, users=2, sessions=3, length=10)
    provider = FakeProvider({key: Cost(0.0, 10) for event in events for key in event.resources})

    async def serve():
        async with PreloadManager({"component": provider}, predictor=mixture()) as manager:
            for event in events:
                manager.observe(event)
                await manager.settled()

    asyncio.run(serve())
    assert len(on_loop) >= len(events) // 2
    assert not any(on_loop)


def test_rows_that_were_not_heard_are_in_the_managers_statistics():
    class Broken(OnlinePredictor):
        def distribution(self, context, kind, steps):
            told = super().distribution(context, kind, steps)
            return Distribution(told.index, np.full_like(told.probabilities, np.nan))

    events = random_events(5, users=1, sessions=1, length=10)
    broken = Broken()
    broken.name = "broken"
    predictor = MixturePredictor([OnlinePredictor(), broken])
    provider = FakeProvider({key: Cost(0.0, 10) for event in events for key in event.resources})

    async def serve():
        async with PreloadManager({"component": provider}, predictor=predictor) as manager:
            for event in events:
                manager.observe(event)
            return manager.statistics().counts

    counts = asyncio.run(serve())
    assert counts["rows_unsound"] == predictor.unsound["broken"] > len(events)
    assert "predictor_errors" not in counts
