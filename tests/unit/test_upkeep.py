"""What a manager keeps on disk: the predictor's state and the event log, across restarts, damage and full disks."""

import asyncio
import logging
import sqlite3
import threading

import pytest

from preloader.cache.habits import Habits
from preloader.errors import BundleError
from preloader.events import Context, Event
from preloader.history.log import EventLog
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.prediction import OnlinePredictor, load_bundle
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider, random_events
from preloader.upkeep import Upkeep

EVENTS = random_events(seed=3, users=2, sessions=2, length=10)
COSTS = {f"component:item{at}": Cost(0.1, 10) for at in range(12)}


def manager_of(state_dir=None, predictor=None, **options):
    return PreloadManager(
        {"component": FakeProvider(COSTS)},
        predictor=predictor or OnlinePredictor(kinds=("component",)),
        state_dir=state_dir,
        executor=InlineExecutor(),
        **options,
    )


def run(manager, script):
    async def main():
        async with manager:
            await script(manager)

    run_virtual(main())


async def live(manager, events=EVENTS):
    for event in events:
        manager.observe(event)
        await asyncio.sleep(1)


def predictions(manager):
    return manager._predictor.predict(Context("user0", "new").after(EVENTS[0]))


def test_what_was_learned_is_there_after_a_restart(tmp_path):
    first = manager_of(tmp_path / "state")
    run(first, live)
    second = manager_of(str(tmp_path / "state"))  # a string will do

    async def script(manager):
        assert predictions(manager) == predictions(first) != []

    run(second, script)


def test_the_state_is_saved_regularly_and_not_only_at_the_end(tmp_path):
    manager = manager_of(tmp_path, settings=Settings(autosave_s=30.0))

    async def script(manager):
        await live(manager, EVENTS[:10])
        assert not (tmp_path / "predictor").exists()
        await asyncio.sleep(25)
        saved = load_bundle(tmp_path / "predictor").predictor()
        assert saved.predict(Context("user0", "new").after(EVENTS[0])) == predictions(manager)

    run(manager, script)


def test_a_first_start_is_no_reason_to_warn(tmp_path, caplog):
    run(manager_of(tmp_path / "new"), live)
    assert caplog.text == ""
    assert (tmp_path / "new" / "predictor").is_dir()


def test_a_damaged_state_is_put_aside_and_the_predictor_starts_afresh(tmp_path, caplog):
    run(manager_of(tmp_path), live)
    damaged = tmp_path / "predictor" / "arrays.npz"
    content = damaged.read_bytes()[:-1] + b"x"
    for attempt in (1, 2):
        damaged.write_bytes(content)

        async def script(manager):
            assert predictions(manager) == []  # nothing learned yet
            await live(manager)

        run(manager_of(tmp_path), script)
        assert "the predictor starts afresh" in caplog.text
        assert (tmp_path / f"predictor.refused-{attempt}" / "arrays.npz").read_bytes() == content
    load_bundle(tmp_path / "predictor")  # and the new state is sound


def test_a_state_of_another_predictor_is_put_aside(tmp_path, caplog):
    run(manager_of(tmp_path), live)
    run(manager_of(tmp_path, FakePredictor({})), live)
    assert "the predictor starts afresh" in caplog.text
    assert load_bundle(tmp_path / "predictor.refused-1").manifest.predictor == OnlinePredictor.name
    assert load_bundle(tmp_path / "predictor").manifest.predictor == "fake"


def test_a_save_that_fails_is_tried_again_and_harms_nobody(tmp_path, caplog):
    state_dir = tmp_path / "state"
    state_dir.write_text("a file where the folder should be")
    manager = manager_of(tmp_path / "state" / "deeper", settings=Settings(autosave_s=5.0))

    async def script(manager):
        await live(manager, EVENTS[:8])
        assert caplog.text.count("is tried again in 5 s") == 1
        assert "the predictor starts afresh" in caplog.text
        state_dir.unlink()

    with pytest.raises(BundleError):  # cannot even be looked at
        load_bundle(state_dir / "deeper" / "predictor")
    with caplog.at_level(logging.WARNING):
        run(manager, script)
    load_bundle(state_dir / "deeper" / "predictor")


class BrokenSnapshot(FakePredictor):
    def snapshot(self):
        raise ZeroDivisionError


def test_a_predictor_that_cannot_be_saved_does_not_take_the_loop_down(tmp_path, caplog):
    manager = manager_of(tmp_path, BrokenSnapshot({}), settings=Settings(autosave_s=5.0))
    run(manager, live)
    assert "at shutdown" in caplog.text


def test_a_late_save_never_replaces_a_later_one(tmp_path):
    predictor = FakePredictor({})
    stuck = threading.Event()
    release = threading.Event()
    written = threading.Event()

    class Slow(ThreadExecutor):
        async def run(self, function, *args):
            def late(*args):
                stuck.set()
                release.wait(10)
                function(*args)
                written.set()

            return await super().run(late if not stuck.is_set() else function, *args)

    async def main():
        upkeep = Upkeep(predictor, Slow(), tmp_path, None, 1.0)
        first = asyncio.create_task(upkeep.save())
        await asyncio.to_thread(stuck.wait)
        first.cancel()  # its thread runs on, as at shutdown
        predictor.learn_one(EVENTS[0])
        await upkeep.save()
        release.set()
        written.wait(10)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert len(load_bundle(tmp_path / "predictor").snapshot.meta["learned"]) == 1


def test_events_are_durable_after_a_flush_and_within_a_second_anyway(tmp_path):
    path = tmp_path / "events.sqlite"
    with EventLog(path) as log:

        def stored():
            with sqlite3.connect(path) as connection:
                return connection.execute("SELECT count(*) FROM event").fetchone()[0]

        async def script(manager):
            manager.observe(EVENTS[0])
            assert stored() == 0
            await manager.flush()
            assert stored() == 1
            manager.observe(EVENTS[1])
            await asyncio.sleep(1.5)
            assert stored() == 2
            manager.observe(EVENTS[2])

        run(manager_of(event_log=log), script)
        assert stored() == 3
        assert list(log.events()) == EVENTS[:3]  # the log is the caller's, and still open


def test_a_log_that_was_closed_too_early_is_named_and_harms_nobody(tmp_path, caplog):
    log = EventLog(tmp_path / "events.sqlite")

    async def script(manager):
        manager.observe(EVENTS[0])
        log.close()
        await asyncio.sleep(3)
        await manager.get("component:item0")

    run(manager_of(event_log=log), script)
    assert "the event log is closed" in caplog.text


def test_saving_habits_lets_others_have_their_turn_between_tables(tmp_path):
    habits, turns = Habits(), []
    for number in range(20):
        habits.learn(Event(user=f"u{number}", session="s", time_s=0.0, action="go", resources=("component:a",)))

    async def main():
        async def tick():
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        upkeep = Upkeep(OnlinePredictor(kinds=("component",)), InlineExecutor(), tmp_path, None, 1.0, kept=(habits,))
        await upkeep.save()
        ticking.cancel()

    asyncio.run(main())
    assert len(turns) >= 20
    restored = Habits()
    restored.load((tmp_path / habits.name).read_bytes())
    assert restored.dump() == habits.dump()
