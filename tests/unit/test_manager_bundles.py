"""Bundles in a manager: put in service, refused in one sentence, offered beside the one in service, and restarts."""

import asyncio
import json
import logging
import threading

import msgspec
import pytest

from preloader.errors import BundleError, ClosedError, PreloaderError
from preloader.events import Context
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor, load_bundle, save_bundle
from preloader.prediction.shadow import SwapState
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.sync import SyncPreloadManager
from preloader.testing import FakeProvider, random_events

EVENTS = random_events(seed=3, users=2, sessions=2, length=10)
LATER = random_events(seed=4, users=2, sessions=2, length=10)
CONTEXT = Context("user0", "new").after(EVENTS[0])


def learned(events=EVENTS, kinds=("component",), horizon=3):
    predictor = OnlinePredictor(kinds, horizon=horizon)
    for event in events:
        predictor.learn_one(event)
    return predictor


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "bundle"
    save_bundle(path, learned().snapshot())
    return path


def manager_of(bundle=None, **options):
    provider = FakeProvider({f"component:item{at}": Cost(0.1, 10) for at in range(12)})
    return PreloadManager({"component": provider}, bundle=bundle, executor=InlineExecutor(), **options)


def run(manager, script):
    async def main():
        async with manager:
            return await script(manager)

    return run_virtual(main())


async def live(manager, events=LATER):
    for event in events:
        manager.observe(event)
        await asyncio.sleep(1)
    return said(manager)


async def at_once(manager):
    return said(manager)


def said(manager):
    return manager._predictor.predict(CONTEXT)


def refused(manager):
    return manager.statistics().counts.get("bundles_refused", 0)


def test_a_bundle_predicts_from_the_first_event_on_and_learns(bundle, caplog):
    manager = manager_of(bundle)

    async def script(manager):
        assert said(manager) == learned().predict(CONTEXT) != []
        assert await live(manager) == learned([*EVENTS, *LATER]).predict(CONTEXT)

    run(manager, script)
    assert manager.swap_status().live == str(bundle)
    assert caplog.text == ""
    assert refused(manager) == 0


def damage_tampered(path):
    content = (path / "arrays.npz").read_bytes()
    (path / "arrays.npz").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def damage_older(path):
    sealed = json.loads((path / "manifest.json").read_text())
    sealed["manifest"]["schema"] = 0
    (path / "manifest.json").write_text(json.dumps(sealed))


def damage_missing(path):
    path.rename(path.with_name("elsewhere"))


def damage_kinds(path):
    save_bundle(path, learned(kinds=("tool",)).snapshot())


def damage_horizon(path):
    save_bundle(path, learned(horizon=1).snapshot())


def damage_unknown(path):
    snapshot = learned().snapshot()
    save_bundle(path, msgspec.structs.replace(snapshot, meta=snapshot.meta | {"predictor": "oracle"}))


DAMAGES = {
    damage_tampered: "arrays.npz does not match its SHA-256",
    damage_older: "schema 0, of an older version",
    damage_missing: "cannot be read: No such file",
    damage_kinds: "predicts tool, and what is wanted is component",
    damage_horizon: "steps must be from 1 to 1, not 3",
    damage_unknown: "the predictor 'oracle'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bundle_that_is_no_good_is_refused_in_one_sentence_and_the_online_predictor_goes_on(bundle, caplog, damage):
    damage(bundle)
    manager = manager_of(bundle)
    assert run(manager, live) == learned(LATER).predict(CONTEXT)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"the online predictor goes on alone: {bundle}")
    assert DAMAGES[damage] in record.getMessage()
    assert "\n" not in record.getMessage()
    assert refused(manager) == 1


def test_what_a_models_runtime_raises_is_a_refusal_too(bundle, caplog, monkeypatch):
    def make(snapshot):
        raise RuntimeError("[ONNXRuntimeError] : 7 :\n  INVALID_PROTOBUF")

    monkeypatch.setattr(OnlinePredictor, "from_snapshot", make)
    manager = manager_of(bundle)
    run(manager, at_once)
    assert "cannot be used: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF" in caplog.text
    assert refused(manager) == 1


