"""The rules of a workspace without models, and items made whole of what streams."""

import asyncio
import itertools
import json

import pytest

from preloader.events import NeedOutcome
from preloader.manager import PreloadManager
from preloader.settings import Settings
from preloader.workspace.expecting import LEAST, ColdRules
from preloader.workspace.mentions import Mention
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.resolve import Resolution
from preloader.workspace.whole_items import MOST_CHARACTERS, Chunk, WholeItems
from tests.unit.workspace_tree import write


def mention(source="assistant", form="code"):
    return Mention("path", "a.py", source, form)


def test_what_is_said_twice_counts_for_more():
    rules = ColdRules()
    weak = Resolution(("a.py",), "directory", 1)
    rules.mentioned(mention("thinking"), weak)
    assert rules.likely(5) == []
    for _ in range(3):
        rules.mentioned(mention("thinking"), weak)
    assert [one.path for one in rules.likely(5) if one.probability >= LEAST] == ["a.py"]


def test_the_exact_file_goes_before_one_of_many():
    rules = ColdRules()
    rules.mentioned(mention("user"), Resolution(("x/b.py", "y/b.py"), "name", 2))
    rules.mentioned(mention("user"), Resolution(("a.py",), "exact", 1))
    assert [one.path for one in rules.likely(5)] == ["a.py", "x/b.py"]
    assert [one.path for one in rules.likely(1)] == ["a.py"]


def test_what_was_said_fades_as_steps_pass():
    rules = ColdRules()
    rules.mentioned(mention("thinking", "bare"), Resolution(("a.py",), "exact", 1))
    for _ in range(10):
        rules.step()
    rules.note("a.py", LEAST - 0.01)
    assert rules.likely(5) == []


def test_a_call_is_the_same_item_however_its_arguments_are_cut():
    arguments = json.dumps({"file_path": "src/ä.py", "limit": 3})
    for first, second in itertools.combinations(range(len(arguments) + 1), 2):
        whole = WholeItems()
        parts = arguments[:first], arguments[first:second], arguments[second:]
        items = [
            item
            for place, part in enumerate(parts)
            for item in whole.add(Chunk(part, "tool_call", "c1", place == 2, "Read"))
        ]
        assert [(item.type, item.tool, item.arguments) for item in items] == [
            ("tool_call", "Read", {"file_path": "src/ä.py", "limit": 3})
        ]


def test_a_call_that_is_named_before_it_has_arguments_keeps_its_name():
    whole = WholeItems()
    assert whole.add(Chunk("", "tool_call", "c1", tool="Read")) == []
    assert whole.add(Chunk('{"limit": 3}', "tool_call", "c1")) == []
    (called,) = whole.add(Chunk("", "tool_call", "c1", last=True))
    assert (called.tool, called.arguments) == ("Read", {"limit": 3})
    (called,) = whole.add(Chunk("", "tool_call", "c2", last=True, tool="git_status"))
    assert (called.tool, called.arguments) == ("git_status", {})


def test_words_are_whole_when_somebody_else_has_the_word():
    whole = WholeItems()
    assert whole.add(Chunk("Let me ", "assistant")) == []
    assert whole.add(Chunk("see.", "assistant")) == []
    (said,) = whole.add(Chunk('{"a"', "tool_call", "c1", tool="Read"))
    assert (said.type, said.text) == ("assistant_text", "Let me see.")


@pytest.mark.parametrize("text", ["[" * 100_000, "no JSON", "[1]", '{"a": ' * 5_000, ""])
def test_arguments_that_are_no_table_are_none(text):
    items = WholeItems().add(Chunk(text, "tool_call", "c1", last=True, tool="Bash"))
    assert all(item.arguments == {} for item in items)


def test_an_endless_output_keeps_its_length_and_not_its_end():
    whole = WholeItems()
    for _ in range(10):
        assert whole.add(Chunk("x" * MOST_CHARACTERS, "tool_output", "c1")) == []
    (item,) = whole.add(Chunk("", "tool_output", "c1", last=True))
    assert (len(item.text), item.characters) == (MOST_CHARACTERS, 10 * MOST_CHARACTERS)


