import asyncio
import json
from pathlib import PurePosixPath

import pytest

from preloader.errors import LoadError, RefusedCallError, RefusedPathError, UnknownResourceError
from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome
from preloader.settings import Settings
from preloader.workspace import search
from preloader.workspace.reading import Entry, Reading
from preloader.workspace.search import Match
from tests.unit.tool_scene import FILES, call
from tests.unit.workspace_tree import Desk, repository, write


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine may take long to start an interpreter."""
    monkeypatch.setattr(search, "_EXPRESSION_S", 30.0)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, FILES)
    return tmp_path


def paths(matches):
    return [(match.path, match.line) for match in matches.matches]


# ---- the built-in tools ----


def test_read_file(root):
    whole = call(root, "read_file", path="src/app.py")
    assert (whole.text, whole.encoding, whole.size, whole.truncated) == (FILES["src/app.py"], "utf-8", 49, False)
    part = call(root, "read_file", path="src/app.py", offset=2, limit=2)
    assert (part.text, part.truncated) == ("\ndef app():\n", True)
    assert call(root, "read_file", path="src/app.py", offset=99).text == ""
    assert call(root, "read_file", path="x.bin").encoding == ""


def test_lines_of_a_file_are_those_that_a_search_counts(root):
    write(root, {"odd.txt": "one\x0c\u2028still one\r\ntwo\nthree"})
    assert call(root, "grep", pattern="two").matches[0].line == 2
    second = call(root, "read_file", path="odd.txt", offset=2, limit=1)
    assert (second.text, second.truncated) == ("two\n", True)
    assert not call(root, "read_file", path="odd.txt", offset=2, limit=2).truncated


def test_list_directory(root):
    names = [entry.name for entry in call(root, "list_directory")]
    assert names == [".gitignore", "README.md", "src", "web", "x.bin"]
    (root / "src/link").symlink_to("app.py")
    assert call(root, "list_directory", path="src") == [
        Entry("app.py", "file"),
        Entry("deep", "directory"),
        Entry("link", "link"),
    ]


@pytest.mark.parametrize(
    ("pattern", "top", "found"),
    [
        ("*.py", ".", ["src/app.py", "src/deep/mod.py"]),
        ("src/*.py", ".", ["src/app.py"]),
        ("**/*.{ts,tsx}", ".", ["web/a.ts", "web/b.tsx"]),
        ("deep/*", "src", ["src/deep/mod.py"]),
        ("**/*.log", ".", []),
        ("**/.env", ".", []),
    ],
)
def test_glob(root, pattern, top, found):
    assert list(call(root, "glob", pattern=pattern, path=top).paths) == found


def test_what_is_found_is_bounded(root, monkeypatch):
    monkeypatch.setattr(search, "MAX_FOUND", 2)
    found = call(root, "glob", pattern="**/*")
    assert (len(found.paths), found.truncated) == (2, True)
    matches = call(root, "grep", pattern="let", limit=1)
    assert (len(matches.matches), matches.truncated) == (1, True)
    matches = call(root, "grep", pattern="l.t", limit=1)
    assert (len(matches.matches), matches.truncated) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"pattern": "TODO"}, [("src/app.py", 4)]),
        ({"pattern": "todo", "ignore_case": True}, [("src/app.py", 4), ("src/deep/mod.py", 1)]),
        ({"pattern": "t[oO]do:"}, [("src/deep/mod.py", 1)]),
        ({"pattern": r"^let \w = \d$"}, [("web/a.ts", 1), ("web/b.tsx", 1)]),
        ({"pattern": "let", "glob": "*.tsx"}, [("web/b.tsx", 1)]),
        ({"pattern": "let", "path": "src"}, []),
        ({"pattern": "os", "path": "src/app.py"}, [("src/app.py", 1), ("src/app.py", 4)]),
        ({"pattern": "app()", "fixed": True}, [("src/app.py", 3)]),
        ({"pattern": "HÉLLO", "ignore_case": True}, []),
    ],
)
def test_grep(root, arguments, found):
    assert paths(call(root, "grep", **arguments)) == found


@pytest.mark.parametrize("pattern", ["needle", "needl[e]"])
def test_a_long_line_is_searched_to_its_end_and_a_long_file_in_time(root, pattern):
    write(root, {"long.txt": "x" * 5_000 + "needle\n", "tall.txt": "x\n" * 800_000 + "needle\n" * 500})
    found = call(root, "grep", pattern=pattern, limit=2_000).matches
    assert [(match.path, match.line) for match in found[:2]] == [("long.txt", 1), ("tall.txt", 800_001)]
    assert len(found) == 501


def test_what_follows_the_last_newline_is_no_line(root):
    write(root, {"empty.txt": "", "one.txt": "x\n", "blank.txt": "x\n\n", "open.txt": "\nx"})
    found = paths(call(root, "grep", pattern="^$"))
    assert found == [("blank.txt", 2), ("open.txt", 1), ("src/app.py", 2)]


def test_both_ways_of_searching_find_the_same(root):
    write(
        root, {"many.txt": "".join(f"line {number} {'ä' * number}\r\n" for number in range(60)), "no-end.txt": "line"}
    )
    plain, by_expression = call(root, "grep", pattern="line"), call(root, "grep", pattern="l[i]ne")
    assert plain == by_expression
    assert Match("many.txt", 3, "line 2 ää") in plain.matches
    assert all(len(match.text) <= 400 for match in plain.matches)


def test_an_expression_that_takes_for_ever_is_given_up_and_the_loop_never_held(root, monkeypatch):
    write(root, {"long.txt": "a" * 390 + "\n"})
    monkeypatch.setattr(search, "_EXPRESSION_S", 0.5)

    async def main():
        async with Desk(root) as desk:
            turns = 0

            async def turn():
                nonlocal turns
                while True:
                    await asyncio.sleep(0.005)
                    turns += 1

            turning = asyncio.create_task(turn())
            with pytest.raises(RefusedCallError, match="takes too long on these files"):
                await desk.call("grep", pattern="(a+)+$x", path="long.txt")
            turning.cancel()
            assert turns > 5

    asyncio.run(main())


def test_a_malformed_expression(root):
    with pytest.raises(RefusedCallError, match=r"is malformed: .*unterminated"):
        call(root, "grep", pattern="(")


def test_git_tools(tmp_path):
    repository(tmp_path, {"x.txt": "x\n"})
    write(tmp_path, {"x.txt": "y\n"})
    assert [change.path for change in call(tmp_path, "git_status").changes] == ["x.txt"]
    assert "+y" in call(tmp_path, "git_diff").patch
    assert "+y" in call(tmp_path, "git_diff", path="x.txt").patch
    assert len(call(tmp_path, "git_log")) == 1


# ---- keys ----


def test_every_spelling_of_a_call_has_one_key(root):
    desk = Desk(root)
    key = 'tool:grep {"path": "src", "pattern": "TODO"}'
    for arguments in (
        {"pattern": "TODO", "path": "src"},
        {"path": "./src/", "pattern": "TODO"},
        {"path": str(root / "src"), "pattern": "TODO", "ignore_case": False, "limit": 200},
        {"path": "src", "pattern": "TODO", "limit": 200.0, "glob": None},
    ):
        assert desk.tools.key("grep", arguments) == key
    assert desk.tools.key("grep", {"pattern": "ü", "limit": 5}) == 'tool:grep {"limit": 5, "pattern": "ü"}'
    assert desk.tools.cost(key).seconds > 0


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("greb", {}, "no tool 'greb' is on the operator's catalogue; did you mean 'grep'"),
        ("grep", {}, "grep needs the argument 'pattern'"),
        ("grep", {"patern": "x"}, "grep has no argument 'patern'; did you mean 'pattern'"),
        ("grep", {"pattern": 1}, "'pattern' of grep must be a text of at most 2000 characters, not 1"),
        ("grep", {"pattern": ""}, "'pattern' of grep must have a length of at least 1, not ''"),
        ("grep", None, "the arguments of grep must be a table, not None"),
        ("grep", [], "the arguments of grep must be a table, not \\[\\]"),
        (None, {}, "no tool None is on the operator's catalogue"),
        ("grep", {"pattern": "x", "limit": "1"}, "'limit' of grep must be a whole number, not '1'"),
        ("grep", {"pattern": "x", "limit": 10**9}, "'limit' of grep must be at most 2000, not 1000000000"),
        ("grep", {"pattern": "x", "ignore_case": 1}, "'ignore_case' of grep must be true or false, not 1"),
    ],
)
def test_a_call_that_is_not_as_listed(root, name, arguments, reason):
    with pytest.raises(RefusedCallError, match=reason):
        Desk(root).tools.key(name, arguments)


def test_paths_in_calls_are_confined(root):
    tools = Desk(root).tools
    for arguments in ({"path": "../x"}, {"path": ".env"}, {"path": "/etc/passwd"}):
        with pytest.raises(RefusedPathError):
            tools.key("read_file", arguments)
    with pytest.raises(RefusedPathError, match="must be relative"):
        tools.key("glob", {"pattern": "../*"})


# ---- served only while true ----

CHANGES = {
    "an edit": lambda root: write(root, {"src/app.py": "TODO\n"}),
    "a new file": lambda root: write(root, {"src/new.py": "TODO\n"}),
    "a file removed": lambda root: (root / "src/app.py").unlink(),
    "a directory renamed": lambda root: (root / "src").rename(root / "lib"),
    "a rule that ignores": lambda root: write(root, {"src/.gitignore": "app.py\n"}),
    "a rule that no longer does": lambda root: (root / ".gitignore").write_text(""),
    "a link in its place": lambda root: (
        (root / "src/app.py").unlink(),
        (root / "src/app.py").symlink_to("deep/mod.py"),
    ),
}
CALLS = [
    ("grep", {"pattern": "TODO"}),
    ("glob", {"pattern": "**/*.py"}),
    ("list_directory", {"path": "src"}),
    ("read_file", {"path": "src/app.py"}),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[f"{name} {arguments}" for name, arguments in CALLS])
def test_a_result_is_what_the_call_would_give_now(root, change, name, arguments):
    async def ask(desk):
        try:
            return await desk.call(name, **arguments)
        except UnknownResourceError as error:
            return type(error)

    async def main():
        async with Desk(root) as desk:
            await ask(desk)
            await ask(desk)
            CHANGES[change](root)
            async with Desk(root) as fresh:
                assert await ask(desk) == await ask(fresh)

    asyncio.run(main())


def test_a_change_elsewhere_leaves_a_result_fresh(root):
    async def main():
        async with Desk(root) as desk:
            await desk.call("grep", pattern="os", path="src")
            write(root, {"web/a.ts": "os\n"})
            await desk.call("grep", pattern="os", path="src")
            assert desk.outcomes() == (1, 1)

    asyncio.run(main())


# ---- several scenarios, one of which comes true ----


def test_the_right_scenario_is_a_hit_and_the_others_are_waste(root):
    ended = []

    async def main():
        settings = Settings(load_attempts=1, pressure=False, waste_budget=None)
        async with Desk(root, listeners=[ended.append], settings=settings) as desk:
            keys = [
                desk.tools.key("grep", {"pattern": "TODO", "path": "src"}),
                desk.tools.key("read_file", {"path": "src/app.py"}),
                desk.tools.key("list_directory", {"path": "web"}),
            ]
            for key in keys:
                assert desk.manager.hint(key, 0.95)
            while desk.manager.statistics().residents < 3:
                await asyncio.sleep(0.002)
            await desk.call("read_file", path="./src/app.py")

    asyncio.run(main())
    assert [need.outcome for need in ended if isinstance(need, Need)] == [NeedOutcome.HIT]
    outcomes = sorted(preload.outcome for preload in ended if isinstance(preload, Preload))
    assert outcomes == [PreloadOutcome.USED, PreloadOutcome.WASTED, PreloadOutcome.WASTED]


def test_a_hint_for_what_may_not_run_ahead_fails_quietly(root):
    async def main():
        async with Desk(root) as desk:
            for key in (
                'tool:rm {"path": "src"}',
                'tool:read_file {"path": ".env"}',
                "file:.env",
                "fact:git blame .env:1",
            ):
                desk.manager.hint(key, 0.99)
            await asyncio.sleep(0.05)
            assert desk.manager.statistics().residents == 0
            assert (await desk.call("read_file", path="README.md")).text == "hello\n"

    asyncio.run(main())


def test_keys_are_json_that_others_can_write(root):
    """Whoever learned a call from a transcript writes its key with the standard library alone."""
    arguments = {"pattern": 'say "ü"', "path": "src"}
    assert Desk(root).tools.key("grep", arguments) == "tool:grep " + json.dumps(
        arguments, sort_keys=True, ensure_ascii=False
    )


def test_asking_for_a_cost_looks_at_no_disk(root, monkeypatch):
    desk = Desk(root)
    key = desk.tools.key("grep", {"pattern": "x"})
    for name in ("lstat", "stat", "open", "scandir", "listdir"):
        monkeypatch.setattr(f"os.{name}", lambda *_, **__: pytest.fail("the disk was looked at"))
    desk.tools.cost(key)
    desk.facts.cost("fact:git diff src/app.py")
    desk.files.cost("file:src/app.py")
    monkeypatch.undo()


def busy_texts(root, times):
    """Return the files of a workspace of which ``README.md`` is written over while it is read, so many times."""
    sources = Desk(root).sources
    take, left = sources._taken, [times]

    def written_meanwhile(file, stamp, name):
        data = take(file, stamp, name)
        if name == "README.md" and left[0]:
            left[0] -= 1
            (root / name).write_text(f"hello {left[0]}\n")
        return data

    sources._taken = written_meanwhile
    return Reading(sources, {}, 10.0)


def test_a_file_that_is_written_while_it_is_searched_is_searched_again(root):
    found = search.grep(busy_texts(root, 2), "hello", PurePosixPath(), glob="", ignore_case=False, fixed=False, most=9)
    assert found.matches == (Match("README.md", 1, "hello 0"),)


def test_a_file_that_never_stays_the_same_is_not_left_out_of_a_search_in_silence(root):
    with pytest.raises(LoadError, match=r"'README\.md' changed"):
        search.grep(busy_texts(root, 99), "hello", PurePosixPath(), glob="", ignore_case=False, fixed=False, most=9)
