"""What adapters share, without a framework: how results are told, what is answered, and which edits are noticed."""

import asyncio
import importlib
import re
import sys

import pytest

from preloader.errors import (
    ClosedError,
    ConfigurationError,
    MissingExtraError,
    RefusedCallError,
    RefusedPathError,
    UnknownResourceError,
)
from preloader.integrations.session import AgentSession, plainly
from preloader.workspace.arguments import Argument, json_schema
from preloader.workspace.builtin_tools import FileText
from preloader.workspace.catalogue import ToolCatalogue, builtin_tool
from preloader.workspace.commands import CommandOutput
from preloader.workspace.search import Found
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import write


@pytest.fixture
def root(tmp_path):
    write(
        tmp_path, {"a.py": "a = 1\r\n", "empty.py": "", "b.bin": b"\0\1", "big.txt": "x" * 2_000_001, ".env": "K=1\n"}
    )
    return tmp_path


def during(root, scenario, **options):
    async def main():
        tools = ToolCatalogue([builtin_tool("glob"), builtin_tool("read_file", "lines")])
        async with Workspace(root, tools=tools, watch=False, graph=False) as workspace:
            return await scenario(AgentSession(workspace, **options))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("as it is", "as it is"),
        (CommandOutput("out\n", "err\n", 1), "out\nerr\n"),
        (CommandOutput("out", "", 0, truncated=True), None),
        (FileText("a.py", "1\n", "utf-8", 9, truncated=True), "1\n"),
        (FileText("a.bin", "", "", 9), None),
        (Found(("a.py",)), '{"paths":["a.py"],"truncated":false}'),
    ],
)
def test_results_are_told_plainly(result, told):
    assert plainly("tool", result) == told


def test_whole_texts_are_answered_and_all_else_is_left_to_the_tool(root):
    paths = ["a.py", "empty.py", "b.bin", "big.txt", "missing.py", ".env", "../x", 3, None]

    async def scenario(session):
        answers = [await session.answer_or_none("read", {"path": path, "limit": None}) for path in paths]
        assert await session.answer_or_none("read", {"path": "a.py", "limit": 1}) is None
        assert await session.answer_or_none("glob", {"pattern": "*.py"}) is None  # listed, and not asked for
        with pytest.raises(RefusedPathError, match="secret"):
            await session.answer("read", {"path": ".env"})
        with pytest.raises(UnknownResourceError, match="is not told"):
            await session.answer("read", {"path": "b.bin"})
        with pytest.raises(RefusedCallError, match="its only argument"):
            await session.answer("read", {"path": "a.py", "limit": 1})
        return answers

    assert during(root, scenario, reads={"read": "path"}) == ["a = 1\r\n", "", *[None] * 7]


def test_how_results_are_told_is_the_tools_own_business(root):
    def numbered(tool, result):
        lines = result.text.splitlines() if tool == "read" else result.paths
        return "\n".join(f"{number} {line}" for number, line in enumerate(lines, 1))

    async def scenario(session):
        return await session.answer("read", {"path": "a.py"}), await session.answer("glob", {"pattern": "*.py"})

    told = during(root, scenario, reads={"read": "path"}, calls=["glob"], told=numbered)
    assert told == ("1 a = 1", "1 a.py\n2 empty.py")


def test_what_calls_write_is_noticed(root):
    calls = [
        ("write_file", {"path": "a.py", "content": "b.py"}),
        ("MultiEdit", {"file_path": str(root / "b.py"), "edits": []}),
        ("apply_patch", {"files": ["c.py", 3, ".env"]}),
        ("save", {"target": "d.py", "path": "e.py"}),
        ("read_file", {"path": "f.py"}),
    ]
    edited = []

    async def scenario(session):
        session.workspace.on_edit = lambda path: edited.append(session.workspace.providers.file_key(path))
        for tool, arguments in calls:
            session.edited(tool, arguments)

    during(root, scenario, edits={"save": "target"})
    assert edited == ["file:a.py", "file:b.py", "file:c.py", "file:d.py"]


def test_an_agent_outlives_its_workspace(root):
    async def scenario(session):
        return session

    session = during(root, scenario, reads={"read": "path"})
    session.heard("see `a.py`", "assistant")
    session.edited("write_file", {"path": "a.py"})
    assert asyncio.run(session.answer_or_none("read", {"path": "a.py"})) is None
    with pytest.raises(ClosedError):
        session.asked("What now?")


def test_what_would_be_prepared_twice_or_never_is_refused(root):
    async def scenario(session):
        pass

    with pytest.raises(ConfigurationError, match="calls must be of listed tools: no tool 'grep'"):
        during(root, scenario, calls=["grep"])
    with pytest.raises(ConfigurationError, match="reads has 'lines'"):
        during(root, scenario, reads={"lines": "path"})


def test_the_schema_of_a_calls_arguments():
    schema = json_schema(
        {
            "path": Argument(type="path", required=True),
            "mode": Argument(type="string", choices=("a", "b"), default="a", least=1),
            "names": Argument(type="strings", most=3),
            "share": Argument(type="number", least=0, most=1),
            "deep": Argument(type="boolean", default=False),
            "why": Argument(type="string", ignored=True),
        }
    )
    assert schema == {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "mode": {"type": "string", "enum": ["a", "b"], "default": "a", "minLength": 1},
            "names": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "deep": {"type": "boolean", "default": False},
        },
        "required": ["path"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("adapter", "package", "extra"),
    [("langchain", "langchain", "langchain"), ("openai_agents", "agents", "openai-agents")],
)
def test_an_adapter_names_the_extra_that_it_needs(monkeypatch, adapter, package, extra):
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"preloader.integrations.{adapter}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'preloader[{extra}]'")):
        importlib.import_module(f"preloader.integrations.{adapter}")
