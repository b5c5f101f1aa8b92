"""A learned bundle in service: inferred by onnxruntime off the loop, and deciding as it would on it."""

import asyncio
import logging
import sys
import threading

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from preloader.decision import make_policy
from preloader.history import group_sessions
from preloader.manager import PreloadManager
from preloader.ports import Cost, StagedPredictor
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.experts import MixturePredictor
from preloader.prediction.onnx import OnnxRuntime
from preloader.replay.comparators import Contender, compare, measure_all
from preloader.replay.run import World
from preloader.replay.script import write_script
from preloader.replay.sizes import SimulatedProvider
from preloader.replay.unstaged import Unstaged
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, FakeStagedPredictor, fake_prediction, random_events
from tests.unit.small_network import small_predictor

KEYS = [f"component:item{at}" for at in range(12)]
EVENTS = random_events(seed=5, users=2, sessions=2, length=12)


@pytest.fixture
def bundle(tmp_path):
    network, model = small_predictor("component", KEYS, 3)
    mixture = MixturePredictor([OnlinePredictor(("component",), horizon=3), network])
    for event in EVENTS:
        mixture.learn_one(event)
    save_bundle(tmp_path / "bundle", mixture.snapshot(), files={"component.onnx": model})
    return tmp_path / "bundle"


async def decisions(manager, events=EVENTS):
    made = []
    manager._foresight._decided = lambda event, decided: made.append((event, decided))
    async with manager:
        for event in events:
            manager.observe(event)
            await manager.settled()
            while any(tier.queued or tier.loading for tier in manager.statistics().tiers.values()):
                await asyncio.sleep(0)
    return made


def manager_of(**options):
    provider = FakeProvider({key: Cost(0.0, 10) for key in KEYS})
    return PreloadManager({"component": provider}, settings=Settings(waste_budget=None), **options)


def test_it_decides_off_the_loop_as_it_would_on_it(bundle, monkeypatch):
    batches = []
    run = OnnxRuntime.run

    def noted(self, inputs):
        batches.append((len(inputs["user"]), threading.current_thread() is threading.main_thread()))
        return run(self, inputs)

    unstaged = asyncio.run(decisions(manager_of(predictor=Unstaged(load_bundle(bundle).predictor()))))
    monkeypatch.setattr(OnnxRuntime, "run", noted)
    manager = manager_of(bundle=bundle)
    staged = asyncio.run(decisions(manager))
    assert staged == unstaged
    assert any(decided for _, decided in staged)
    assert sum(not on_loop for _, on_loop in batches) >= len(EVENTS)
    assert manager.statistics().counts["inferences"] == len(EVENTS)


def test_sessions_at_once_are_one_batch(bundle, monkeypatch):
    manager = manager_of(bundle=bundle)
    entered, gate, batches = threading.Event(), threading.Event(), []
    run = OnnxRuntime.run

    def held(self, inputs):
        if threading.current_thread() is not threading.main_thread():
            batches.append(len(inputs["user"]))
            entered.set()
            assert gate.wait(20)
        return run(self, inputs)

    async def main():
        sessions = group_sessions(EVENTS)
        async with manager:
            monkeypatch.setattr(OnnxRuntime, "run", held)
            manager.observe(sessions[0].events[0])
            while not entered.is_set():
                await asyncio.sleep(0.001)
            for session in sessions[1:]:
                manager.observe(session.events[0])
            gate.set()
            await manager.settled()
        return len(sessions)

    sessions = asyncio.run(main())
    assert batches == [1, sessions - 1]


def test_without_the_extra_the_online_predictor_goes_on_alone(bundle, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    manager = manager_of(bundle=bundle)
    with caplog.at_level(logging.WARNING, "preloader"):
        asyncio.run(decisions(manager))
    (record,) = caplog.records
    assert "preloader[onnx]" in record.getMessage()
    assert manager.swap_status().live == "online"
    assert manager.statistics().counts["bundles_refused"] == 1


def test_a_tampered_network_is_refused(bundle, caplog):
    content = bytearray((bundle / "component.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "component.onnx").write_bytes(content)
    manager = manager_of(bundle=bundle)
    asyncio.run(decisions(manager))
    assert "component.onnx does not match its SHA-256" in caplog.text
    assert manager.swap_status().live == "online"


def test_replay_asks_a_staged_predictor_at_once():
    def answer(context, steps):
        latest = next(context.items("component"), KEYS[-1])
        return [fake_prediction(KEYS[(KEYS.index(latest) + 1) % len(KEYS)], *([0.95] * steps))]

    made = []

    def figures(make):
        def noted():
            made.append(make(answer))
            return made[-1]

        script = write_script(group_sessions(EVENTS), "component")
        world = World(SimulatedProvider(lambda key: Cost(0.5, 100)), "component", 500, "cold")
        return measure_all(compare(script, world, Contender(noted, lambda: make_policy("thresholds"))))["preloader"]

    staged, plain = figures(FakeStagedPredictor), figures(FakePredictor)
    assert staged == plain
    assert staged.timely_hit_rate > 0
    assert not any(getattr(predictor, "batches", None) for predictor in made)
    assert isinstance(made[0], StagedPredictor)
    assert not isinstance(Unstaged(made[0]), StagedPredictor)
