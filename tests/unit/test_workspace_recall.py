"""Words recall the files that were used after them, names the file that defines them; and a sieve spares work."""

import numpy as np
import pytest

from preloader.prediction.trees import BoostedTrees
from preloader.workspace.learn.call_habits import CallHabits
from preloader.workspace.learn.calls import CallMemory, features, proposals
from preloader.workspace.learn.calls import taught as teach_calls
from preloader.workspace.learn.features import NAMES, Candidates, candidates
from preloader.workspace.learn.habits import Habits
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.memory import SessionMemory
from preloader.workspace.learn.ranker import NEVER_READ, Examples, Ranker


def call(tool: str, identifier: str = "c", **arguments: object) -> Item:
    """Return a call."""
    return Item("tool_call", id=identifier, tool=tool, arguments=arguments)


def said(text: str) -> Item:
    """Return words of the agent."""
    return Item("assistant_text", text=text)


def session(*items: Item, habits: Habits | None = None) -> SessionMemory:
    """Return a session's memory after these items."""
    memory = SessionMemory("owner/shop", habits)
    for item in items:
        memory.feed(item)
    return memory


def column(memory: SessionMemory, name: str) -> dict[str, float]:
    """Return a feature by path."""
    found = candidates(memory)
    values = found.features[:, NAMES.index(name)].tolist()
    return {memory.book.paths[number]: value for number, value in zip(found.numbers.tolist(), values, strict=True)}


def test_words_recall_the_file_that_was_used_after_them() -> None:
    habits = Habits()
    for _ in range(3):
        session(
            said("Now the totals are rounded."),
            call("Read", file_path="src/money.py"),
            said("Now the letter is posted."),
            call("Read", file_path="src/mail.py"),
        ).taught(habits)
    recalled = column(session(said("Why are totals rounded?"), habits=habits), "recalled_said")
    assert recalled["src/money.py"] > 3 * recalled["src/mail.py"]
    assert max(column(session(said("Unheard of."), habits=habits), "recalled_said").values()) == 0


def test_what_was_recalled_fades_as_others_speak() -> None:
    habits = Habits()
    for _ in range(2):
        session(said("Totals are rounded."), call("Read", file_path="src/money.py")).taught(habits)
    memory = session(said("Totals are rounded."), habits=habits)
    before = column(memory, "recalled_said")["src/money.py"]
    memory.feed(said("Something else."))
    assert column(memory, "recalled_said")["src/money.py"] == pytest.approx(before / 2)


def test_a_name_points_at_the_file_that_defines_it_also_in_a_later_session() -> None:
    found = "src/cart.py:4:def count_all(items):\nsrc/page.py:9:    count_all(items)"
    searched = (call("Grep", pattern="count_all"), Item("tool_result", id="c", text=found))
    memory = session(*searched, said("Look at `count_all`."))
    assert column(memory, "defines_said") == {"src/cart.py": 1.0, "src/page.py": 0.0}
    habits = Habits()
    memory.taught(habits)
    later = session(said("src/cart.py and src/page.py: fix count_all"), habits=habits)
    assert column(later, "defines_said") == {"src/cart.py": 1.0, "src/page.py": 0.0}


def test_a_name_whose_words_are_said_is_covered() -> None:
    listed = ["src/save_step.py", "lib/other.py", "lib/more.py", "lib/last.py", "lib/first.py"]
    memory = session(call("Bash", command="ls"), Item("tool_result", id="c", text="\n".join(listed)))
    memory.feed(said("How does it save a step?"))
    assert column(memory, "covered_said") == {path: float("save" in path) for path in listed}


def stump(feature: int, threshold: float, low: float, high: float) -> BoostedTrees:
    """Return one tree that tells rows apart by one feature."""
    arrays = {
        "feature": np.array([[feature, 0, 0]]),
        "threshold": np.array([[threshold, 0.0, 0.0]]),
        "left": np.array([[1, 1, 2]]),
        "right": np.array([[2, 1, 2]]),
        "value": np.array([[0.0, low, high]]),
        "output": np.array([0]),
        "baseline": np.array([0.0]),
    }
    return BoostedTrees(arrays, len(NAMES))


