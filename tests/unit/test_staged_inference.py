"""Inference off the loop: batches form, the loop runs on, decisions are those of the unstaged path."""

import asyncio
import threading
import time
from itertools import pairwise

import pytest

from preloader.events import Tier
from preloader.ports import Ready, StagedPredictor
from preloader.prediction import OnlinePredictor
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.testing import FakePredictor, FakeStagedPredictor, random_events
from tests.unit.staged_scene import ANSWERS, Gate, Scene, event, run


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
