"""Missing dependencies, and syntax checks."""

import asyncio
import sys

import pytest

from tests.unit.workspace_tree import Desk, facts, write

# ---- dependencies ----


def test_missing_dependencies(tmp_path):
    site = f".venv/lib/python3.{sys.version_info[1]}/site-packages"
    needs = "['Click>=8', 'PyYAML', 'typing_extensions[x]', \"pywin32; sys_platform == 'win32'\"]"
    write(
        tmp_path,
        {
            "pyproject.toml": f"[project]\ndependencies = {needs}\n",
            "requirements.txt": "# needs\n-r other.txt\nflask==3  # web\ngit+https://x.org/y.git\nhttps://x.org/z.whl\n./own\n",
            f"{site}/click-8.1.dist-info/METADATA": "",
            f"{site}/typing_extensions-4.dist-info/METADATA": "",
            "package.json": '{"dependencies": {"a": "1", "@x/b": "1", "../c": "1"}}',
            "node_modules/a/package.json": "{}",
            ".gitignore": ".venv\nnode_modules\n",
        },
    )
    (found,) = facts(tmp_path, "dependencies")
    assert [(one.manifest, one.environment, one.declared, one.missing) for one in found] == [
        ("pyproject.toml", ".venv", 3, ("PyYAML",)),
        ("requirements.txt", ".venv", 1, ("flask",)),
        ("package.json", "node_modules", 3, ("@x/b", "../c")),
    ]


def test_missing_dependencies_of_poetry(tmp_path):
    needs = "python = '^3.11'\nclick = '^8'\nPyYAML = {version = '6', optional = true}\nrich = {version = '*'}\n"
    write(tmp_path, {"pyproject.toml": f"[tool.poetry.dependencies]\n{needs}"})
    ((found,),) = facts(tmp_path, "dependencies")
    assert (found.declared, found.missing) == (2, ("click", "rich"))


def test_an_installed_dependency_is_seen(tmp_path):
    write(tmp_path, {"package.json": '{"dependencies": {"a": "1"}}'})

    async def main():
        async with Desk(tmp_path) as desk:
            assert (await desk.fact("dependencies"))[0].missing == ("a",)
            (tmp_path / "node_modules/a").mkdir(parents=True)
            assert (await desk.fact("dependencies"))[0].missing == ()

    asyncio.run(main())


# ---- syntax ----


@pytest.mark.parametrize(
    ("name", "text", "checked", "problem"),
    [
        ("x.py", "def f():\n    return 1\n", "python", None),
        ("x.py", "def f(:\n", "python", (1, "invalid syntax")),
        ("x.py", "x = 1\n  y = 2\n", "python", (2, "unexpected indent")),
        ("x.py", "a = '\\d'\nprint 1\n", "python", (2, "Missing parentheses")),
        ("x.py", "\0", "", None),
        ("x.py", "(" * 100_000, "python", (1, "")),
        ("x.py", "-" * 300_000 + "1", "python", (1, "")),
        ("x.json", '{"a": 1}', "json", None),
        ("x.json", '{"a": 1,\n "b": }', "json", (2, "invalid character")),
        ("tsconfig.app.json", '{"a": 1, // why\n}', "", None),
        (".vscode/settings.json", "{/* why */}", "", None),
        ("x.toml", "a = 1\n", "toml", None),
        ("x.toml", "a = 1\nb = \n", "toml", (2, "Invalid value")),
        ("x.txt", "anything", "", None),
        ("x.rb", "def", "", None),
    ],
)
def test_a_syntax_check(tmp_path, name, text, checked, problem):
    write(tmp_path, {name: text})
    (found,) = facts(tmp_path, f"syntax {name}")
    assert found.checked == checked
    if problem is None:
        assert found.problems == ()
    else:
        assert (found.problems[0].line, problem[1] in found.problems[0].message) == (problem[0], True)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("x.js", "function f() { return 1 }\n", "function f( { return 1 }\n"),
        ("x.ts", "let x: number = 1\n", "let x: = \n"),
        ("x.tsx", "const a = <b>x</b>\n", "const a = <b>x\n"),
        ("x.go", "package x\n", "package\nfunc {\n"),
        ("x.rs", "fn main() {}\n", "fn main( {}\n"),
        ("x.java", "class X {}\n", "class {\n"),
    ],
)
def test_a_syntax_check_by_a_grammar(tmp_path, name, right, wrong):
    pytest.importorskip("tree_sitter")
    write(tmp_path, {f"right/{name}": right, f"wrong/{name}": wrong})
    ok, bad = facts(tmp_path, f"syntax right/{name}", f"syntax wrong/{name}")
    assert ok.checked.startswith("tree_sitter_")
    assert ok.problems == ()
    assert bad.problems


def test_a_syntax_check_runs_nothing(tmp_path):
    write(tmp_path, {"x.py": f"open({str(tmp_path / 'ran')!r}, 'w')\n", "sitecustomize.py": "open('ran', 'w')\n"})
    write(tmp_path, {"ast.py": "open('ran', 'w')\n", "json.py": "open('ran', 'w')\n"})
    assert facts(tmp_path, "syntax x.py")[0].problems == ()
    assert not (tmp_path / "ran").exists()


def test_an_edit_is_checked_again(tmp_path):
    write(tmp_path, {"x.json": "{}"})

    async def main():
        async with Desk(tmp_path) as desk:
            assert (await desk.fact("syntax x.json")).problems == ()
            write(tmp_path, {"x.json": "{,"})
            assert (await desk.fact("syntax x.json")).problems

    asyncio.run(main())
