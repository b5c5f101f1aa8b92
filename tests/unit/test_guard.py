"""Loads that raise, hang or lie, on virtual time."""

import asyncio
import gc
import logging

import pytest

from preloader.errors import LoadError, LoadTimeoutError, QuarantinedError, UnknownResourceError
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling import guard as guard_module
from preloader.scheduling.guard import LoadGuard
from preloader.settings import Settings
from preloader.testing import FakeProvider, Hang

A = "component:a"


def guard_of(**settings):
    return LoadGuard(Settings(**{"load_timeout_s": 2.0, "load_attempts": 1, "retry_wait_s": 0.5, **settings}))


def provider_of(*script, seconds=1.0):
    return FakeProvider({A: Cost(seconds, 10)}, script={A: script})


def now_s():
    return asyncio.get_running_loop().time()


def test_it_waits_twice_as_long_before_each_further_attempt():
    async def main():
        await guard_of(load_attempts=4).load(A, provider_of(OSError(), Hang(), OSError(), 0.0))
        assert now_s() == pytest.approx(0.5 + 2.0 + 1.0 + 2.0)

    run_virtual(main())


def test_the_last_failure_is_raised_with_its_cause():
    async def main():
        guard = guard_of(load_attempts=2)
        with pytest.raises(LoadError, match="cannot load component:a: its loader raised OSError: two") as raised:
            await guard.load(A, provider_of(OSError("one"), OSError("two")))
        assert isinstance(raised.value.__cause__, OSError)
        assert guard.counts["errors"] == 2

    run_virtual(main())


def test_retries_are_not_announced_above_debug(caplog):
    async def main():
        await guard_of(load_attempts=3).load(A, provider_of(OSError(), OSError()))

    with caplog.at_level(logging.INFO):
        run_virtual(main())
    assert caplog.text == ""


def test_an_unknown_resource_is_not_tried_again_and_no_strike():
    async def main():
        guard = guard_of(load_attempts=3, quarantine_after=1)
        for _ in range(2):
            with pytest.raises(UnknownResourceError):
                await guard.load("component:nope", provider_of())
        assert not guard.quarantined("component:nope")

    run_virtual(main())


def test_quarantine_ends_one_failure_renews_it_and_one_success_lifts_it():
    async def main():
        guard = guard_of(quarantine_after=2, quarantine_s=10.0)
        provider = provider_of(*[OSError()] * 3)
        for _ in range(2):
            with pytest.raises(LoadError):
                await guard.load(A, provider)
        assert guard.quarantined(A)
        with pytest.raises(QuarantinedError, match="not tried again for 10 s"):
            await guard.load(A, provider)
        await asyncio.sleep(10.1)
        assert not guard.quarantined(A)
        with pytest.raises(LoadError, match="OSError"):
            await guard.load(A, provider)
        assert guard.quarantined(A)  # one more failure in a row is enough
        await asyncio.sleep(10.1)
        await guard.load(A, provider)
        assert not guard._strikes
        assert not guard._quarantined_until_s

    run_virtual(main())


def test_only_so_many_failures_are_remembered(monkeypatch):
    monkeypatch.setattr(guard_module, "_MAX_STRIKES", 10)

    async def main():
        keys = [f"component:{at}" for at in range(50)]
        provider = FakeProvider(dict.fromkeys(keys, Cost(0.0, 1)), script={key: [OSError()] * 9 for key in keys})
        guard = guard_of(quarantine_after=1)
        for key in keys:
            with pytest.raises(LoadError):
                await guard.load(key, provider)
        assert len(guard._strikes) == len(guard._quarantined_until_s) == 10
        assert guard.quarantined(keys[-1])
        assert not guard.quarantined(keys[0])

    run_virtual(main())


class Lying(FakeProvider):
    async def load(self, key):
        return self.what


@pytest.mark.parametrize("what", [None, "value", Loaded("value", -1)])
def test_a_load_that_returns_something_else_is_an_error_that_says_so(what):
    async def main():
        provider = Lying({A: Cost(0.0, 1)})
        provider.what = what
        with pytest.raises(LoadError, match=r"must return Loaded\(value, bytes\)"):
            await guard_of().load(A, provider)

    run_virtual(main())


class Stubborn(FakeProvider):
    """Finishes all the same, some seconds after it was cancelled."""

    def __init__(self, *args, after_s):
        super().__init__(*args)
        self.after_s = after_s

    async def load(self, key):
        try:
            return await super().load(key)
        except asyncio.CancelledError:
            await asyncio.sleep(self.after_s)
            return await super().load(key)


def test_what_a_cancelled_load_delivers_late_is_unloaded():
    async def main():
        guard, provider = guard_of(), Stubborn({A: Cost(1.0, 1)}, after_s=3.0)
        load = asyncio.create_task(guard.load(A, provider))
        await asyncio.sleep(0.5)
        load.cancel()
        await asyncio.wait([load])
        assert now_s() == pytest.approx(0.5)  # it is not waited for
        await asyncio.sleep(10)
        assert len(provider.loaded) == 1
        provider.assert_all_unloaded()
        assert not guard._running
        assert not guard._sweeping

    run_virtual(main())


def test_closing_lets_clean_ups_finish_within_the_grace():
    async def main():
        guard, provider = guard_of(), Stubborn({A: Cost(1.0, 1)}, after_s=3.0)
        with pytest.raises(LoadTimeoutError):
            await guard.load(A, FakeProvider({A: Cost(99.0, 1)}))
        load = asyncio.create_task(guard.load(A, provider))
        await asyncio.sleep(0.5)
        load.cancel()
        await asyncio.wait([load])
        await guard.aclose(5.0)
        provider.assert_all_unloaded()
        assert len(provider.loaded) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


def test_closing_leaves_behind_what_takes_longer(caplog):
    async def main():
        guard, provider = guard_of(), Stubborn({A: Cost(1.0, 1)}, after_s=30.0)
        load = asyncio.create_task(guard.load(A, provider))
        await asyncio.sleep(0.5)
        load.cancel()
        await asyncio.wait([load])
        await guard.aclose(5.0)
        assert now_s() == pytest.approx(5.5)
        await asyncio.sleep(60)

    run_virtual(main())
    assert "load component:a ignores its cancellation and is left behind" in caplog.text


def test_an_unload_that_hangs_is_given_up_after_the_timeout():
    class Hanging(FakeProvider):
        async def unload(self, key, value):
            await asyncio.Event().wait()

    async def main():
        guard, provider = guard_of(), Hanging({A: Cost(0.0, 1)})
        loaded = await guard.load(A, provider)
        await guard.unload(A, provider, loaded.value)
        assert now_s() == pytest.approx(2.0)
        assert guard.counts["unload_errors"] == 1
        await guard.aclose(1.0)

    run_virtual(main())


def test_what_is_left_behind_and_fails_later_is_no_error_of_asyncio(caplog):
    class Spiteful(FakeProvider):
        async def load(self, key):
            return await self.unload(key, None)

        async def unload(self, key, value):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("so there") from None

    async def main():
        guard, provider = guard_of(), Spiteful({A: Cost(0.0, 1)})
        await guard.unload(A, provider, None)
        with pytest.raises(LoadTimeoutError):
            await guard.load(A, provider)
        await guard.aclose(0.0)
        await asyncio.sleep(1.0)

    run_virtual(main())
    gc.collect()  # asyncio tells of errors that nobody has looked at when their tasks are forgotten, in any later test
    assert not [record for record in caplog.records if record.name == "asyncio"]
