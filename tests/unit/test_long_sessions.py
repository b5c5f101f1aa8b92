"""Sessions that go on and on: what is remembered of them is bounded, and what is left is what came last, unharmed."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from preloader.workspace import follower
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.learn import activation, call_habits, calls, forgetting, habits, memory, turn
from preloader.workspace.learn.call_habits import CallHabits
from preloader.workspace.learn.calls import CallMemory
from preloader.workspace.learn.evidence import CHANNELS
from preloader.workspace.learn.features import candidates
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.models import load_models
from preloader.workspace.learn.predictor import StepPredictor
from preloader.workspace.learn.turn import Turn
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import write

MODELS = Path(__file__).parents[2] / "models/workspace/models.npz"


def called(number, tool="Read", **arguments):
    return Item("tool_call", float(number), id=f"c{number}", tool=tool, arguments=arguments)


def returned(number, text):
    return Item("tool_result", float(number), text, id=f"c{number}")


def said(number, text):
    return Item("assistant_text", float(number), text)


def session(length):
    """Yield what a session of so many calls says: new files and identifiers all the time."""
    for number in range(length):
        name = f"src/part_{number % 7}/module_{number}.py"
        yield said(number, f"Let me read `{name}`, where compute_{number}_total is, and see src/other_{number}.py.")
        yield called(number, file_path=f"/home/ann/shop/{name}")
        yield returned(number, f"def compute_{number}_total(): ...\nimport part_{number % 5}.module_{number % 11}\n")


def fed(items, **options):
    one = SessionMemory("owner/shop", **options)
    for item in items:
        one.feed(item)
    return one


def by_path(one):
    """Return the features of all candidates, by path."""
    found = candidates(one)
    return {one.book.paths[n]: row.tolist() for n, row in zip(found.numbers.tolist(), found.features, strict=True)}


def test_renumbering_all_paths_changes_nothing_that_is_known_of_them():
    one = fed(session(30))
    before, files = by_path(one), one.activation.symbols.files("compute_7_total")
    meant = {one.book.paths[number]: weight for number, weight in files.items()}
    one.keep(np.arange(len(one.book))[::-1])
    assert by_path(one) == before
    files = one.activation.symbols.files("compute_7_total")
    assert {one.book.paths[number]: weight for number, weight in files.items()} == meant
    taught, expected = Habits(), Habits()
    one.taught(taught)
    fed(session(30)).taught(expected)
    assert (taught.read, taught.named, taught.after) == (expected.read, expected.named, expected.after)
    assert taught.symbols == expected.symbols


def test_the_paths_of_a_long_session_are_bounded_and_the_latest_are_kept(monkeypatch):
    monkeypatch.setattr(forgetting, "MOST_PATHS", 100)
    monkeypatch.setattr(forgetting, "KEPT_PATHS", 50)
    one, forgotten = SessionMemory("owner/shop"), 0
    for item in session(300):
        forgotten += forgetting.make_room(one)
        one.feed(item)
        assert len(one.book) <= 104  # an item names a few
    assert forgotten > 5
    for number in range(290, 300):
        assert one.is_touched(f"src/part_{number % 7}/module_{number}.py")
        assert one.book.find(f"src/other_{number}.py") is not None
    assert one.book.find("src/other_3.py") is None
    assert by_path(one)  # the other ones of the last items are candidates
    files = one.activation.symbols.files("compute_299_total")
    assert {one.book.paths[number] for number in files} == {"src/part_5/module_299.py", "src/other_299.py"}


def test_what_earlier_sessions_knew_goes_before_what_this_one_named(monkeypatch):
    monkeypatch.setattr(forgetting, "MOST_PATHS", 60)
    monkeypatch.setattr(forgetting, "KEPT_PATHS", 30)
    known = Habits()
    known.learn([], [], [], [f"old/file_{number}.py" for number in range(45)], [])
    one = fed(session(8), habits=known)
    assert forgetting.make_room(one)
    assert all(one.book.find(f"src/other_{number}.py") is not None for number in range(8))
    assert not forgetting.make_room(one)


def test_identifiers_calls_files_uses_and_words_are_bounded(monkeypatch):
    monkeypatch.setattr(activation, "_MOST_IDENTIFIERS", 20)
    monkeypatch.setattr(calls, "_MOST_CALLS", 10)
    monkeypatch.setattr(calls, "_MOST_FILES", 10)
    monkeypatch.setattr(memory, "_MOST_USES", 16)
    monkeypatch.setattr(turn, "_MOST_SAID", 50)
    one, two = SessionMemory("owner/shop"), CallMemory()
    for item in session(60):
        one.feed(item)
        two.feed(item)
    assert len(one.activation.symbols._files) == 20
    assert one.activation.symbols.files("compute_59_total")
    assert not one.activation.symbols.files("compute_3_total")
    assert 16 <= len(one.used) <= 32
    assert len(one.tools) == 2
    assert list(two.made) == [f'Read {{"file_path": "{name}"}}' for name in two.read_step]
    assert [name.rpartition("_")[2] for name in two.read_step] == [f"{number}.py" for number in range(50, 60)]
    words = Turn()
    for number in range(30):
        words.feed(said(number, f"word {number}"))
    assert len(words.said) == 50
    assert words.said.endswith("word 28 word 29")


def test_calls_that_are_never_answered_are_forgotten(monkeypatch):
    one = SessionMemory("owner/shop")
    for number in range(200):
        one.feed(called(number, "Grep", pattern="total"))
    assert len(one.pending) == 64
    one.feed(returned(199, "src/late.py:3:total"))
    assert one.book.find("src/late.py") is not None
    one.feed(returned(3, "src/early.py:3:total"))
    assert one.book.find("src/early.py") is None


def test_relations_to_a_few_paths_are_kept_and_the_others_worked_out_again():
    one = fed(session(80))
    first = one.kinship.to(0).copy()
    for other in range(80):
        one.kinship.to(other)
        one.kinship.followers(other)
        one.kinship.companions(other)
    assert len(one.kinship._related) == 32
    assert len(one.kinship._past) == 64
    assert np.array_equal(one.kinship.to(0), first)


def test_no_content_that_a_session_wrote_is_kept_until_its_end():
    known = Known()
    predictor = StepPredictor("owner/shop", load_models(MODELS), known)
    for number in range(50):
        predictor.feed(called(2 * number, "Write", file_path=f"src/m_{number}.py", content="x" * 60_000))
        predictor.feed(called(2 * number + 1, "Grep", pattern="total", path=f"src/m_{number}.py"))
    predictor.feed(called(200, "Grep", pattern="y" * 60_000))
    assert len(json.dumps([item.arguments for item in predictor._taught])) < 20_000
    predictor.end()
    assert known.calls.calls == 50
    assert [template.arguments for template in known.calls.made] == ['{"path": "\u27e60\u27e7", "pattern": "total"}']


def test_habits_forget_what_came_least(monkeypatch):
    monkeypatch.setattr(habits, "MOST_FILES", 40)
    monkeypatch.setattr(habits, "MOST_SYMBOLS", 40)
    known = Habits()
    for number in range(30):
        used = ["src/always.py", f"src/once_{number}.py"]
        symbols = [("compute_total", "src/always.py"), (f"compute_{number}", used[1]), (f"see_{number}", used[0])]
        known.learn(used, used, [], [*used, f"src/named_{number}.py"], symbols)
    assert known.read["src/always.py"] == 30
    assert known.symbols["compute_total"] == {"src/always.py": 30}
    paths = known.named.keys() | known.touched.keys()
    assert len(paths) <= 40
    assert len(known.symbols) <= 40
    for inner in (known.after, known.together):
        assert inner.keys() <= paths
        assert all(counts.keys() <= paths for counts in inner.values())
    assert known.recent.keys() | known.last.keys() | known.read.keys() <= paths


def test_habits_of_calls_forget_what_came_least(monkeypatch):
    monkeypatch.setattr(call_habits, "MOST_TEMPLATES", 20)
    monkeypatch.setattr(call_habits, "MOST_FILES", 20)
    known = CallHabits()
    for number in range(100):
        known.learn("Edit", "Grep", {"pattern": "total"}, [])
        known.learn("Grep", "Read", {"file_path": f"src/m_{number}.py", "offset": 1}, [])
    assert max(len(known.made), len(known.reads)) <= 20
    assert known.made.most_common(1)[0][1] == 100
    assert known.after["Edit"].total() == 100
    assert known.after["Grep"].keys() <= known.made.keys()


def test_chunks_without_words_are_not_taken_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(follower, "MOST_WAITING", 6_400)

    async def main():
        async with Workspace(tmp_path, watch=False, graph=False) as workspace:
            for number in range(150):
                workspace.feed("", "assistant", stream=str(number))
            skipped = workspace.statistics().skipped
            await workspace.settled()
            workspace.feed("more", "assistant", last=True)
            return skipped, workspace.statistics().skipped

    assert asyncio.run(main()) == (50, 50)


def test_steps_that_wait_are_bounded_but_for_edits(tmp_path, monkeypatch):
    monkeypatch.setattr(follower, "MOST_JOBS", 20)
    write(tmp_path, {"a.py": "x = 1\n"})

    async def main():
        async with Workspace(tmp_path, watch=False, graph=False) as workspace:
            for number in range(30):
                workspace.feed("words ", "assistant", stream=str(number))
            write(tmp_path, {"b.py": "x = 2\n"})
            workspace.on_edit("b.py")  # what it leads to besides is skipped
            skipped = workspace.statistics().skipped
            await workspace.settled()
            assert "b.py" in workspace.index.table
            assert (await workspace.read_file("b.py")).text == "x = 2\n"
            await workspace.settled()
            return skipped, workspace.statistics().skipped

    assert asyncio.run(main()) == (12, 12)


def test_the_graph_takes_in_many_changes_at_once_and_those_made_while_it_was_built(tmp_path, monkeypatch):
    write(tmp_path, {f"m_{number}.py": "x = 1\n" for number in range(30)})
    build, updated = CodeGraph.build, []

    async def main():
        building, go_on = asyncio.Event(), asyncio.Event()

        async def built(self, paths):
            await build(self, paths)
            building.set()
            await go_on.wait()

        async def update(self, paths):
            updated.append(set(paths))

        monkeypatch.setattr(CodeGraph, "build", built)
        monkeypatch.setattr(CodeGraph, "update", update)
        async with Workspace(tmp_path, watch=False) as workspace:
            await building.wait()
            for number in range(30):
                workspace.on_edit(f"m_{number}.py")
            await workspace.settled()
            assert updated == []
            go_on.set()
            while not updated:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert updated == [{f"m_{number}.py" for number in range(30)}]


@pytest.mark.parametrize("rows", [[], [0], [255, 3], list(range(299, -1, -1))])
def test_rows_that_are_kept_are_what_they_were(rows):
    one = fed(session(150))
    before = one.evidence.of("item", 300).copy()
    one.evidence.keep(np.array(rows, np.int64))
    assert np.array_equal(one.evidence.of("item", len(rows)), before[rows])
    assert (one.evidence.of("times", len(rows) + 300)[len(rows) :] == 0).all()
    assert one.evidence.of("item", 1).shape == (1, len(CHANNELS))
