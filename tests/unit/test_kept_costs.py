"""What components really cost is known in the next run: kept beside the predictor's state, and refused when damaged."""

import asyncio
import json
import logging

import pytest

from preloader.components.learned import LearnedCosts
from preloader.components.registry import ComponentRegistry
from preloader.errors import BundleError
from preloader.manager import PreloadManager
from preloader.ports import Cost, Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.settings import Settings
from preloader.testing import FakePredictor, FakeProvider


def provider_that_takes(factor, declared_s=1.0):
    registry = ComponentRegistry()
    for at in range(3):

        @registry.component(f"n{at}", bytes=1_000, load_s=declared_s)
        async def load():
            await asyncio.sleep(factor)
            return Loaded(object(), 4_000)

    return registry.provider()


def lives(state_dir, provider, needs=(), **more):
    """Run a manager on virtual time, and return what the provider expects at its end."""

    async def main():
        manager = PreloadManager(
            {"component": provider, **more},
            predictor=FakePredictor({}),
            settings=Settings(waste_budget=None),
            executor=InlineExecutor(),
            state_dir=state_dir,
        )
        async with manager:
            for name in needs:
                await manager.get(f"component:{name}")
            return {name: provider.cost(f"component:{name}") for name in ("n0", "n1")}

    return run_virtual(main())


def test_what_was_learned_is_expected_in_the_next_run(tmp_path):
    learned = lives(tmp_path, provider_that_takes(3.0), ["n0"])
    assert learned["n0"].bytes == 4_000
    assert learned["n0"].seconds == pytest.approx(3.0)
    assert learned["n1"].seconds > 1.2  # by its like
    assert lives(tmp_path, provider_that_takes(3.0)) == learned


def test_a_changed_declaration_counts_for_more_than_what_was_learned_before(tmp_path):
    lives(tmp_path, provider_that_takes(3.0), ["n0"])
    later = lives(tmp_path, provider_that_takes(3.0, declared_s=8.0))
    assert later["n0"] == later["n1"]
    assert later["n0"].seconds > 8.0


def test_without_a_state_directory_nothing_is_kept(tmp_path):
    lives(None, provider_that_takes(3.0), ["n0"])
    assert lives(tmp_path, provider_that_takes(3.0))["n0"] == Cost(1.0, 1_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the learned costs are damaged: "),
        (b'{"schema":1,"sorts":{},"loads":{"component:n0":[1.0,1000,[-1.0],5]}}', "damaged: .* >= 0.0"),
        (b'{"schema":1,"sorts":{},"loads":{"component:n0":[1.0,1000,[1,2,3,4,5,6],5]}}', "damaged: .* length <= 5"),
        (b'{"schema":1,"sorts":{"s":[[99.0,1.0],[0.0,0.0]]},"loads":{}}', "damaged: "),
        (b'{"schema":2,"sorts":{},"loads":{}}', "are of schema 2, and this version reads 1"),
    ],
)
def test_what_is_damaged_is_refused_in_a_sentence_and_changes_nothing(data, reason):
    learned = LearnedCosts()
    learned.loaded("component:n0", "s", Cost(1.0, 10), 5.0, 20)
    with pytest.raises(BundleError, match=reason):
        learned.load(data)
    assert learned.expected("component:n0", "s", Cost(1.0, 10)) == Cost(5.0, 20)


def test_a_damaged_file_is_put_aside_and_written_anew(tmp_path, caplog):
    path = tmp_path / "costs-component.json"
    path.write_bytes(b'{"schema":1,')
    with caplog.at_level(logging.WARNING, "preloader"):
        assert lives(tmp_path, provider_that_takes(3.0))["n0"] == Cost(1.0, 1_000)
    assert "costs-component.json starts afresh: the learned costs are damaged: " in caplog.text
    assert (tmp_path / "costs-component.json.refused-1").read_bytes() == b'{"schema":1,'
    assert json.loads(path.read_bytes()) == {"schema": 1, "sorts": {}, "loads": {}}


def test_only_the_latest_loaded_are_kept_and_what_is_kept_can_be_read():
    learned = LearnedCosts()
    for at in range(5_000):
        learned.loaded(f"component:n{at}", "s", Cost(1.0, 1), 1e12, 10**15)
    learned.loaded("component:n0", "s", Cost(1.0, 1), 2.0, 3)
    again = LearnedCosts()
    again.load(b"".join(learned.pieces()))
    assert again.expected("component:n0", "s", Cost(1.0, 1)) == Cost((1e12 + 2.0) / 2, 3)
    unknown = again.expected("component:n1", "s", Cost(1.0, 1))  # forgotten, and expected as its like
    assert unknown == learned.expected("component:new", "s", Cost(1.0, 1))
    assert again.expected("component:n4999", "s", Cost(1.0, 1)) == Cost(1e12, 10**15)


class Unwritable:
    name = "forgetful.json"

    def pieces(self):
        raise RuntimeError("no")

    def load(self, data):
        raise RuntimeError("never")


class Forgetful(FakeProvider):
    """A provider whose own memory can neither be written nor read."""

    kept = Unwritable()


def test_a_provider_that_cannot_keep_its_own_costs_the_others_nothing(tmp_path, caplog):
    (tmp_path / "forgetful.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING, "preloader"):
        learned = lives(tmp_path, provider_that_takes(3.0), ["n0"], fake=Forgetful({}))
    assert "forgetful.json starts afresh: never" in caplog.text
    assert "forgetful.json cannot be saved" in caplog.text
    assert lives(tmp_path, provider_that_takes(3.0)) == learned
