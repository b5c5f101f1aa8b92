"""What a session names is found again, counted, and turned into candidates; and what comes of preparing them."""

from pathlib import Path

import numpy as np
import pytest

from preloader.errors import BundleError
from preloader.evaluation.ratios import ratio_interval
from preloader.workspace.learn import predictor as predicting
from preloader.workspace.learn.call_habits import CallHabits, template_of
from preloader.workspace.learn.calls import CallMemory, proposals
from preloader.workspace.learn.calls import taught as teach_calls
from preloader.workspace.learn.features import NAMES, candidates
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.models import load_models
from preloader.workspace.learn.path_book import PathBook
from preloader.workspace.learn.predictor import StepPredictor
from preloader.workspace.learn.preparing import Step, prepare, threshold_for
from preloader.workspace.learn.ranker import Ranked
from preloader.workspace.learn.tokens import identifiers, path_tokens, words
from preloader.workspace.learn.turn import Turn, action_of


def call(tool: str, identifier: str = "c", **arguments: object) -> Item:
    """Return a call."""
    return Item("tool_call", id=identifier, tool=tool, arguments=arguments)


def result(text: str, identifier: str = "c") -> Item:
    """Return what a call gave."""
    return Item("tool_result", id=identifier, text=text, characters=len(text))


def fed(*items: Item, habits: Habits | None = None) -> SessionMemory:
    """Return a session's memory after these items."""
    memory = SessionMemory("owner/shop", habits)
    for item in items:
        memory.feed(item)
    return memory


def test_paths_stand_out_of_words_with_their_line_numbers() -> None:
    found = path_tokens("see src/app.py:12, then README.md and src/app.py. Not e.g. this, nor https://x.org/a.py")
    assert list(found) == ["src/app.py", "README.md"]
    assert found["src/app.py"].times == 2
    assert found["src/app.py"].numbered
    assert not found["README.md"].numbered


def test_hostile_texts_are_read_in_linear_time() -> None:
    for text in ("a" * 200_000, "a/" * 100_000, "_a" * 100_000, "a.b:" * 50_000, "`" * 100_000):
        path_tokens(text)
        identifiers(text)
        words(text)


def test_identifiers_have_several_words_and_words_have_one() -> None:
    assert identifiers("call saveStep and load_all of Store") == {"savestep", "load_all"}
    assert words("saveStep HTTPServer") == {"save", "step", "http", "server"}


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("src/app.py", "src/app.py"),
        ("./src/app.py", "src/app.py"),
        ("a/src/app.py", "src/app.py"),
        ("/home/me/shop/src/app.py", "src/app.py"),
        ("app.py", "src/app.py"),
        ("@/src/app", "src/app.py"),
        ("new.py", "new.py"),
    ],
)
def test_a_mention_means_the_path_that_ends_so(written: str, means: str) -> None:
    book = PathBook("owner/shop")
    book.add("src/app.py")
    assert [book.paths[number] for number in book.meant(written).ids] == [means]


def test_a_directory_means_what_lies_in_it() -> None:
    book = PathBook("owner/shop")
    inside = book.add("src/shop/cart.py")
    book.add("src/other.py")
    assert book.within("example.org/owner/src/shop") == [inside]
    assert book.within("nowhere/at/all") == []


def test_a_listing_names_files_of_the_directory_it_lists() -> None:
    memory = fed(call("Bash", command="ls -la src/shop"), result("cart.py\nbasket.py"))
    assert {"src/shop/cart.py", "src/shop/basket.py"} <= set(memory.book.paths)


def test_what_a_call_named_is_no_candidate_any_more() -> None:
    found = "src/a.py:1: def x\nsrc/b.py:2: def y"
    memory = fed(call("Grep", pattern="x"), result(found), call("Read", file_path="src/a.py"))
    chosen = candidates(memory)
    assert [memory.book.paths[number] for number in chosen.numbers] == ["src/b.py"]
    assert chosen.features.shape == (1, len(NAMES))
    assert np.isfinite(chosen.features).all()
    assert memory.is_touched("/home/me/shop/src/a.py")
    assert not memory.is_touched("src/b.py")


def test_features_say_where_and_in_which_place_a_file_was_named() -> None:
    memory = fed(call("Grep", pattern="x"), result("src/a.py\nsrc/b.py"), Item("assistant_text", text="Read src/b.py."))
    chosen = candidates(memory)
    row = {
        memory.book.paths[n]: dict(zip(NAMES, chosen.features[i], strict=True)) for i, n in enumerate(chosen.numbers)
    }
    assert row["src/a.py"]["place_search"] < row["src/b.py"]["place_search"]
    assert row["src/b.py"]["age_assistant"] == 0
    assert row["src/b.py"]["asked_assistant"] == 1
    assert row["src/a.py"]["times_assistant"] == 0


