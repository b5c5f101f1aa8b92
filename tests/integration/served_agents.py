"""What the tests of adapters share: a small workspace, a tool on its catalogue, waiting until all is ready."""

import asyncio
import contextlib

import msgspec

from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue, builtin_tool
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import write

FILES = {
    "shop/cart.py": "from shop.prices import price\n\n\nclass Cart:\n    pass\n",
    "shop/prices.py": "def price():\n    return 1\n",
    "shop/orders.py": "def order():\n    return 2\n",
    "docs/plan.md": "# Plan\n",
    ".gitignore": "secret/\n",
}


def make_workspace(tmp_path):
    root = tmp_path / "shop-app"
    write(root, {**FILES, ".env": "KEY=hunter2\n"})
    return root


def outline_of(text):
    return "\n".join(line for line in text.splitlines() if line.startswith(("def ", "class ")))


def catalogue():
    run = Tool(
        name="outline",
        run=lambda reading, arguments: outline_of(reading.file(arguments["path"]).text),
        arguments={"path": Argument(type="path", required=True), "why": Argument(type="string", ignored=True)},
    )
    return ToolCatalogue([run, builtin_tool("grep")])


@contextlib.asynccontextmanager
async def open_workspace(root, **options):
    settings = msgspec.structs.replace(SETTINGS, waste_budget=None)
    options = {"watch": False, "graph": False, "settings": settings, "tools": catalogue(), **options}
    async with Workspace(root, **options) as workspace:
        yield workspace
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def at_rest(workspace):
    """Wait until all that was fed is analysed, and all that was decided on is loaded."""
    await workspace.settled()
    for _ in range(2_000):
        await asyncio.sleep(0.005)  # hints reach the policy a turn of the loop later
        tiers = workspace.manager_statistics().tiers.values()
        if not any(tier.queued or tier.loading for tier in tiers):
            return
    raise AssertionError("preloads did not come to rest")


def served(workspace):
    """Return how many needs were hits, were waited for, and were misses."""
    statistics = workspace.statistics()
    assert statistics.failures == statistics.skipped == 0
    return statistics.hits, statistics.late_hits, statistics.misses
