"""What the manager does about parts that fail or hang, and wrong arguments, on virtual time."""

import asyncio

import pytest

from preloader.errors import LoadError, QuarantinedError
from preloader.events import NeedOutcome, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.replay.clock import run_virtual
from preloader.testing import FakePredictor, FakeProvider, Hang, fake_prediction
from tests.unit.manager_scene import Scene, costs, event, run


def test_a_failing_dependency_fails_its_dependent_and_no_other():
    provider = FakeProvider(
        costs("bad", "top", "other"),
        {"component:top": ["component:bad"]},
        {"component:bad": [OSError("disk")] * 3},
    )
    scene = Scene(provider)

    async def script(manager):
        with pytest.raises(LoadError, match="cannot load component:bad: its loader raised OSError: disk"):
            await manager.get("component:top")
        await manager.get("component:other")

    run(scene, script)
    assert scene.needs == [("top", NeedOutcome.MISS), ("other", NeedOutcome.MISS)]


def test_a_loader_that_raises_is_tried_again_with_back_off():
    scene = Scene(FakeProvider(costs("a"), script={"component:a": [OSError("x"), OSError("x")]}))

    async def script(manager):
        await manager.get("component:a")
        return asyncio.get_running_loop().time()

    assert run(scene, script) == pytest.approx(0.1 + 0.2 + 1.0)
    assert scene.manager.statistics().counts["errors"] == 2


def test_a_loader_that_fails_repeatedly_is_quarantined_and_tried_again_later():
    scene = Scene(
        FakeProvider(costs("a"), script={"component:a": [OSError("x")] * 3}),
        {"wake": [fake_prediction("component:a", 0.95)]},
        settings={"load_attempts": 1, "quarantine_after": 3, "quarantine_s": 60.0},
    )

    async def script(manager):
        for _ in range(3):
            with pytest.raises(LoadError):
                await manager.get("component:a")
        with pytest.raises(QuarantinedError, match="component:a failed repeatedly and is not tried again for 60 s"):
            await manager.get("component:a")
        assert manager.observe(event("wake")) == []
        await asyncio.sleep(61)
        await manager.get("component:a")

    run(scene, script)
    assert scene.manager.statistics().counts["quarantines"] == 1


def test_a_loader_that_hangs_is_timed_out():
    scene = Scene(
        FakeProvider(costs("a"), script={"component:a": [Hang()]}),
        settings={"load_timeout_s": 2.0, "load_attempts": 1},
    )

    async def script(manager):
        with pytest.raises(TimeoutError, match="loading component:a took longer than 2 s"):
            await manager.get("component:a")
        await manager.get("component:a")

    run(scene, script)
    assert scene.manager.statistics().counts["timeouts"] == 1


class Stubborn(FakeProvider):
    """Swallows cancellation for a while, then delivers after all."""

    async def load(self, key):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return await super().load(key)


def test_a_loader_that_ignores_cancellation_holds_nothing_up_and_its_late_value_is_unloaded():
    provider = Stubborn(costs("a"))
    scene = Scene(provider, settings={"load_timeout_s": 2.0, "load_attempts": 1})

    async def script(manager):
        with pytest.raises(TimeoutError):
            await manager.get("component:a")
        await asyncio.sleep(10)
        assert len(provider.loaded) == 1
        provider.assert_all_unloaded()

    run(scene, script)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt(), ValueError("bad")])
def test_whatever_a_loader_raises_is_a_load_error(error):
    scene = Scene(FakeProvider(costs("a"), script={"component:a": [error]}), settings={"load_attempts": 1})

    async def script(manager):
        with pytest.raises(LoadError):
            await manager.get("component:a")
        await manager.get("component:a")

    run(scene, script)


def test_a_preload_that_fails_is_counted_and_harms_nobody():
    scene = Scene(
        FakeProvider(costs("a"), script={"component:a": [OSError("x")]}),
        {"wake": [fake_prediction("component:a", 0.95)]},
        settings={"load_attempts": 1},
    )

    async def script(manager):
        manager.observe(event("wake"))
        await asyncio.sleep(1)
        await manager.get("component:a")

    run(scene, script)
    assert scene.preloads == [("a", PreloadOutcome.FAILED)]
    assert scene.needs == [("a", NeedOutcome.MISS)]


def test_a_predictor_that_raises_pauses_preloading_and_nothing_else(caplog):
    def broken(context, steps):
        raise ZeroDivisionError

    scene = Scene(FakeProvider(costs("a")), broken)

    async def script(manager):
        assert manager.observe(event("wake")) == []
        await manager.get("component:a")

    run(scene, script)
    assert scene.manager.statistics().counts["predictor_errors"] == 1
    assert "the predictor failed" in caplog.text


def test_a_listener_that_raises_harms_nobody():
    def listener(ended):
        raise ZeroDivisionError

    provider = FakeProvider(costs("a"))

    async def main():
        async with PreloadManager(
            {"component": provider}, predictor=FakePredictor({}), listeners=[listener]
        ) as manager:
            await manager.get("component:a")
            assert manager.statistics().ledger.needs["miss"] == 1

    run_virtual(main())
