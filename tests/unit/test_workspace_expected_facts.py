"""Facts that agents often ask for are got ready, and those that this agent asks for."""

import asyncio

import msgspec
import pytest

from preloader.manager import PreloadManager
from preloader.workspace.expected_facts import after_call, after_edit, after_fact
from preloader.workspace.policy import SETTINGS
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import repository, write

FILES = {
    "shop/cart.py": "def total():\n    return 1\n",
    "shop/orders.py": "from shop.cart import total\n",
    "tests/test_cart.py": "from shop.cart import total\n",
    "shop/far.py": "x = 1\n",
    ".gitignore": "secret/\n",
}


@pytest.fixture
def root(tmp_path):
    repository(tmp_path / "shop-app", FILES)
    return tmp_path / "shop-app"


def test_what_agents_seldom_ask_for_is_prepared_only_for_one_that_does(root):
    ended = []

    async def scenario():
        providers = WorkspaceProviders(root)
        settings = msgspec.structs.replace(SETTINGS, waste_budget=None, pressure=False)
        async with (
            PreloadManager(providers.by_kind, settings=settings, listeners=[ended.append]) as manager,
            Workspace(root, manager=manager, providers=providers, watch=False, graph=False) as workspace,
        ):
            outcomes = []
            for number in range(12):
                write(root, {"shop/cart.py": f"def total():\n    return {number + 10}\n"})
                workspace.feed('{"file_path": "shop/cart.py"}', "tool_call", stream="a", last=True, tool="Edit")
                workspace.on_edit("shop/cart.py")
                await workspace.settled()
                for _ in range(3):  # hints reach the policy a turn of the loop later
                    await asyncio.sleep(0)
                before = workspace.statistics()
                diff = await workspace.facts("git diff shop/cart.py")
                assert f"+    return {number + 10}" in diff.patch
                after = workspace.statistics()
                outcomes.append(after.misses - before.misses)
            return outcomes

    outcomes = asyncio.run(scenario())
    assert outcomes[0] == 1
    assert outcomes[-1] == 0
    assert "fact:test files shop/cart.py" not in {one.key for one in ended}


def test_probabilities_are_of_facts_that_there_are(root):
    facts = WorkspaceProviders(root).facts
    expected = after_edit("shop/cart.py", with_graph=True) + after_call("Bash", {"command": "git status --short"})
    assert {one.key for one in expected} >= {
        "fact:impact shop/cart.py",
        "fact:git diff",
        "fact:test files shop/cart.py",
    }
    assert all(0.0 < one.probability < 1.0 and facts.work(one.key.partition(":")[2]) for one in expected)
    assert [one.key for one in after_fact("git diff shop/cart.py")] == ["fact:git diff", "fact:git status"]
    assert after_call("Read", {"file_path": "a.py"}) == []
