import asyncio
import json
from pathlib import PurePosixPath

import pytest

from preloader.errors import ConfigurationError, LoadError, RefusedCallError, RefusedPathError, UnknownResourceError
from preloader.events import Need, NeedOutcome, Preload, PreloadOutcome
from preloader.settings import Settings
from preloader.workspace import search
from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue, builtin_tool
from preloader.workspace.commands import CommandTool
from preloader.workspace.reading import Entry, Reading
from preloader.workspace.search import Match
from tests.unit.workspace_tree import Desk, repository, write

FILES = {
    "src/app.py": "import os\n\ndef app():\n    return os.name  # TODO\n",
    "src/deep/mod.py": "# todo: later\n",
    "web/a.ts": "let a = 1\n",
    "web/b.tsx": "let b = 2\n",
    "README.md": "hello\n",
    ".gitignore": "*.log\n",
    "x.log": "TODO secret\n",
    ".env": "TODO=1\n",
    "x.bin": b"\0TODO",
}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine may take long to start an interpreter."""
    monkeypatch.setattr(search, "_EXPRESSION_S", 30.0)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, FILES)
    return tmp_path


def call(root, name, catalogue=None, **arguments):
    async def main():
        async with Desk(root, catalogue) as desk:
            return await desk.call(name, **arguments)

    return asyncio.run(main())


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


# ---- the operator's catalogue ----

CATALOGUE = """
[tools.Read]
builtin = "read_file"
rename = { file_path = "path" }
ignored = ["description"]

[tools.count]
command = ["wc", "-l", "{path}"]
side_effects = "reads"
cost_s = 0.25
reads = ["**/*.py"]
[tools.count.arguments.path]
type = "path"
required = true

[tools.add]
command = ["expr", "{a}", "+", "{b}"]
side_effects = "none"
arguments = { a = { type = "integer", required = true }, b = { type = "integer", default = 1 } }

