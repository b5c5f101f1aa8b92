"""Inference off the loop that fails, hangs or is cut off: what follows goes on, and nothing is left behind."""

import asyncio
import logging

import pytest

from preloader.events import Event
from preloader.prediction.shadow import SwapState
from preloader.scheduling.execution import ThreadExecutor
from preloader.testing import FakePredictor, FakeStagedPredictor, fake_prediction
from tests.unit.staged_scene import ANSWERS, Gate, Scene, event, run


@pytest.mark.parametrize("stage", ["begin", "infer", "finish", "too few"])
def test_what_fails_is_logged_and_counted_and_does_not_stop_what_follows(stage, caplog):
    class Failing(FakeStagedPredictor):
        failing = True

        def begin(self, context, steps=3):
            if self.failing and stage == "begin":
                raise OSError("no stage")
            return super().begin(context, steps)

        def infer(self, requests):
            if self.failing and stage == "infer":
                raise OSError("no stage")
            return super().infer(requests)[: 0 if self.failing and stage == "too few" else None]

        def finish(self, request, result):
            if self.failing and stage == "finish":
                raise OSError("no stage")
            return super().finish(request, result)

    predictor = Failing(ANSWERS)
    scene = Scene(predictor)

    async def script(manager):
        with caplog.at_level(logging.ERROR, "preloader"):
            manager.observe(event("a"))
            await manager.settled()
        predictor.failing = False
        manager.observe(event("b"))
        await manager.settled()

    run(scene, script)
    (_, _, none), (_, _, (decision,)) = scene.decided
    assert none == []
    assert decision.key == "component:item1"
    assert ("0 results for 1" if stage == "too few" else "no stage") in caplog.text
    assert scene.counts["predictor_errors" if stage == "begin" else "inference_errors"] == 1


def test_a_hanging_inference_is_given_up_and_the_next_one_runs(caplog):
    gate = Gate()
    predictor = FakeStagedPredictor(ANSWERS, lambda contexts: gate(contexts) if len(predictor.batches) == 1 else None)
    scene = Scene(predictor, settings={"inference_timeout_s": 0.05})

    async def script(manager):
        manager.observe(event("a", "one"))
        await gate.reached()
        manager.observe(event("b", "two"))
        await manager.settled()
        gate.open.set()

    run(scene, script)
    assert [(session, bool(decisions)) for session, _, decisions in scene.decided] == [("one", False), ("two", True)]
    assert scene.counts["inference_timeouts"] == 1
    assert "was given up after 0.05 s" in caplog.text


def test_hanging_inferences_do_not_use_up_the_loaders_threads():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate), settings={"inference_timeout_s": 0.01})

    async def script(manager):
        for _ in range(8):
            manager.observe(event("a"))
            await manager.settled()
        assert gate.inside == 4
        gate.open.set()
        while gate.inside:
            await asyncio.sleep(0.001)
        manager.observe(event("b"))
        await manager.settled()

    run(scene, script)
    assert scene.counts["inference_timeouts"] == 4
    assert scene.counts["inference_errors"] == 4
    assert scene.decided[-1][2][0].key == "component:item1"


def test_a_promoted_predictor_that_hangs_is_rolled_back():
    gate = Gate()
    scene = Scene(FakePredictor(ANSWERS), settings={"inference_timeout_s": 0.01})
    swap = scene.manager._predictor
    used = Event(user="u", session="s", time_s=0.0, action="a", resources=("component:item5",))

    async def script(manager):
        swap.offer(FakeStagedPredictor(lambda context, steps: [fake_prediction("component:item5", 0.9)], gate), "new")
        for _ in range(100):
            swap.learn_one(used)
        assert swap.status().state is SwapState.PROBATION
        assert manager.observe(event("a")) == []
        await manager.settled()
        gate.open.set()
        (decision,) = manager.observe(event("b"))
        assert decision.key == "component:item1"

    run(scene, script)
    assert swap.status().live == "fake"
    assert scene.counts["candidates_rolled_back"] == 1


def test_shutdown_leaves_nothing_behind():
    gate = Gate()
    executor = ThreadExecutor()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate), executor=executor)

    async def main():
        async with scene.manager as manager:
            manager.observe(event("a"))
            await gate.reached()
            manager.observe(event("b"))
            waiter = asyncio.create_task(manager.settled())
        await waiter
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gate.open.set()
        while executor.live:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert scene.decided == []
    scene.provider.assert_all_unloaded()


def test_a_cancelled_manager_stops_inferring():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate))

    async def life():
        async with scene.manager as manager:
            manager.observe(event("a"))
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(life())
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gate.open.set()

    asyncio.run(main())
    assert scene.decided == []


def test_a_listener_that_raises_stops_nothing(caplog):
    scene = Scene(FakeStagedPredictor(ANSWERS))
    scene.manager._foresight._decided = lambda event, decisions: 1 / 0

    async def script(manager):
        for action in "ab":
            manager.observe(event(action))
            await manager.settled()
            await asyncio.sleep(0.01)

    run(scene, script)
    assert caplog.text.count("the decided listener failed") == 2
    assert scene.provider.started == ["component:item0", "component:item1"]
