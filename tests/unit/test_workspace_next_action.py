"""What a workspace says comes next: by rules, and by the learned model where there is one."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("watchfiles")

from preloader.errors import ClosedError
from preloader.workspace.learn.models import load_models
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import write

MODELS = Path(__file__).parents[2] / "models/workspace/models.npz"
SAID = {"Let me run the tests again.": "test", "Next, let me read `cart.py`.": "read"}


@pytest.mark.parametrize("models", [None, load_models(MODELS)], ids=["rules", "learned"])
def test_the_likeliest_action_follows_what_the_agent_says(tmp_path, models):
    write(tmp_path, {"cart.py": "x = 1\n"})

    async def scenario():
        async with Workspace(tmp_path, models=models, watch=False, graph=False) as workspace:
            found = {}
            for number, said in enumerate(SAID):
                workspace.feed(said[:9], "assistant")
                workspace.feed(said[9:], "assistant", last=True)
                await workspace.settled()
                chances = await workspace.next_action()
                assert sum(chances.values()) == pytest.approx(1)
                found[said] = chances
                workspace.feed('{"file_path": "a.py"}', "tool_call", stream=str(number), tool="Edit", last=True)
            workspace.new_query()
            await workspace.settled()
            return found, workspace

    found, workspace = asyncio.run(scenario())
    after_tests, after_read = found.values()
    assert after_read["read"] > after_tests["read"]
    assert after_tests["test"] > after_read["test"]
    assert max(after_read, key=after_read.get) == "read"
    with pytest.raises(ClosedError):
        asyncio.run(workspace.next_action())