def test_what_was_learned_on_top_of_a_bundle_is_there_after_a_restart(bundle, tmp_path):
    run(manager_of(bundle, state_dir=tmp_path / "state"), live)
    assert run(manager_of(bundle, state_dir=tmp_path / "state"), at_once) == learned([*EVENTS, *LATER]).predict(CONTEXT)


def test_a_bundle_put_in_the_place_of_another_is_what_a_restart_begins_with(bundle, tmp_path, caplog):
    state = tmp_path / "state"
    run(manager_of(bundle, state_dir=state), live)
    promoted = random_events(seed=6, users=2, sessions=3, length=10)
    save_bundle(bundle, learned(promoted).snapshot())
    assert run(manager_of(bundle, state_dir=state), at_once) == learned(promoted).predict(CONTEXT)
    (record,) = caplog.records
    assert "begins with its bundle" in record.getMessage()
    kept = load_bundle(state / "predictor-of-bundle.superseded").predictor()
    assert kept.predict(CONTEXT) == learned([*EVENTS, *LATER]).predict(CONTEXT)
    run(manager_of(bundle, state_dir=state), live)  # and what is learned on top of it is kept in turn
    assert run(manager_of(bundle, state_dir=state), at_once) == learned([*promoted, *LATER]).predict(CONTEXT)
    assert len(caplog.records) == 1


def test_of_superseded_states_the_latest_is_kept(bundle, tmp_path):
    state = tmp_path / "state"
    for seed in (6, 7, 8):
        save_bundle(bundle, learned(random_events(seed=seed, users=1, sessions=2, length=10)).snapshot())
        run(manager_of(bundle, state_dir=state), live)
    kept = {"habits.json", "predictor-of-bundle", "predictor-of-bundle.superseded"}
    assert {place.name for place in state.iterdir()} == kept


def test_a_refused_bundle_does_not_cost_what_was_learned_on_top_of_it(bundle, tmp_path, caplog):
    state = tmp_path / "state"
    run(manager_of(bundle, state_dir=state), live)
    good = (bundle / "arrays.npz").read_bytes()
    damage_tampered(bundle)
    run(manager_of(bundle, state_dir=state), live)
    (bundle / "arrays.npz").write_bytes(good)
    assert run(manager_of(bundle, state_dir=state), at_once) == learned([*EVENTS, *LATER]).predict(CONTEXT)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert load_bundle(state / "predictor").predictor().predict(CONTEXT) == learned(LATER).predict(CONTEXT)


def test_a_state_that_does_not_fit_the_bundle_is_put_aside(bundle, tmp_path, caplog):
    state = tmp_path / "state"
    run(manager_of(bundle, state_dir=state), live)
    damage_tampered(state / "predictor-of-bundle")
    assert run(manager_of(bundle, state_dir=state), at_once) == learned().predict(CONTEXT)
    assert "the predictor starts afresh" in caplog.text
    assert (state / "predictor-of-bundle.refused-1").is_dir()


def test_an_offered_bundle_is_tried_beside_the_one_in_service(bundle):
    manager = manager_of()

    async def script(manager):
        await manager.offer(bundle)
        status = manager.swap_status()
        assert (status.state, status.live, status.shadow) == (SwapState.TRIAL, "online", str(bundle))
        await live(manager)
        assert manager.swap_status().items > 0
        with pytest.raises(PreloaderError, match="beside it"):
            await manager.offer(bundle)

    run(manager, script)
    assert manager.statistics().counts["candidates_offered"] == 1


def test_of_a_trial_as_many_items_are_scored_as_the_settings_say(bundle):
    scored = []
    for every in (1, 4):
        manager = manager_of(settings=Settings(swap_every=every))

        async def script(manager):
            await manager.offer(bundle)
            await live(manager, LATER[:8])
            assert manager.swap_status().state is SwapState.TRIAL

        run(manager, script)
        scored.append(manager.swap_status().items)
    assert scored[0] // 4 == scored[1] > 0