[tools.clean]
command = ["rm", "{path}"]
arguments = { path = { type = "path" } }
"""


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path.parent / f"{tmp_path.name}.toml"
    path.write_text(CATALOGUE)
    return ToolCatalogue.from_toml(path)


def test_a_catalogue_from_a_file(root, catalogue):
    desk = Desk(root, catalogue)
    key = desk.tools.key("Read", {"file_path": "README.md", "description": "look at it"})
    assert key == 'tool:Read {"file_path": "README.md"}'
    assert call(root, "Read", catalogue, file_path="README.md").text == "hello\n"
    assert call(root, "count", catalogue, path="src/app.py").stdout.split() == ["4", "./src/app.py"]
    assert call(root, "add", catalogue, a=3).stdout == "4\n"
    assert call(root, "add", catalogue, a=3, b=4).stdout == "7\n"
    with pytest.raises(RefusedCallError, match="'b' must not begin with a dash, as an option does: -3"):
        call(root, "add", catalogue, a=3, b=-3)
    assert desk.tools.cost(desk.tools.key("count", {"path": "src/app.py"})).seconds == 0.25


def test_what_has_side_effects_never_runs_ahead(root, catalogue):
    with pytest.raises(RefusedCallError, match="calls of 'clean' never run ahead: their side effects are 'writes'"):
        Desk(root, catalogue).tools.key("clean", {"path": "README.md"})
    assert (root / "README.md").exists()


def test_a_command_is_run_again_when_what_it_reads_changes(root, catalogue):
    async def main():
        async with Desk(root, catalogue) as desk:
            await desk.call("count", path="src/app.py")
            write(root, {"README.md": "more\n"})  # which it does not read, as the operator says
            await desk.call("count", path="src/app.py")
            assert desk.outcomes() == (1, 1)
            write(root, {"src/app.py": "x\n"})
            assert (await desk.call("count", path="src/app.py")).stdout.split()[0] == "1"
            assert desk.outcomes() == (1, 2)

    asyncio.run(main())


def test_a_command_meets_no_shell_and_no_link(root):
    (root / "secret").symlink_to(".env")
    schema = {"text": Argument(type="string"), "path": Argument(type="path"), "many": Argument(type="strings")}
    run = CommandTool(["printf", "%s|", "{text}", "{path}", "{many}"], schema, [], pure=False)
    catalogue = ToolCatalogue([Tool(name="say", run=run, arguments=schema)])
    said = call(root, "say", catalogue, text="$(id) `id` ; * 'x'", many=["a b", "$HOME"])
    assert said.stdout == "$(id) `id` ; * 'x'|a b|$HOME|"
    with pytest.raises(UnknownResourceError):
        call(root, "say", catalogue, text="x", path="secret")
    with pytest.raises(RefusedCallError, match="'text' must not begin with a dash"):
        call(root, "say", catalogue, text="--version")


def test_a_command_that_cannot_be_started(root):
    catalogue = ToolCatalogue([Tool(name="x", run=CommandTool(["/absent"], {}, [], pure=False))])
    with pytest.raises(LoadError, match="'/absent' cannot be started"):
        call(root, "x", catalogue)


def test_a_tool_written_in_python(root):
    def count_files(reading, arguments):
        return sum(path.suffix == arguments["suffix"] for path in reading.walk())

    catalogue = ToolCatalogue.builtin()
    catalogue.add(
        Tool(name="count_files", run=count_files, arguments={"suffix": Argument(type="string", default=".py")})
    )

    async def main():
        async with Desk(root, catalogue) as desk:
            assert await desk.call("count_files") == 2
            write(root, {"src/more.py": ""})
            assert await desk.call("count_files", suffix=".py") == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1", r"cat.toml:1, field 'x': is unknown; a catalogue has tables \[tools.NAME\]"),
        ("", r"cat.toml:1: must have tables \[tools.NAME\]"),
        ("tools = 1", r"cat.toml:1, field 'tools': must have tables"),
        ("[tools.a]", "field 'tools.a': must have either builtin or command"),
        ("[tools.a]\nbuiltin = 'gerp'", "cat.toml:2, field 'tools.a.builtin': builtin must be .* did you mean 'grep'"),
        ("[tools.a]\nbuiltin = 'grep'\nreads = ['x']", "cat.toml:3, field 'tools.a.reads': is the built-in tool's own"),
        (
            "[tools.a]\nbuiltin = 'grep'\nrename = { q = 'patern' }",
            "grep has no argument 'patern'; did you mean 'pattern'",
        ),
        ("[tools.a]\ncommand = 'ls -l'", "cat.toml:2, field 'tools.a.command': must be array"),
        ("[tools.a]\ncommand = ['bash', '-c', 'ls']", "command must not go through 'bash'"),
        ("[tools.a]\ncommand = ['/usr/bin/env', 'ls']", "command must not go through '/usr/bin/env'"),
        ("[tools.a]\ncommand = ['curl', 'x']", "command must not go to the network, as 'curl' does"),
        ("[tools.a]\ncommand = ['{program}']", "command must name its program, not '{program}'"),
        (
            "[tools.a]\ncommand = ['ls', '{path}']",
            "command has the place '{path}' and no such argument; none are known",
        ),
        ("[tools.a]\ncommand = ['ls', 'a {b} c']", "command must have 'a {b} c' filled as a whole"),
        ("[tools.a]\ncommand = ['ls']\nside_effects = 'maybe'", "must be 'none' or 'reads' or 'writes' or 'network'"),
        (
            "[tools.a]\ncommand = ['ls']\ncost_s = -1",
            "field 'tools.a.cost_s': cost_s must be a number of seconds above 0",
        ),
        (
            "[tools.a]\ncommand = ['ls']\narguments = { a = { type = 'file' } }",
            "field 'tools.a.arguments.a.type': must be .*'path'",
        ),
        ("[tools.a]\ncommand = ['ls']\nwith = 1", "field 'tools.a.with': is unknown"),
        ("[tools.'a b']\nbuiltin = 'grep'", "name must be a name without spaces, not 'a b'"),
    ],
)
def test_a_catalogue_that_is_wrong_is_named_with_its_place(tmp_path, text, reason):
    path = tmp_path / "cat.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        ToolCatalogue.from_toml(path)


def test_a_name_is_listed_once():
    with pytest.raises(ConfigurationError, match="a tool 'grep' is listed already"):
        ToolCatalogue([builtin_tool("grep"), builtin_tool("glob", "grep")])


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
