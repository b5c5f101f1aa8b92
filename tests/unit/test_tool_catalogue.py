"""The operator's catalogue of tools, and commands and functions that it lists."""

import asyncio

import pytest

from preloader.errors import ConfigurationError, LoadError, RefusedCallError, UnknownResourceError
from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue, builtin_tool
from preloader.workspace.commands import CommandTool
from tests.unit.tool_scene import FILES, call
from tests.unit.workspace_tree import Desk, write


@pytest.fixture
def root(tmp_path):
    write(tmp_path, FILES)
    return tmp_path


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