def test_earlier_sessions_make_candidates_and_followers() -> None:
    habits = Habits()
    for _ in range(3):
        session = fed(
            call("Read", "1", file_path="src/a.py"),
            result("", "1"),
            call("Read", "2", file_path="src/b.py"),
            result(""),
        )
        session.taught(habits)
    assert habits.followers("src/a.py") == {"src/b.py": 1.0}
    memory = fed(call("Edit", file_path="src/a.py"), habits=habits)
    chosen = candidates(memory)
    assert [memory.book.paths[number] for number in chosen.numbers] == ["src/b.py"]
    assert chosen.features[0, NAMES.index("follows")] == 1


def test_results_of_calls_that_nobody_made_are_ignored() -> None:
    assert len(fed(result("src/a.py", "unknown")).book) == 0


def steps() -> list[Step]:
    """Three steps: file 0 is read at the second, file 5 at the third; only 0 was a candidate before."""
    numbers, scores = np.array([0, 1, 2]), np.array([0.9, 0.8, 0.1])
    return [Step(numbers, scores), Step(numbers, scores, 0, True), Step(numbers, scores, 5, True)]


def test_files_are_prepared_once_and_count_if_they_are_read() -> None:
    came = prepare(steps(), 0.5)
    assert (came.prepared, came.used, came.cold, came.ready, came.reads) == (2, 1, 2, 1, 2)
    assert prepare(steps(), 0.95).prepared == 0


def test_no_more_files_are_prepared_a_step_than_may_be() -> None:
    assert prepare(steps()[:1], 0.0, limit=1).prepared == 1
    assert prepare(steps()[:2], 0.0, limit=1).prepared == 2


def test_the_threshold_is_the_strictest_that_reaches_the_recall() -> None:
    threshold = threshold_for([steps()], 0.5)
    assert 0.8 <= threshold <= 0.9
    assert prepare(steps(), threshold).ready == 1


def test_the_interval_of_a_ratio_is_over_sessions() -> None:
    assert ratio_interval([1, 1, 1], [2, 2, 2]) == (0.5, 0.5)
    low, high = ratio_interval([0, 10] * 10, [10, 10] * 10) or (0, 0)
    assert 0.2 < low < 0.5 < high < 0.8
    assert ratio_interval([], []) is None
    assert ratio_interval([0.0], [0.0]) is None


def test_a_template_is_filled_with_the_files_used_last() -> None:
    template = template_of("Bash", {"command": "git diff src/a.py", "description": "x"}, ["src/a.py", "src/b.py"])
    assert template.filled(["lib/c.py"]) == {"command": "git diff lib/c.py"}
    assert template.filled([]) is None
    assert template.filled(['odd".py']) == {"command": 'git diff odd".py'}


def test_habits_propose_the_call_that_followed_with_the_files_of_now() -> None:
    habits = CallHabits()
    for _ in range(2):
        teach_calls([call("Edit", file_path="src/a.py"), call("Bash", command="git diff src/a.py")], habits)
    memory = CallMemory(habits)
    memory.feed(call("Edit", file_path="lib/z.py"))
    proposed = {one.key: one for one in proposals(memory, [Ranked("lib/y.py", 0.4)])}
    assert proposed['Bash {"command": "git diff lib/z.py"}'].origins["after"] == 1
    assert proposed['Read {"file_path": "lib/y.py"}'].origins == {"cold": 0.4}
    assert proposed['Read {"file_path": "lib/z.py"}'].origins["reread"] == 1


def test_nothing_with_side_effects_is_proposed() -> None:
    memory = CallMemory()
    memory.feed(call("Bash", command="rm -rf build"))
    memory.feed(call("Bash", command="git status"))
    assert {one.arguments.get("command") for one in proposals(memory, [])} == {"git status"}


def test_the_next_part_of_a_file_is_proposed() -> None:
    memory = CallMemory()
    memory.feed(call("Read", file_path="a.py", offset=1, limit=50))
    assert {"file_path": "a.py", "limit": 50, "offset": 51} in [one.arguments for one in proposals(memory, [])]


