"""The rules for an agent's next action."""

import pytest

from preloader.workspace.next_action import ACTIONS, NextAction, action_of_call


def likeliest(said, previous="read"):
    rules = NextAction()
    rules.acted(previous)
    rules.said(said)
    return rules.predict()[0][0]


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ("I see. Let me read the loader:", "read"),
        ("Let me look at `src/app.py` next.", "read"),
        ("Now I'll fix both issues:", "edit"),
        ("Next, update the call sites.", "edit"),
        ("All clean. Now let's run the tests to verify the fix:", "test"),
        ("Let me rerun the failing tests.", "test"),
        ("Let me search for other callers:", "search"),
        ("I'll grep for it.", "search"),
        ("Everything passes. Let me commit and push:", "run"),
        ("Now build it:", "run"),
        ("I have finished the change. Would you like me to commit it?", "done"),
        ("The loader retries now, and the tests pass. All set.", "done"),
        ("Let me fix the test. But first, let me read it:", "read"),
        ("I\u2019ll fix it", "edit"),
    ],
)
def test_what_is_announced_is_likeliest(said, action):
    assert likeliest(said) == action


def test_without_words_the_last_action_decides():
    assert likeliest("", previous="run") == "run"
    assert likeliest("", previous="edit") == "edit"
    assert NextAction().predict()[0][0] in ("read", "run")


def test_probabilities_of_all_actions_sum_to_one():
    rules = NextAction()
    for said in ("", "Let me run the tests.", "x" * 5_000, "?", "\n\n"):
        rules.said(said)
        predicted = rules.predict()
        assert {action for action, _ in predicted} == set(ACTIONS)
        assert sum(probability for _, probability in predicted) == pytest.approx(1)
        assert [p for _, p in predicted] == sorted((p for _, p in predicted), reverse=True)


def test_the_words_may_come_in_pieces_and_belong_to_one_action():
    whole, parts = NextAction(), NextAction()
    whole.said("I see the cause. Let me fix it:")
    for sign in "I see the cause. Let me fix it:":
        parts.said(sign)
    assert whole.predict() == parts.predict()
    whole.acted("edit")
    fresh = NextAction()
    fresh.acted("edit")
    assert whole.predict() == fresh.predict()


@pytest.mark.parametrize(
    ("tool", "arguments", "action"),
    [
        ("Read", {"file_path": "a"}, "read"),
        ("read_file", {}, "read"),
        ("Edit", {}, "edit"),
        ("MultiEdit", {}, "edit"),
        ("apply_patch", "*** Begin Patch", "edit"),
        ("Grep", {"pattern": "x"}, "search"),
        ("Bash", {"command": "cd web && npm run test -- --watch=false"}, "test"),
        ("Bash", {"command": "uv run pytest -q tests"}, "test"),
        ("Bash", {"command": "mise run test:integration 2>&1 | tail"}, "test"),
        ("shell", {"command": ["bash", "-lc", "go test ./..."]}, "test"),
        ("Bash", {"command": "git log --oneline -5"}, "run"),
        ("Bash", {"command": "git commit -m 'Fix the test of x'"}, "run"),
        ("Bash", {"command": "DEBUG=1 grep -rn x src | head"}, "search"),
        ("Bash", {"command": "git grep -n x"}, "search"),
        ("Bash", {"command": "cd a && cat b.py"}, "read"),
        ("Bash", {"command": "sed -n 1,20p a.py"}, "read"),
        ("Bash", {"command": "sed -i s/a/b/ a.py"}, "edit"),
        ("Bash", {"command": "cat > a.py <<'E'\nx\nE"}, "edit"),
        ("Bash", {"command": "go build ./... 2>&1"}, "run"),
        ("Bash", {"command": ""}, "run"),
        ("Bash", {}, "run"),
        ("TodoWrite", {}, None),
        ("mcp__linear__list_issues", {}, None),
    ],
)
def test_what_calls_do(tool, arguments, action):
    assert action_of_call(tool, arguments) == action