def test_an_offered_bundle_that_is_better_takes_over(tmp_path):
    history = random_events(seed=8, users=1, sessions=30, length=20)
    save_bundle(tmp_path / "good", learned(history[:500]).snapshot())
    manager = manager_of()

    async def script(manager):
        await manager.offer(tmp_path / "good")
        await live(manager, history[500:])

    run(manager, script)
    assert manager.swap_status().live == str(tmp_path / "good")
    assert manager.statistics().counts["candidates_promoted"] == 1


def test_what_a_promoted_bundle_learned_is_there_when_it_is_put_in_service(tmp_path, caplog):
    history = random_events(seed=8, users=1, sessions=30, length=20)
    good, state = tmp_path / "good", tmp_path / "state"
    save_bundle(good, learned(history[:500]).snapshot())
    manager = manager_of(state_dir=state)

    async def script(manager):
        await live(manager, history[490:500])
        await manager._upkeep.save()
        await manager.offer(good)
        return await live(manager, history[500:])

    said_last = run(manager, script)
    assert manager.swap_status().live == str(good)
    assert run(manager_of(good, state_dir=state), at_once) == said_last == learned(history).predict(CONTEXT)
    assert run(manager_of(state_dir=state), at_once) == learned(history[490:500]).predict(CONTEXT)
    assert caplog.text == ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_offer_that_is_no_good_is_refused_and_nothing_changes(bundle, damage):
    damage(bundle)
    manager = manager_of()

    async def script(manager):
        with pytest.raises(BundleError) as refusal:
            await manager.offer(bundle)
        assert DAMAGES[damage] in str(refusal.value)
        assert manager.swap_status().state is SwapState.STEADY

    run(manager, script)
    assert refused(manager) == 1


def test_an_offer_to_a_manager_that_does_not_run_is_refused(bundle):
    with pytest.raises(ClosedError):
        asyncio.run(manager_of().offer(bundle))


def test_the_blocking_facade_offers_settles_and_tells(bundle):
    provider = FakeProvider({f"component:item{at}": Cost(0.0, 10) for at in range(12)})
    with SyncPreloadManager(PreloadManager({"component": provider}, bundle=bundle)) as manager:
        manager.observe(LATER[0])
        manager.settled()
        manager.offer(bundle)
        assert manager.swap_status().state is SwapState.TRIAL


@pytest.fixture
def hanging(monkeypatch):
    """Bundles do not open before the test is over."""
    over = threading.Event()
    monkeypatch.setattr("preloader.prediction.opening.load_bundle", lambda path: over.wait())
    yield
    over.set()


def in_threads(bundle=None):
    settings = Settings(bundle_timeout_s=0.05)
    provider = FakeProvider({f"component:item{at}": Cost(0.1, 10) for at in range(12)})
    return PreloadManager({"component": provider}, bundle=bundle, settings=settings)


def test_a_bundle_that_never_opens_holds_up_no_start(bundle, caplog, hanging):
    async def main():
        async with in_threads(bundle) as manager:
            for event in LATER:
                manager.observe(event)
            return said(manager), refused(manager)

    assert asyncio.run(asyncio.wait_for(main(), 30)) == (learned(LATER).predict(CONTEXT), 1)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the online predictor goes on alone: {bundle} was given up: it was not open and did not answer within 0.05 s, "
        "which is Settings.bundle_timeout_s"
    )


def test_an_offered_bundle_that_never_opens_is_refused(bundle, hanging):
    async def main():
        async with in_threads() as manager:
            with pytest.raises(BundleError, match=r"given up: .* within 0\.05 s"):
                await manager.offer(bundle)
            return manager.swap_status().state, refused(manager)

    assert asyncio.run(asyncio.wait_for(main(), 30)) == (SwapState.STEADY, 1)


def test_a_timeout_of_the_bundles_own_is_told_as_such(bundle, monkeypatch):
    def raising(path):
        raise TimeoutError("the disk does not answer")

    monkeypatch.setattr("preloader.prediction.opening.load_bundle", raising)
    with pytest.raises(BundleError, match="cannot be used: the disk does not answer"):
        run(manager_of(), lambda manager: manager.offer(bundle))
