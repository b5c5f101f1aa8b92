"""Advice of a language model: what it is shown, and what of its answer is let in."""

import msgspec
import pytest

from preloader.workspace.advice.answer import Admitted, NextStep, admitted
from preloader.workspace.advice.discretion import WITHHELD, Discretion
from preloader.workspace.advice.question import SessionTail, described, question
from preloader.workspace.learn.items import Item
from preloader.workspace.path_table import PathTable
from tests.unit.advice_scene import INDEX, call, providers_of


@pytest.fixture
def providers(tmp_path):
    return providers_of(tmp_path)


def let_in(providers, answer):
    found = list(admitted(msgspec.convert(answer, NextStep), PathTable(INDEX), providers))
    return [one for one in found if isinstance(one, Admitted)], sum(not isinstance(one, Admitted) for one in found)


# What is let in.


def test_files_of_the_index_and_listed_calls_are_let_in_under_their_one_spelling(providers):
    root = providers.confined.root
    answer = {
        "files": [{"path": f"{root}/src/cart.py", "probability": 0.7}, {"path": "README.md", "probability": 0}],
        "calls": [
            call(file_path="./src/prices.py", limit=2000, description="look"),
            call("grep", pattern="x", path="src"),
            call("grep", pattern="x", path="."),
        ],
    }
    accepted, refused = let_in(providers, answer)
    assert refused == 0
    assert [(one.key, one.sort) for one in accepted] == [
        ("file:src/cart.py", "file"),
        ("file:README.md", "file"),
        ('tool:Read {"file_path": "src/prices.py"}', "Read"),
        ('tool:grep {"path": "src", "pattern": "x"}', "grep"),
        ('tool:grep {"pattern": "x"}', "grep"),
    ]


HOSTILE_PATHS = (
    *("../../.ssh/id_rsa", "src/../../x", "/etc/passwd", "~/.aws/credentials", ".env", "src/.env", ".git/config"),
    *(
        "build/x.py",
        "src/none.py",
        "src",
        "",
        " ",
        ".",
        "C:\\x",
        "file:///etc/passwd",
        "-rf",
        "src/cart.py\0",
        "\ud800",
    ),
    *("//etc/passwd", "src/cart.py/", "src/cart.py; id", "x" * 60_000, "\u2024\u2024/x", "/dev/zero", "src/*.py"),
)


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=lambda path: repr(path)[:20])
def test_no_hostile_path_is_let_in_as_a_file_or_as_an_argument(providers, path):
    answer = {"files": [{"path": path, "probability": 0.9}], "calls": [call(file_path=path)]}
    accepted, refused = let_in(providers, answer)
    harmless = {"src/cart.py/": 2, "src": 1, ".": 1}.get(path, 0)  # a directory may be an argument
    assert (len(accepted), refused) == (harmless, 2 - harmless)
    assert {one.key.partition(" ")[0] for one in accepted} <= {"tool:Read", "file:src/cart.py"}


@pytest.mark.parametrize(
    "guess",
    [
        call("Bash", command="cat /etc/passwd"),
        call("Write", file_path="src/cart.py"),
        call("", file_path="src/cart.py"),
        call(),
        call(file_path="src/cart.py", offset="1; id"),
        call(file_path="src/cart.py", mode="w"),
        call(file_path=["src/cart.py"]),
        call("grep", pattern="x", glob="../*"),
        {**call(file_path="src/cart.py"), "probability": 1.5},
        {**call(file_path="src/cart.py"), "probability": float("nan")},
        {**call(), "arguments": [{"name": "file_path", "value": "src/cart.py"}] * 2},
    ],
)
def test_calls_that_are_not_as_listed_are_refused(providers, guess):
    assert let_in(providers, {"files": [], "calls": [guess]}) == ([], 1)


def test_what_is_more_than_was_asked_for_is_refused(providers):
    files = [{"path": "src/cart.py", "probability": 0.1}] * 1_000
    accepted, refused = let_in(providers, {"files": files, "calls": [call(file_path="src/cart.py")] * 10})
    assert (len(accepted), refused) == (12, 998)


# What is shown.


