"""A trial of predictors with stages: networks run in the inference thread alone, and are scored on what they said."""

import asyncio
import threading

import pytest

from preloader.events import Context, Event
from preloader.manager import PreloadManager
from preloader.ports import Cost, Ready
from preloader.prediction import OnlinePredictor
from preloader.prediction.anonymous import AnonymousPredictor
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.hotswap import HotSwapPredictor
from preloader.prediction.shadow import SwapState
from preloader.settings import Settings
from preloader.testing import FakeProvider, random_events
from tests.contract.slot_runtime import SlotRuntime


class Watched(SlotRuntime):
    """Writes down in which threads it runs, and may fail or hang there."""

    def __init__(self, during=lambda: None):
        super().__init__()
        self.threads = []
        self.during = during

    def run(self, inputs):
        self.threads.append(threading.get_ident())
        self.during()
        return super().run(inputs)


def mixture(runtime, name="mixture"):
    online = OnlinePredictor()
    made = MixturePredictor([online, AnonymousPredictor(runtime, online=online)])
    made.name = name
    return made


def network(runtime):
    return AnonymousPredictor(runtime)


def use(key, number, session="s"):
    return Event(user="u", session=session, time_s=float(number), action="use", resources=(f"k:{key}",))


def fail():
    raise RuntimeError("no device")


def stages(swap, context):
    begun = swap.begin(context, 3)
    return begun.predictions if isinstance(begun, Ready) else swap.finish(begun, swap.infer([begun])[0])


def go(swap, count, start=0):
    context = Context("u", "s")
    for number in range(start, start + count):
        swap.learn_one(use("abc"[number % 3], number))
        context = context.after(use("abc"[number % 3], number))
        stages(swap, context)
    return swap.status()


@pytest.mark.parametrize("live", [mixture, network, lambda runtime: OnlinePredictor()])
@pytest.mark.parametrize("candidate", [mixture, network])
def test_a_manager_runs_no_network_on_its_loop_while_it_tries_one(live, candidate, monkeypatch):
    live_runtime, runtime = Watched(), Watched()
    monkeypatch.setattr("preloader.prediction.hotswap.open_with_digest", lambda *_: (candidate(runtime), ""))
    events = random_events(5, users=2, sessions=3, length=20)
    provider = FakeProvider({key: Cost(0.0, 10) for event in events for key in event.resources})

    async def serve():
        async with PreloadManager({"component": provider}, predictor=live(live_runtime)) as manager:
            await manager.offer("candidate")
            for event in events:
                manager.observe(event)
                await manager.settled()
            return threading.get_ident(), manager.swap_status()

    loop, status = asyncio.run(serve())
    assert loop not in live_runtime.threads + runtime.threads
    assert len(runtime.threads) >= len(events) // 2
    assert status.state is SwapState.TRIAL
    assert status.items > sum(bool(event.resources) for event in events) // 2


def test_what_nothing_was_said_of_is_not_scored():
    swap = HotSwapPredictor(mixture(Watched()))
    swap.offer(mixture(Watched(), "new"))
    first = go(swap, 5).items
    assert 3 <= first <= 5
    for number in range(5, 25):  # nobody asks meanwhile
        swap.learn_one(use("abc"[number % 3], number))
    assert swap.status().items <= first + 1


def test_a_candidate_is_told_the_same_as_when_it_is_asked():
    """What staged predictors said in time is what they would say on the loop, so both ways score alike."""
    one, other = mixture(Watched()), mixture(Watched())
    one.use_in_stages()
    context = Context("u", "s")
    for number in range(12):
        event = use("abc"[number % 3], number)
        for predictor in (one, other):
            predictor.learn_one(event)
        context = context.after(event)
        assert one.said(context, "k", 1) is None
        request = one.begin(context)
        one.keep(request, one.infer([request])[0])
        said, asked = one.said(context, "k", 1), other.distribution(context, "k", 1)
        assert said.index == asked.index
        assert said.probabilities == pytest.approx(asked.probabilities, abs=0.1)


def test_a_candidate_whose_inference_fails_is_dropped_and_the_live_one_is_heard(caplog):
    swap, alone = HotSwapPredictor(mixture(Watched())), HotSwapPredictor(mixture(Watched()))
    swap.offer(mixture(Watched(fail), "new"))
    for one in (swap, alone):
        go(one, 4)
    context = Context("u", "s").after(use("a", 3))
    assert stages(swap, context) == stages(alone, context) != []
    assert swap.status().counts == {"candidates_offered": 1, "shadows_failed": 1}
    assert "new was dropped: it failed: RuntimeError('no device')" in caplog.text


@pytest.mark.parametrize("live_hangs", [False, True])
def test_a_candidate_that_hangs_is_dropped_and_not_for_the_live_one(live_hangs, caplog):
    go_on, events = threading.Event(), [use("abc"[number % 3], number) for number in range(8)]
    runtimes = [Watched(), Watched()]
    provider = FakeProvider({f"k:{key}": Cost(0.0, 10) for key in "abc"})

    async def serve():
        settings = Settings(inference_timeout_s=0.05)
        async with PreloadManager({"k": provider}, predictor=mixture(runtimes[0]), settings=settings) as manager:
            manager._predictor.offer(mixture(runtimes[1], "new"))
            for event in events[:4]:
                manager.observe(event)
                await manager.settled()
            runtimes[not live_hangs].during = go_on.wait
            manager.observe(events[4])
            await manager.settled()
            status = manager.swap_status()
            go_on.set()
            return status

    status = asyncio.run(serve())
    assert status.live == "mixture"
    assert status.state is (SwapState.TRIAL if live_hangs else SwapState.STEADY)
    assert ("new was dropped: its inference hangs" in caplog.text) is not live_hangs