def test_unfinished_streams_are_bounded():
    whole = WholeItems()
    ended = [item for number in range(500) for item in whole.add(Chunk("x", "tool_output", str(number)))]
    assert len(ended) > 400


@pytest.fixture
def providers(tmp_path):
    write(tmp_path, {"a.py": "a", "b.py": "b"})
    return WorkspaceProviders(tmp_path)


def manager_of(providers, **options):
    return PreloadManager(providers.by_kind, settings=Settings(pressure=False, **options))


async def rest(manager):
    for _ in range(1_000):
        await asyncio.sleep(0.005)
        tiers = manager.statistics().tiers.values()
        if not any(tier.queued or tier.loading for tier in tiers):
            return


def test_what_is_held_is_queued_or_ready_and_not_what_was_discarded(providers):
    async def scenario():
        async with manager_of(providers) as manager:
            seen = [manager.holds("file:a.py")]
            manager.hint("file:a.py", 0.95)
            manager.retract([])  # takes the hint without a turn of the loop
            seen.append(manager.holds("file:a.py"))
            await rest(manager)
            seen.append(manager.holds("file:a.py"))
            await manager.discard(["file:a.py"])
            return [*seen, manager.holds("file:a.py")]

    assert asyncio.run(scenario()) == [False, True, True, False]


@pytest.mark.parametrize("burst", [0, 2, 4])
def test_so_many_may_be_wasted_as_the_burst_says(tmp_path, burst):
    write(tmp_path, {f"{number}.py": "x" for number in range(6)})

    async def scenario():
        async with manager_of(WorkspaceProviders(tmp_path), waste_budget=0.5, waste_burst=burst) as manager:
            for number in range(6):
                manager.hint(f"file:{number}.py", 1.0)
            await rest(manager)
            return manager.statistics().residents

    assert asyncio.run(scenario()) == burst


def test_a_hint_that_is_retracted_is_wasted_once_and_the_file_is_still_served(providers):
    async def scenario():
        async with manager_of(providers) as manager:
            manager.hint("file:a.py", 0.95)
            await rest(manager)
            for _ in range(2):
                manager.retract(["file:a.py", "file:b.py", "file:no such"])
            assert manager.statistics().ledger.preloads["wasted"] == 1
            await manager.get("file:a.py")
            return manager.statistics().ledger

    ledger = asyncio.run(scenario())
    assert (ledger.open_preloads, ledger.preloads["used"]) == (0, 0)


def test_a_hint_is_retracted_before_it_was_considered(providers):
    async def scenario():
        async with manager_of(providers) as manager:
            for number in range(150):  # more than reach the policy in one turn of the loop
                manager.hint(f"file:no_{number}.py", 0.2)
            manager.hint("file:a.py", 0.5, steps=3)
            manager.retract(["file:a.py"])
            await rest(manager)
            return manager.statistics()

    statistics = asyncio.run(scenario())
    assert (statistics.ledger.open_preloads, statistics.residents) == (0, 0)


def test_a_used_preload_is_not_retracted(providers):
    async def scenario():
        async with manager_of(providers) as manager:
            manager.hint("file:a.py", 0.95)
            await rest(manager)
            await manager.get("file:a.py")
            manager.retract(["file:a.py"])
            return manager.statistics().ledger

    ledger = asyncio.run(scenario())
    assert (ledger.preloads["used"], ledger.preloads["wasted"]) == (1, 0)
    assert ledger.background_s == pytest.approx(ledger.saved_s)


def test_what_is_discarded_is_loaded_anew_and_nothing_else_is(providers):
    async def scenario():
        async with manager_of(providers) as manager:
            for key in ("file:a.py", "file:b.py"):
                await manager.get(key)
            await manager.discard(["file:a.py", "file:unknown"])
            for key in ("file:a.py", "file:b.py"):
                await manager.get(key)
            return manager.statistics().ledger.needs

    needs = asyncio.run(scenario())
    assert (needs[NeedOutcome.MISS], needs[NeedOutcome.HIT]) == (3, 1)