def test_what_the_sieve_holds_back_scores_nothing() -> None:
    ranker = Ranker(stump(0, 0.5, -1.0, 1.0), 0.0, stump(1, 0.5, -1.0, 1.0))
    rows = np.zeros((4, len(NAMES)), np.float32)
    rows[1:, 0], rows[2, 1] = 1, 1
    scores = ranker.scores(Candidates(np.arange(4), rows))
    assert scores[0] == 0
    assert 0 < scores[1] == scores[3] < 0.5 < scores[2] < 1


def test_only_what_the_sieve_lets_through_is_fitted_on() -> None:
    generator = np.random.default_rng(2)
    fitted: list[np.ndarray] = []

    def fitter(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, **_: object) -> BoostedTrees:
        fitted.append(rows)
        assert len(rows) == len(labels) == len(weights)
        return stump(5, 1.0, -1.0, 1.0)

    examples = Examples()
    for _ in range(60):
        rows = generator.normal(size=(40, len(NAMES))).astype(np.float32)
        examples.add([Candidates(np.arange(40), rows)], {int(np.argmax(rows[:, 5])): 0})
    ranker = examples.fit(fitter, horizons=(2, NEVER_READ))
    sieved, *rest = fitted
    assert len(rest) == 2
    assert sieved[:, 5].min() < 1
    assert all(rows[:, 5].min() > 1 for rows in rest)
    assert (ranker.least, ranker.trees.arrays["feature"].shape[0]) == (1.0, 2)


def test_calls_are_told_apart_by_words_edits_and_how_files_are_read() -> None:
    habits = CallHabits()
    whole = (call("Read", "1", file_path="src/a.py"), Item("tool_result", id="1", characters=900))
    teach_calls([*whole, call("Read", "2", file_path="src/b.py", offset=1, limit=9)], habits)
    assert habits.characters == {"src/a.py": 900}
    memory = CallMemory(habits)
    for item in (call("Bash", command="git status"), call("Edit", file_path="src/a.py"), said("Check the git status.")):
        memory.feed(item)
    proposed = proposals(memory, [])
    rows = {one.key: row for one, row in zip(proposed, features(memory, proposed, {}).tolist(), strict=True)}
    status, reread = rows['Bash {"command": "git status"}'], rows['Read {"file_path": "src/a.py"}']
    differing = {(a, b) for a, b in zip(status, reread, strict=True) if a != b}
    assert (2.0, 0.0) in differing or (2.0, 1.0) in differing  # words of the call that were said
    assert 900.0 in reread
    assert 900.0 not in status


def test_what_is_kept_of_a_long_session_stays_with_its_path() -> None:
    habits = Habits()
    for _ in range(3):
        session(
            said("Totals are rounded."),
            call("Read", file_path="src/money.py"),
            said("Letters."),
            call("Read", file_path="src/mail.py"),
        ).taught(habits)
    found = "src/first.py:1:x\nsrc/cart.py:4:def count_all(items):\nsrc/page.py:9:    count_all(items)"
    searched = (call("Grep", pattern="count_all"), Item("tool_result", id="c", text=found))
    memory = session(*searched, said("Are totals rounded by `count_all` of the cart?"), habits=habits)
    memory.feed(call("Edit", file_path="src/first.py"))
    names = ("recalled_said", "defines_said", "covered_said")
    before = {name: column(memory, name) for name in names}
    assert before["recalled_said"]["src/money.py"] > 0 < before["covered_said"]["src/cart.py"]
    kept = ["src/cart.py", "src/page.py", "src/money.py", "src/mail.py", "src/first.py"]
    memory.keep(np.array([memory.book.find(path) for path in kept]))
    for name in names:
        assert column(memory, name) == before[name]
    memory.feed(said("And count_all?"))
    assert column(memory, "defines_said")["src/cart.py"] == 1.5
    assert [memory.book.paths[number] for _, number in memory.recall.uses] == ["src/first.py"]
