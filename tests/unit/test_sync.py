"""The manager's blocking face, on real threads."""

import asyncio
import logging
import threading
import time

import pytest

from preloader.errors import ClosedError, LoadError, PreloaderError, UnknownResourceError
from preloader.events import Event, Need, NeedOutcome, Preload, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.ring import BACKEND
from preloader.ring.channel import HintSender
from preloader.scheduling.pressure import Pressure, Reading, SimulatedPressure
from preloader.settings import Settings
from preloader.sync import SyncPreloadManager
from preloader.testing import FakePredictor, FakeProvider, Hang, fake_prediction

A = "component:a"


def facade(provider, answers=None, listeners=(), **settings):
    return SyncPreloadManager(
        PreloadManager(
            {"component": provider},
            predictor=FakePredictor(answers or {}),
            settings=Settings(**{"waste_budget": None, "retry_wait_s": 0.0, **settings}),
            listeners=listeners,
        )
    )


def provider_of(seconds=0.0, script=()):
    return FakeProvider({A: Cost(seconds, 10)}, script={A: script})


def wait_until(condition):
    while not condition():
        time.sleep(0.001)


def test_every_call_does_what_the_manager_does():
    ended = []
    provider = provider_of()
    with facade(provider, {"wake": [fake_prediction(A, 0.95)]}, [ended.append]) as manager:
        (decision,) = manager.observe(Event(user="u", session="s", time_s=0.0, action="wake"))
        assert decision.key == A
        wait_until(lambda: provider.loaded)
        assert manager.get(A, user="u", session="s").key == A
        with manager.use(A) as value:
            manager.clear()
            assert value in provider.live
        assert manager.statistics().ledger.needs[NeedOutcome.HIT] == 2
        manager.end_session("u", "s")
        assert manager.hint(A, 0.95)
        manager.flush()
        manager.clear()
        assert manager.statistics().residents == 0
    provider.assert_all_unloaded()
    assert next(end.outcome for end in ended if isinstance(end, Preload)) is PreloadOutcome.USED
    assert "preloader" not in {thread.name for thread in threading.enumerate()}


def test_pressure_is_told_on_the_loop_until_that_is_ended_from_any_thread():
    source, told, threads = SimulatedPressure(), [], set()

    def note(level, before):
        told.append(level)
        threads.add(threading.current_thread().name)

    settings = Settings(pressure_interval_s=0.01, pressure_calm_s=0.0)
    with SyncPreloadManager(
        PreloadManager({"component": provider_of()}, settings=settings, pressure_sources=[source])
    ) as manager:
        forget, stays = manager.on_pressure(note), []
        manager.on_pressure(lambda level, before: stays.append(level))
        source.reading = Reading(used=0.92)
        wait_until(lambda: stays)
        assert manager.pressure is Pressure.HIGH
        forget()
        source.reading = Reading(used=0.99)
        wait_until(lambda: len(stays) == 2)
        assert (told, threads) == ([Pressure.HIGH], {"preloader"})
        once = []
        forget_once = manager.on_pressure(lambda level, before: (once.append(level), forget_once()))
        source.reading = Reading(used=0.1)
        wait_until(lambda: len(stays) >= 3)
        source.reading = Reading(used=0.99)
        wait_until(lambda: stays[-1] is Pressure.EMERGENCY and len(stays) >= 4)
        assert len(once) == 1
    forget()  # which the end has done already
    with pytest.raises(ClosedError):
        manager.on_pressure(note)


@pytest.mark.skipif(BACKEND != "c", reason="the compiled ring was not built")
def test_a_channel_of_hints_is_open_as_long_as_its_block():
    with facade(provider_of()) as manager:
        with manager.hint_channel([A], capacity=8) as channel, HintSender(channel.path) as sender:
            assert sender.post(A, 0.95)
            wait_until(lambda: manager.statistics().residents == 1)
        assert not channel.path.exists()
        with pytest.raises(UnknownResourceError, match="no provider"), manager.hint_channel(["tool:x"]):
            pass


@pytest.mark.skipif(BACKEND != "c", reason="the compiled ring was not built")
def test_a_channel_that_is_open_while_the_manager_closes_is_removed():
    manager = facade(provider_of())
    with manager:
        block = manager.hint_channel([A])
        channel = block.__enter__()
    assert not channel.path.exists()
    block.__exit__(None, None, None)


