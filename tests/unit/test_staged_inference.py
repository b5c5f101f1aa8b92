"""Inference off the loop: batches form, the loop runs on, nothing that fails or hangs stops what follows."""

import asyncio
import logging
import threading
import time
from itertools import pairwise

import pytest

from preloader.events import Event, Tier
from preloader.manager import PreloadManager
from preloader.ports import Cost, Ready, StagedPredictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.shadow import SwapState
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, FakeStagedPredictor, fake_prediction, random_events

KEYS = [f"component:item{at}" for at in range(12)]
ANSWERS = {action: [fake_prediction(f"component:item{at}", 0.95, 0.0, 0.0)] for at, action in enumerate("abcdef")}


def event(action, session="s"):
    return Event(user="u", session=session, time_s=0.0, action=action)


class Gate:
    """Holds every `infer` in its thread until it is opened; says when one has come in."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.threads = set()
        self.inside = 0

    def __call__(self, contexts):
        self.threads.add(threading.get_ident())
        self.inside += 1
        self.entered.release()
        assert self.open.wait(20)
        self.inside -= 1

    async def reached(self):
        while not self.entered.acquire(blocking=False):
            await asyncio.sleep(0.001)


class Scene:
    def __init__(self, predictor, **options):
        self.decided = []
        settings = Settings(waste_budget=None, **options.pop("settings", {}))
        self.provider = FakeProvider({key: Cost(0.0, 10) for key in KEYS})
        self.manager = PreloadManager(
            {"component": self.provider},
            predictor=predictor,
            settings=settings,
            decided=lambda event, decisions: self.decided.append((event.session, event.action, decisions)),
            **options,
        )

    @property
    def order(self):
        return [(session, action) for session, action, _ in self.decided]

    @property
    def counts(self):
        return self.manager.statistics().counts


def run(scene, script, runner=asyncio.run):
    async def main():
        async with scene.manager as manager:
            return await script(manager)

    return runner(main())


def test_the_fake_is_staged_and_the_plain_one_is_not():
    assert isinstance(FakeStagedPredictor({}), StagedPredictor)
    assert not isinstance(FakePredictor({}), StagedPredictor)


def test_decisions_follow_and_loading_with_them():
    scene = Scene(FakeStagedPredictor(ANSWERS))

    async def script(manager):
        assert manager.observe(event("a")) == []
        await manager.settled()
        ((_, _, (decision,)),) = scene.decided
        assert (decision.key, decision.tier) == ("component:item0", Tier.IMMEDIATE)
        await asyncio.sleep(0.01)
        assert scene.provider.started == ["component:item0"]

    run(scene, script)


def test_what_arrives_during_an_inference_is_the_next_batch_in_order_of_arrival():
    gate = Gate()
    predictor = FakeStagedPredictor(ANSWERS, gate)
    scene = Scene(predictor)

    async def script(manager):
        manager.observe(event("a", "s0"))
        await gate.reached()
        for at, action in enumerate("bcdef", start=1):
            manager.observe(event(action, f"s{at}"))
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert predictor.batches == [1, 5]
    assert scene.order == [(f"s{at}", action) for at, action in enumerate("abcdef")]
    assert scene.counts["inferences"] == 6
    assert scene.counts["inference_batches"] == 2


def test_only_the_newest_that_waits_for_a_session_is_inferred():
    gate = Gate()
    predictor = FakeStagedPredictor(ANSWERS, gate)
    scene = Scene(predictor)

    async def script(manager):
        manager.observe(event("a"))
        await gate.reached()
        for action in "bcd":
            manager.observe(event(action))
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert predictor.batches == [1, 1]
    assert scene.order == [("s", "a"), ("s", "d")]
    assert scene.counts["inferences_superseded"] == 2


def test_a_batch_is_bounded():
    gate = Gate()
    predictor = FakeStagedPredictor(ANSWERS, gate)
    scene = Scene(predictor)

    async def script(manager):
        manager.observe(event("a", "first"))
        await gate.reached()
        for at in range(100):
            manager.observe(event("b", f"s{at}"))
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert predictor.batches == [1, 64, 36]
    assert scene.order[1:] == [(f"s{at}", "b") for at in range(100)]


def test_the_loop_runs_on_while_a_thread_infers():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate))

    async def script(manager):
        manager.observe(event("a"))
        await gate.reached()
        for _ in range(50):
            await asyncio.sleep(0)  # would never come back if the loop were held
        assert scene.decided == []
        assert await manager.get("component:item5")
        assert gate.threads
        assert threading.get_ident() not in gate.threads
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert scene.order == [("s", "a")]


def test_many_landings_leave_room_for_others_in_between():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate))
    seen = []

    async def watch():
        while len(scene.decided) < 31:
            seen.append(len(scene.decided))
            await asyncio.sleep(0)
        seen.append(len(scene.decided))

    async def script(manager):
        manager.observe(event("a", "first"))
        await gate.reached()
        for at in range(30):
            manager.observe(event("b", f"s{at}"))
        watcher = asyncio.create_task(watch())
        gate.open.set()
        await manager.settled()
        await watcher

    run(scene, script)
    assert max(after - before for before, after in pairwise(seen)) == 1


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


def test_the_end_of_a_session_drops_what_is_under_way_for_it():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate))

    async def script(manager):
        manager.observe(event("a", "flying"))
        await gate.reached()
        manager.observe(event("b", "waiting"))
        manager.observe(event("c", "other"))
        manager.end_session("u", "flying")
        manager.end_session("u", "waiting")
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert scene.order == [("other", "c")]
    assert scene.counts["inferences_dropped"] == 2


def test_a_session_that_begins_anew_gets_its_own_predictions():
    gate = Gate()
    scene = Scene(FakeStagedPredictor(ANSWERS, gate))

    async def script(manager):
        manager.observe(event("a"))
        await gate.reached()
        manager.end_session("u", "s")
        manager.observe(event("b"))
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert scene.order == [("s", "b")]


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


def test_what_is_ready_at_once_is_decided_at_once_and_overtakes_what_is_older():
    gate = Gate()

    class Sometimes(FakeStagedPredictor):
        def begin(self, context, steps=3):
            ready = context.recent[-1].action == "b"
            return Ready(self.predict(context, steps)) if ready else super().begin(context, steps)

    scene = Scene(Sometimes(ANSWERS, gate))

    async def script(manager):
        manager.observe(event("a"))
        await gate.reached()
        (decision,) = manager.observe(event("b"))
        assert decision.key == "component:item1"
        gate.open.set()
        await manager.settled()

    run(scene, script)
    assert scene.order == [("s", "b")]
    assert scene.counts["inferences_superseded"] == 1


def test_a_listener_that_raises_stops_nothing(caplog):
    scene = Scene(FakeStagedPredictor(ANSWERS))
    scene.manager._decided = lambda event, decisions: 1 / 0

    async def script(manager):
        for action in "ab":
            manager.observe(event(action))
            await manager.settled()
            await asyncio.sleep(0.01)

    run(scene, script)
    assert caplog.text.count("the decided listener failed") == 2
    assert scene.provider.started == ["component:item0", "component:item1"]


class StagedOnline(OnlinePredictor):
    """The online predictor in stages, whose costly one does nothing."""

    def begin(self, context, steps=3):
        return self.predict(context, steps)

    def infer(self, requests):
        return list(requests)

    def finish(self, request, result):
        return result


@pytest.mark.parametrize("virtual", [True, False])
def test_the_decisions_are_those_of_the_unstaged_path(virtual):
    events = random_events(seed=5, users=2, sessions=2, length=15)

    async def loaded(manager):
        while any(tier.queued or tier.loading for tier in manager.statistics().tiers.values()):
            await asyncio.sleep(0)

    def decisions(predictor):
        scene = Scene(predictor, executor=InlineExecutor() if virtual else ThreadExecutor())

        async def script(manager):
            for one in events:
                manager.observe(one)
                await manager.settled()
                await loaded(manager)
                for key in one.resources:
                    await manager.get(key, user=one.user, session=one.session)

        run(scene, script, run_virtual if virtual else asyncio.run)
        return scene.decided, scene.manager.statistics().ledger.needs

    staged, plain = decisions(StagedOnline()), decisions(OnlinePredictor())
    assert [(session, action) for session, action, _ in staged[0]] == [(one.session, one.action) for one in events]
    assert any(made for *_, made in staged[0])
    assert staged == plain


def test_a_slow_inference_does_not_make_observing_slow():
    """Not a time but an order: the observation returns before an inference that sleeps has ended."""
    ended = threading.Event()

    def sleep(contexts):
        time.sleep(0.05)
        ended.set()

    scene = Scene(FakeStagedPredictor(ANSWERS, sleep))

    async def script(manager):
        manager.observe(event("a"))
        assert not ended.is_set()
        await manager.settled()
        assert ended.is_set()

    run(scene, script)
