"""A wrong prediction is cancelled, and the cancellation taught back; a right one goes on."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from preloader.events import PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Cost
from preloader.testing import FakeProvider, Hang
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.expecting import Expected
from preloader.workspace.learn.patterns import pattern_record
from preloader.workspace.policy import SETTINGS
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.trials import HORIZON, Trials
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import repository

GREP = 'tool:Grep {"pattern": "total"}'
STATUS = "fact:git status"


class Desk:
    """Takes what is cancelled, and says what is ready."""

    def __init__(self, record=None):
        self.ready, self.cancelled = set(), []
        self.trials = Trials(record or pattern_record(), self.ready.__contains__, self._cancel)

    def _cancel(self, keys, reason):
        self.cancelled += [(key, reason) for key in keys]

    def expect(self, key, probability=0.6, steps=2):
        weighed = self.trials.weighed(Expected(key, probability, steps))
        return weighed.probability if weighed else None

    def calls(self, count, tool="Edit"):
        for _ in range(count):
            self.trials.called(tool, {"file_path": "shop/cart.py"})


def test_a_wrong_pattern_is_believed_less_each_time_and_then_not_at_all():
    desk, stated = Desk(), []
    for _ in range(40):
        desk.calls(1)
        stated.append(desk.expect(STATUS))
        desk.calls(HORIZON + 1, "Read")
    heard = [probability for probability in stated if probability is not None]
    assert heard[0] == 0.6
    assert all(later < sooner for sooner, later in pairwise(heard))
    assert 5 < len(heard) < 40
    assert stated[len(heard) :] == [None] * (40 - len(heard))
    assert desk.trials.unmet == len(desk.cancelled) == 40


def test_a_right_pattern_goes_on():
    desk, stated = Desk(), []
    for _ in range(40):
        desk.calls(1)
        stated.append(desk.expect(STATUS))
        desk.calls(1, "Read")
        desk.trials.needed(STATUS)
    assert min(stated) == stated[0] == 0.6
    assert desk.cancelled == []


def test_a_pattern_that_would_have_been_right_again_is_heard_again():
    desk = Desk()
    for _ in range(40):
        desk.calls(1)
        desk.expect(STATUS)
        desk.calls(HORIZON + 1, "Read")
    for _ in range(20):
        desk.calls(1)
        desk.expect(STATUS)
        desk.trials.needed(STATUS)
    desk.calls(1)
    assert desk.expect(STATUS) > 0.3


def test_another_context_and_another_file_are_told_apart_or_taken_together():
    desk = Desk()
    for number in range(8):
        edited = f"shop/part_{number}.py"
        desk.trials.called("Edit", {"file_path": edited})
        desk.expect(f"fact:syntax {edited}")
        desk.calls(HORIZON + 1, "Read")
    desk.trials.called("Edit", {"file_path": "shop/new.py"})
    assert desk.expect("fact:syntax shop/new.py") < 0.4
    desk.trials.called("Write", {"file_path": "shop/new.py"})
    assert desk.expect("fact:syntax shop/other.py") == 0.6


def test_the_same_tool_with_other_arguments_cancels_what_is_not_ready():
    desk, other = Desk(), 'tool:Grep {"pattern": "price"}'
    desk.ready.add(other)
    for key in (GREP, other, 'tool:Glob {"pattern": "*"}', STATUS):
        desk.expect(key)
    desk.trials.called("Grep", {"pattern": "cart"}, 'tool:Grep {"pattern": "cart"}')
    assert desk.cancelled == [(GREP, "contradicted by a call")]


@pytest.mark.parametrize("is_told", [True, False])
def test_the_call_that_was_expected_contradicts_nothing(is_told):
    desk = Desk()
    desk.expect(GREP)
    if is_told:
        desk.trials.called("Grep", {"pattern": "total"}, GREP)
    desk.trials.needed(GREP)
    assert (desk.cancelled, desk.trials.unmet) == ([], 0)
    assert desk.expect(GREP) == 0.6  # after another call: another pattern


def test_calls_of_one_batch_do_not_contradict_each_other():
    desk = Desk()
    for name in "abc":
        key = f'tool:Grep {{"pattern": "{name}"}}'
        desk.trials.called("Grep", {"pattern": name}, key)
        desk.expect(key, 0.97, steps=1)
    assert desk.cancelled == []


def test_the_end_of_a_query_counts_against_what_had_its_chance():
    desk = Desk()
    desk.calls(1)
    desk.expect(STATUS)
    desk.trials.forget()
    assert desk.trials.unmet == 0
    desk.calls(1)
    desk.expect(STATUS)
    desk.calls(1, "Read")
    desk.trials.forget()
    assert desk.trials.unmet == 1
    desk.calls(1)
    assert desk.expect(STATUS) < 0.6


def test_files_are_not_on_trial():
    desk = Desk()
    desk.expect("file:shop/cart.py", 0.5)
    desk.calls(HORIZON + 1)
    assert (desk.cancelled, desk.trials.unmet) == ([], 0)


def test_what_is_on_trial_is_bounded():
    desk = Desk()
    for number in range(3_000):
        desk.expect(f"fact:syntax f{number}.py")
    desk.calls(HORIZON + 1)
    assert desk.trials.unmet == 512


def test_a_load_under_way_is_stopped_and_one_that_waits_is_dropped():
    ended = []

    async def scenario():
        keys = [f"tool:Grep {name}" for name in "abc"]
        provider = FakeProvider(dict.fromkeys(keys, Cost(0.1, 10)), script={key: [Hang()] for key in keys})
        settings = msgspec.structs.replace(SETTINGS, waste_budget=None, pressure=False, tier_workers=(1, 1, 1))
        settings = msgspec.structs.replace(settings, most_tier_workers=(1, 1, 1))
        async with PreloadManager({"tool": provider}, settings=settings, listeners=[ended.append]) as manager:
            trials = Trials(pattern_record(), manager.is_ready, manager.retract)
            for key in keys:
                expected = trials.weighed(Expected(key, 0.6))
                manager.hint(expected.key, expected.probability, expected.steps)
            while not provider.started:
                await asyncio.sleep(0.001)
            trials.called("Grep", {"pattern": "d"}, "tool:Grep d")
            await asyncio.sleep(0.01)
            return provider.cancelled, list(ended)

    stopped, outcomes = asyncio.run(scenario())
    assert len(stopped) == 1
    assert sorted(one.outcome for one in outcomes) == sorted([PreloadOutcome.WASTED, *[PreloadOutcome.DROPPED] * 2])
    assert all("contradicted by a call" in one.reason for one in outcomes)


CATALOGUE = """
[tools.Look]
builtin = "grep"
[tools.Show]
builtin = "read_file"
"""


def test_an_agent_that_never_asks_for_a_sort_of_call_has_it_run_ahead_no_more(tmp_path):
    root = tmp_path / "shop-app"
    repository(root, {"shop/cart.py": "total = 1\n"})
    (tmp_path / "tools.toml").write_text(CATALOGUE)
    ended = []

    async def scenario():
        providers = WorkspaceProviders(root, ToolCatalogue.from_toml(tmp_path / "tools.toml"))
        settings = msgspec.structs.replace(SETTINGS, waste_budget=None, pressure=False)
        async with (
            PreloadManager(providers.by_kind, settings=settings, listeners=[ended.append]) as manager,
            Workspace(root, manager=manager, providers=providers, watch=False, graph=False) as workspace,
        ):
            for number in range(40):
                call = f'{{"path": "shop/cart.py", "limit": {number + 1}}}'
                workspace.feed(f'{{"pattern": "t{number}"}}', "tool_call", stream="a", last=True, tool="Look")
                workspace.feed(call, "tool_call", stream="b", last=True, tool="Show")
                await workspace.settled()
                for _ in range(3):
                    await asyncio.sleep(0)
                shown = await workspace.call_tool("Show", msgspec.json.decode(call))
                assert shown.text == "total = 1\n"
            return workspace.statistics()

    statistics = asyncio.run(scenario())
    ahead = [one.probability for one in ended if hasattr(one, "probability") and one.key.startswith("tool:Look")]
    assert 5 < len(ahead) < 30
    assert statistics.misses == 0
    assert statistics.unmet > 20
