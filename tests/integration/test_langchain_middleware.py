"""A real LangChain agent whose model is scripted: what its calls return is there before it calls, and the same."""

import asyncio
import threading

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware, ModelRetryMiddleware
from langgraph.checkpoint.memory import InMemorySaver

from preloader.errors import ClosedError, ConfigurationError
from preloader.integrations.langchain import WorkspaceMiddleware
from preloader.workspace.arguments import Argument
from preloader.workspace.catalogue import Tool, ToolCatalogue
from preloader.workspace.workspace import Workspace
from tests.integration.langchain_agents import (
    BETA,
    PAUSE,
    WAYS,
    Scripted,
    Tools,
    agent_of,
    call,
    chunks_of,
    middleware,
    no_pause,
    outputs,
    piece,
    run,
)
from tests.integration.served_agents import FILES, at_rest, make_workspace, open_workspace, served


@pytest.fixture
def root(tmp_path):
    return make_workspace(tmp_path)


@BETA
@WAYS
def test_a_file_that_streaming_words_name_is_served_in_place_of_the_tool(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            said = ["I shall look at `shop/cart.py` first.", PAUSE, call("read_file", path=str(root / "shop/cart.py"))]
            agent, tools = agent_of(workspace, root, said, ["It is empty."])
            messages = await run(agent, "What is wrong?", streamed=streamed)
            return outputs(messages), served(workspace), tools.made

    assert asyncio.run(scenario()) == ([FILES["shop/cart.py"]], (1, 0, 0), [])


@BETA
@WAYS
def test_words_are_heard_while_they_stream(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:

            async def look():
                await at_rest(workspace)
                await workspace.read_file("shop/cart.py")

            agent, _ = agent_of(workspace, root, ["I shall look at `shop/cart.py` ", PAUSE, "first."], pause=look)
            await run(agent, "Go on.", streamed=streamed)
            return served(workspace)

    assert asyncio.run(scenario()) == (1, 0, 0)


@BETA
@pytest.mark.parametrize("streamed", [True, "by events", False])
def test_calls_outputs_and_the_last_word_are_heard_however_they_come(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            calls = [call("outline", path="shop/cart.py"), call("search", text="price")]
            agent, _ = agent_of(workspace, root, calls, ["That is not as in docs/plan.md"])
            await run(agent, "Go on.", streamed=streamed)
            await at_rest(workspace)
            before = served(workspace)
            for path in ("shop/cart.py", "shop/prices.py", "docs/plan.md"):
                await workspace.read_file(path)
            return [after - earlier for earlier, after in zip(before, served(workspace), strict=True)]

    assert asyncio.run(scenario()) == [3, 0, 0]


@BETA
@WAYS
def test_a_file_is_ready_while_the_arguments_of_its_call_stream(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            agent, tools = agent_of(workspace, root, [call("read_file", path="docs/plan.md")], ["Done."])
            messages = await run(agent, "Go on.", streamed=streamed)
            return outputs(messages), served(workspace), tools.made

    assert asyncio.run(scenario()) == ([FILES["docs/plan.md"]], (1, 0, 0), [])


def test_a_listed_call_runs_ahead_while_the_next_one_streams(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            calls = [call("outline", path="shop/cart.py", why="?"), call("read_file", path="shop/prices.py")]
            agent, tools = agent_of(workspace, root, calls, ["Done."])
            messages = await run(agent, "Go on.")
            return outputs(messages), served(workspace), tools.made

    assert asyncio.run(scenario()) == (["class Cart:", FILES["shop/prices.py"]], (2, 0, 0), [])


def test_what_the_user_names_is_ready_though_the_model_does_not_stream(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            agent, tools = agent_of(workspace, root, [call("read_file", path="docs/plan.md")], ["Done."])
            messages = await run(agent, "Go on with docs/plan.md", streamed=False)
            return outputs(messages), served(workspace), tools.made

    assert asyncio.run(scenario()) == ([FILES["docs/plan.md"]], (1, 0, 0), [])


SESSION = (
    ["I read `docs/plan.md`.", call("read_file", path="docs/plan.md"), call("outline", path="shop/prices.py")],
    [call("read_file", path="missing.py"), call("read_file", path="../outside.txt"), call("read_file", path=".env")],
    [call("read_file", path="shop/cart.py", first=5), call("outline", path="missing.py"), call("nothing", path="x")],
    [call("outline", path=3), call("read_file"), call("write_file", path="docs/plan.md", text="edited\n")],
    [call("read_file", path="docs/plan.md"), call("outline", path="shop/cart.py")],
    ["Done."],
)


@pytest.mark.parametrize("streamed", [True, False])
def test_the_model_is_told_what_it_is_told_without_a_workspace(root, streamed):
    (root.parent / "outside.txt").write_text("outside\n")

    async def without():
        tools = Tools(root)
        agent = create_agent(Scripted(steps=list(SESSION), pause=no_pause), tools.all)
        return await run(agent, "Go on.", streamed=streamed), tools.made

    async def within():
        async with open_workspace(root) as workspace:
            agent, tools = agent_of(workspace, root, *SESSION)
            return await run(agent, "Go on.", streamed=streamed), tools.made, sum(served(workspace))

    expected, made_without = asyncio.run(without())
    (root / "docs/plan.md").write_text(FILES["docs/plan.md"])
    messages, made, answered = asyncio.run(within())
    assert messages == expected
    assert sorted(made) == [  # parallel calls are made in any order
        ("outline", "missing.py"),
        ("read_file", "../outside.txt"),
        ("read_file", ".env"),
        ("read_file", "missing.py"),
        ("read_file", "shop/cart.py"),  # but for its first characters
        ("write_file", "docs/plan.md"),
    ]
    assert len(made_without) == len(made) + 4
    assert answered >= 4


def test_a_tool_that_raises_ends_the_run_as_it_does_without_a_workspace(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            agent, tools = agent_of(workspace, root, [call("outline", path="broken.py")])
            with pytest.raises(OSError, match="on fire"):
                await run(agent, "Go on.")
            return tools.made

    assert asyncio.run(scenario()) == [("outline", "broken.py")]


def test_nothing_stale_is_served_whoever_writes_the_file(root):
    async def scenario():
        async with open_workspace(root) as workspace:

            async def by_somebody_else():
                await at_rest(workspace)
                if (root / "shop/cart.py").read_text() == "by the agent\n":
                    (root / "shop/cart.py").write_text("by somebody\n")  # the same size, within the same second

            steps = (
                ["I look at `shop/cart.py`.", PAUSE, call("read_file", path="shop/cart.py")],
                [call("write_file", path="shop/cart.py", text="by the agent\n")],
                [call("read_file", path="shop/cart.py")],
                [call("outline", path="shop/cart.py")],
                ["Done."],
            )
            agent, _ = agent_of(workspace, root, *steps, pause=by_somebody_else)
            return outputs(await run(agent, "Go on."))

    told = asyncio.run(scenario())
    assert told == [FILES["shop/cart.py"], "wrote shop/cart.py", "by somebody\n", ""]


def test_a_file_that_the_agent_wrote_is_ready_as_it_is_now(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            steps = (
                [call("write_file", path="shop/fresh.py", text="fresh = 1\n")],
                [PAUSE, call("read_file", path="shop/fresh.py")],
                ["Done."],
            )
            agent, tools = agent_of(workspace, root, *steps)
            return outputs(await run(agent, "Go on."))[-1], served(workspace), tools.made

    told, needs, made = asyncio.run(scenario())
    assert (told, needs) == ("fresh = 1\n", (1, 0, 0))
    assert made == [("write_file", "shop/fresh.py")]


def test_what_the_user_says_next_drops_what_was_meant_before(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            steps = [["I could look at `docs/plan.md`.", PAUSE], [call("read_file", path="shop/cart.py")], ["Done."]]
            agent, _ = agent_of(workspace, root, *steps, checkpointer=InMemorySaver())
            config = {"configurable": {"thread_id": "1"}}
            await run(agent, "What now?", config=config)
            prepared = workspace.manager_statistics().ledger.open_preloads
            await run(agent, "No, the cart.", config=config)
            return prepared, workspace.statistics().incorrect, served(workspace)

    assert asyncio.run(scenario()) == (1, 1, (1, 0, 0))


def test_a_run_that_is_cancelled_leaves_nothing_behind(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            reached = asyncio.Event()

            async def hang():
                reached.set()
                await asyncio.Event().wait()

            said = ["I look at `shop/cart.py`.", call("read_file", path="shop/cart.py")]
            agent, tools = agent_of(workspace, root, said, pause=hang)
            task = asyncio.create_task(run(agent, "Go on."))
            await reached.wait()
            before = asyncio.all_tasks()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await at_rest(workspace)
            assert asyncio.all_tasks() < before
            assert (await workspace.read_file("shop/cart.py")).text == FILES["shop/cart.py"]
            return tools.made

    assert asyncio.run(scenario()) == []  # and `open_workspace` finds no task


def test_a_run_that_is_cancelled_while_it_is_served_leaves_nothing_behind(root):
    begun, over = threading.Event(), threading.Event()

    def slow(reading, arguments):
        begun.set()
        over.wait(60)
        return "slow"

    async def scenario():
        listed = ToolCatalogue([Tool(name="outline", run=slow, arguments={"path": Argument(type="path")})])
        async with open_workspace(root, tools=listed) as workspace:
            agent, tools = agent_of(workspace, root, [call("outline", path="shop/cart.py")], pause=no_pause)
            task = asyncio.create_task(run(agent, "Go on."))
            await asyncio.to_thread(begun.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            over.set()
            await at_rest(workspace)
            return tools.made

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("retry_is_outer", [True, False])
def test_an_answer_that_breaks_off_and_is_asked_for_again_does_no_harm(root, retry_is_outer):
    class Breaking(Scripted):
        async def _astream(self, *args, **options):
            for chunk in [piece("I look at `shop/ca"), *list(chunks_of(called, 0))[:-1]]:
                yield chunk
            self.steps.pop(0)
            if len(self.steps) > 1:
                raise ConnectionError("the line is dead")
            yield list(chunks_of(called, 0))[-1]

    called = call("read_file", path="shop/cart.py")

    async def scenario():
        async with open_workspace(root) as workspace:
            tools = Tools(root)
            model = Breaking(steps=["broken", "whole", None], pause=no_pause)
            retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False)
            both = [retry, middleware(workspace)] if retry_is_outer else [middleware(workspace), retry]
            limit = ModelCallLimitMiddleware(run_limit=1)
            messages = await run(create_agent(model, tools.all, middleware=[*both, limit]), "Go on.")
            return outputs(messages), sum(served(workspace)), tools.made

    assert asyncio.run(scenario()) == ([FILES["shop/cart.py"]], 1, [])


def test_what_a_model_thinks_is_heard_too(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            thinking = piece([{"type": "reasoning", "reasoning": "first `shop/cart.py`, I think", "index": 0}])

            class Thoughtful(Scripted):
                async def _astream(self, *args, **options):
                    yield thinking
                    async for chunk in super()._astream(*args, **options):
                        yield chunk

            model = Thoughtful(steps=[["Let me look.", PAUSE]], pause=lambda: at_rest(workspace))
            agent = create_agent(model, [], middleware=[middleware(workspace)])
            await run(agent, "Go on.")
            await at_rest(workspace)
            await workspace.read_file("shop/cart.py")
            return served(workspace)

    assert asyncio.run(scenario()) == (1, 0, 0)


def test_a_workspace_that_is_not_running_is_named(root):
    workspace = Workspace(root, watch=False, graph=False)
    agent = create_agent(Scripted(steps=[["Hello."]], pause=no_pause), [], middleware=[WorkspaceMiddleware(workspace)])
    with pytest.raises(ClosedError, match="async with"):
        asyncio.run(run(agent, "Go on."))


def test_tools_that_the_catalogue_does_not_list_or_lists_twice_are_refused(root):
    workspace = Workspace(root, watch=False, graph=False)
    with pytest.raises(ConfigurationError, match="no tool 'outline' is on the operator's catalogue"):
        WorkspaceMiddleware(workspace, calls=["outline"])
    with pytest.raises(ConfigurationError, match="'read_file', which is on the workspace's catalogue, too"):
        WorkspaceMiddleware(workspace, reads={"read_file": "path"})