def shown(providers, *items, outputs=True, characters=6_000):
    tail = SessionTail(Discretion(providers.confined), outputs)
    for item in items:
        tail.add(item)
    return question(tail.items(), described(providers.tools.catalogue), characters)


def result_of(arguments, text, tool="Bash"):
    return Item("tool_call", id="c", tool=tool, arguments=arguments), Item("tool_result", id="c", text=text)


def test_a_question_shows_the_end_of_the_session_and_the_safe_tools(providers):
    items = [Item("user_text", text="Fix the cart."), *result_of({"pattern": "total"}, "src/cart.py:3:total", "grep")]
    asked = shown(providers, *items, Item("assistant_text", text="I will look at it."))
    session = asked.partition("whatever it says:\n")[2].split("\n")
    assert session == [
        "user: Fix the cart.",
        'call grep: {"pattern":"total"}',
        "result: src/cart.py:3:total",
        "agent: I will look at it.",
    ]
    assert "- Read(file_path: path; offset: integer, optional; limit: integer, optional)" in asked
    assert "- grep(pattern: string" in asked
    assert "Write" not in asked
    assert "description" not in asked


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "cat .env"},
        {"command": "cat src/../.env | head"},
        {"command": "cat <'~/.ssh/id_rsa'"},
        {"command": "less --file=deploy/server.pem"},
        {"command": "cat /etc/hosts"},
        {"command": "cat build/out.txt"},
        {"file_path": "config/credentials.json"},
        {"edits": [{"path": ".npmrc", "text": "hunter2"}]},
        {"command": " ".join(["word"] * 3_000)},
    ],
)
def test_what_a_call_gave_that_names_a_secret_foreign_or_ignored_file_is_withheld(providers, arguments):
    asked = shown(providers, *result_of({**arguments, "content": "hunter2"}, "hunter2"))
    assert "hunter2" not in asked
    assert f"call Bash: {WITHHELD}" in asked
    assert f"result: {WITHHELD}" in asked


def test_what_an_ordinary_call_gave_is_shown_with_paths_relative_to_the_root(providers):
    root = providers.confined.root
    asked = shown(providers, *result_of({"command": f"cd {root} && ls src/ 2>/dev/null"}, f"{root}/src/cart.py\n"))
    assert "result: src/cart.py" in asked
    assert str(root) not in asked.partition("result:")[2]


@pytest.mark.parametrize(
    "text",
    [
        "src/cart.py:1:x\n.env:3:DATABASE=hunter2\n",
        "src/cart.py\n1:x\n\n.env\n3:DATABASE=hunter2\n4:OTHER=hunter2",
        "diff --git a/.env b/.env\n+DATABASE=hunter2\n \n+OTHER=hunter2",
        "PASSWORD=hunter2",
        '{"api_key": "hunter2"}',
        "postgres://root:hunter2@db/x",
        "Authorization: Bearer hunter2hunter2",
        "sk-hunter2hunter2hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n",
        "ordinary\n" * 4_000 + "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 40,
        "ordinary\n" * 4_000 + "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 2_000 + "\n" + "hunter2\n" * 9,
        ".env\n" + "x\n" * 30_000 + "1:hunter2\n" * 5,
    ],
)
def test_secrets_in_what_a_tool_gave_are_not_shown(providers, text):
    assert "hunter2" not in shown(providers, *result_of({"pattern": "x"}, text, "grep"))


def test_outputs_of_unknown_calls_are_withheld_and_all_of_them_on_demand(providers):
    assert "hunter2" not in shown(providers, Item("tool_result", id="other", text="hunter2"))
    ordinary = result_of({"pattern": "x"}, "src/cart.py:1:x", "grep")
    assert "src/cart.py:1" in shown(providers, *ordinary)
    assert "src/cart.py:1" not in shown(providers, *ordinary, outputs=False)


def test_a_question_is_bounded_whatever_the_session_says(providers):
    items = [Item("assistant_text", text=f"{number} " + "words and more " * 5_000) for number in range(200)]
    asked = shown(providers, *items, characters=2_000)
    assert len(asked) < 5_000
    assert "agent: 199 " in asked
    assert "agent: 190 " not in asked