@pytest.mark.parametrize(
    ("tool", "command", "action"),
    [
        ("Read", "", "read"),
        ("Write", "", "edit"),
        ("Glob", "", "search"),
        ("Task", "", "other"),
        ("Bash", "ls", "run"),
        ("Bash", "go test ./...", "test"),
        ("Bash", "cd x && npm run test", "test"),
        ("Bash", "cat test.py", "run"),
    ],
)
def test_calls_are_sorted_by_what_they_do(tool: str, command: str, action: str) -> None:
    assert action_of(tool, {"command": command}) == action


def test_a_turn_forgets_what_was_said_before_the_last_call() -> None:
    turn = Turn()
    for item in (Item("assistant_text", text="Run `x`."), call("Bash", command="x"), result("ok")):
        turn.feed(item)
    assert (turn.said, turn.pending, turn.actions) == ("", 0, ["run"])
    assert turn.numbers().shape == Turn().numbers().shape
    assert len(set(turn.buckets().tolist())) == len(turn.buckets())


def test_a_file_that_holds_no_models_is_refused(tmp_path) -> None:
    path = tmp_path / "models.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"models\.npz"):
        load_models(path)
    np.savez(path, header=np.frombuffer(b'{"version": 99}', np.uint8))
    with pytest.raises(BundleError, match=r"models\.npz"):
        load_models(path)


MODELS = Path(__file__).parents[2] / "models" / "workspace" / "models.npz"


def _cut(content: bytes) -> bytes:
    return content[:-1_000]


def _changed(content: bytes) -> bytes:
    return content[:5_000] + b"\xff" * 64 + content[5_064:]


@pytest.mark.parametrize("damage", [lambda _: b"", _cut, _changed, lambda content: content[:2]])
def test_damaged_models_are_refused_in_one_sentence(tmp_path, damage) -> None:
    path = tmp_path / "models.npz"
    path.write_bytes(damage(MODELS.read_bytes()))
    with pytest.raises(BundleError, match=r"models\.npz: is not a file of models that can be read"):
        load_models(path)


def test_models_that_are_missing_or_a_directory_are_named(tmp_path) -> None:
    with pytest.raises(BundleError, match=r"nope\.npz: cannot be read \(No such file"):
        load_models(tmp_path / "nope.npz")
    with pytest.raises(BundleError, match="cannot be read"):
        load_models(tmp_path)


def test_the_shipped_models_prepare_the_file_that_is_asked_for() -> None:
    known = Known()
    predictor = StepPredictor("owner/shop", load_models(MODELS), known)
    predictor.feed(Item("user_text", text="The cart counts wrongly."))
    predictor.feed(call("Grep", pattern="count_items", path="src"))
    predictor.feed(result("src/cart.py:12:def count_items():\nsrc/other.py:3:count_items()"))
    predictor.feed(Item("assistant_text", text="Let me read `src/cart.py`."))
    files = predictor.files(5)
    assert files[0].path == "src/cart.py"
    actions = predictor.actions()
    assert max(actions, key=lambda action: actions[action]) == "read"
    assert sum(actions.values()) == pytest.approx(1)
    calls = predictor.calls()
    assert len(calls) == 3
    assert ("Read", {"file_path": "src/cart.py"}) in [(one.tool, one.arguments) for one in calls]
    predictor.feed(call("Read", "r", file_path="src/cart.py"))
    predictor.end()
    assert known.files.read["src/cart.py"] == 1
    assert known.calls.calls == 2


def test_no_more_files_are_returned_than_asked_for_and_none_that_a_call_named() -> None:
    predictor = StepPredictor("owner/shop", load_models(MODELS))
    for number in range(9):
        predictor.feed(Item("thinking", text=f"Let me read src/part{number}.py"))
    files = predictor.files(20)
    assert [len(predictor.files(limit)) for limit in (0, 3)] == [0, 3]
    assert [one.probability for one in files] == sorted((one.probability for one in files), reverse=True)
    predictor.feed(call("Read", file_path=files[0].path))
    assert files[0].path not in {one.path for one in predictor.files(20)}


def test_files_are_ranked_once_after_an_item_and_anew_after_the_next(monkeypatch):
    ranked = []
    monkeypatch.setattr(predicting, "candidates", lambda memory: ranked.append(1) or candidates(memory))
    predictor = StepPredictor("o/r", load_models(MODELS))
    for number in (1, 2):
        predictor.feed(Item(type="user_text", time_s=number, text=f"look at `src/part_{number}.py` please"))
        predictor.calls()
        called = [one.arguments["file_path"] for one in predictor.calls() if "file_path" in one.arguments]
        assert len(ranked) == number
    assert "src/part_2.py" in called