def test_many_threads_share_one_load():
    provider = provider_of(0.05)
    values = []
    with facade(provider) as manager:
        threads = [threading.Thread(target=lambda: values.append(manager.get(A))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(values) == 8
    assert provider.started == [A]


def test_what_a_load_raises_is_raised_in_the_callers_thread():
    with facade(provider_of(script=[OSError("disk")]), load_attempts=1) as manager:
        with pytest.raises(LoadError, match="disk"):
            manager.get(A)
        with pytest.raises(LoadError), manager.use(A):
            raise LoadError("the body's own")
        with pytest.raises(UnknownResourceError), manager.use("component:nope"):
            pytest.fail("there is nothing to use")
        assert manager.get(A).key == A


def test_a_get_that_takes_too_long_is_given_up():
    ended = []
    provider = provider_of(script=[Hang()])
    with facade(provider, listeners=[ended.append]) as manager:
        with pytest.raises(TimeoutError):
            manager.get(A, timeout_s=0.01)
        wait_until(lambda: provider.cancelled)
    assert [need.outcome for need in ended if isinstance(need, Need)] == [NeedOutcome.MISS]


def test_an_interrupt_while_waiting_gives_the_need_up(monkeypatch):
    provider = provider_of(script=[Hang()])
    with facade(provider) as manager:
        with monkeypatch.context() as patched:

            def interrupted(futures, return_when):
                wait_until(lambda: provider.started)
                raise KeyboardInterrupt

            patched.setattr("preloader.sync.wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                manager.get(A)
        wait_until(lambda: provider.cancelled)
        with manager.use(A) as value:
            assert value.key == A
    provider.assert_all_unloaded()


def test_an_interrupt_while_waiting_for_use_leaves_nothing_pinned(monkeypatch):
    provider = provider_of()
    with facade(provider) as manager:
        with monkeypatch.context() as patched:

            def interrupted(futures, return_when):
                wait_until(lambda: provider.loaded)
                raise KeyboardInterrupt

            patched.setattr("preloader.sync.wait", interrupted)
            with pytest.raises(KeyboardInterrupt), manager.use(A):
                pytest.fail("nothing is handed over")
        manager.clear()
        assert manager.statistics().residents == 0
    provider.assert_all_unloaded()


def test_outside_its_block_it_is_closed():
    manager = facade(provider_of())
    for call in (lambda: manager.get(A), manager.clear, manager.statistics):
        with pytest.raises(ClosedError, match="with SyncPreloadManager"):
            call()
    with manager:
        pass
    with pytest.raises(ClosedError):
        manager.get(A)
    assert manager.hint(A, 0.5) is False


def test_it_runs_once():
    manager = facade(provider_of())
    with manager:
        with pytest.raises(ClosedError, match="entered before"):
            manager.__enter__()
        assert manager.get(A).key == A
    with pytest.raises(ClosedError, match="entered before"):
        manager.__enter__()


def test_what_prevents_the_start_is_raised_at_the_with_statement():
    provider = provider_of()
    manager = PreloadManager({"component": provider}, predictor=FakePredictor({}))
    with SyncPreloadManager(manager), pytest.raises(ClosedError, match="runs once"), SyncPreloadManager(manager):
        pytest.fail("it must not start")


def test_a_call_from_its_own_thread_is_refused_instead_of_waiting_for_itself():
    refused = []

    class Nested(FakeProvider):
        async def load(self, key):
            try:
                manager.get("component:b")
            except PreloaderError as error:
                refused.append(str(error))
            return await super().load(key)

    manager = facade(Nested({A: Cost(0.0, 10)}))
    with manager:
        manager.get(A)
    assert "own loop's thread" in refused[0]


def test_who_still_waits_when_it_closes_is_told():
    provider = provider_of(script=[Hang()])
    errors = []

    def ask():
        try:
            manager.get(A)
        except PreloaderError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    with facade(provider) as manager:
        thread.start()
        wait_until(lambda: provider.started)
    thread.join()
    assert len(errors) == 1


def test_a_value_in_use_while_it_closes_is_unloaded_by_then():
    provider = provider_of()
    manager = facade(provider)
    manager.__enter__()
    with manager.use(A):
        manager.__exit__(None, None, None)
    provider.assert_all_unloaded()


def test_calls_that_race_with_the_end_come_back():
    for _ in range(20):
        provider = provider_of()
        manager = facade(provider)
        outcomes = []

        def ask(manager=manager, outcomes=outcomes):
            try:
                while True:
                    manager.get(A)
            except ClosedError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        with manager:
            for thread in threads:
                thread.start()
            wait_until(lambda provider=provider: provider.loaded)
        for thread in threads:
            thread.join(10)
        assert len(outcomes) == 3


def test_a_loader_that_ignores_its_cancellation_does_not_keep_it_open(monkeypatch, caplog):
    monkeypatch.setattr("preloader.manager._SHUTDOWN_GRACE_S", 0.02)
    monkeypatch.setattr("preloader.sync._GRACE_S", 0.02)
    release = threading.Event()

    class Stubborn(FakeProvider):
        async def load(self, key):
            while not release.is_set():
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    continue
            return await super().load(key)

    manager = facade(Stubborn({A: Cost(0.0, 10)}))
    with caplog.at_level(logging.WARNING), manager, pytest.raises(TimeoutError):
        manager.get(A, timeout_s=0.02)
    assert "ignores its cancellation" in caplog.text
    assert "preloader" not in {thread.name for thread in threading.enumerate()}
