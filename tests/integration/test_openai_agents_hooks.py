"""A real run of the OpenAI Agents SDK whose model is scripted: what calls return is there before, and the same."""

import asyncio
import json

import pytest

pytest.importorskip("agents")

from agents import Agent, ApplyPatchTool, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from openai.types.responses.response_reasoning_item import ResponseReasoningItem, Summary

from preloader.errors import ClosedError, ConfigurationError, RefusedPathError
from preloader.integrations.openai_agents import WorkspaceHooks
from preloader.workspace.workspace import Workspace
from tests.integration.served_agents import FILES, at_rest, make_workspace, open_workspace, outline_of, served

CONFIG = RunConfig(tracing_disabled=True)
PAUSES = ("response.output_text.delta", "response.function_call_arguments.delta", "response.output_item.done")


class Scripted(ScriptedModel):
    """Streams in small pieces; between what it says and what it does next, it does what a script has for a pause."""

    def __init__(self, steps, pause):
        super().__init__(steps)
        self._pause = pause
        self.pauses = PAUSES

    async def get_response(self, *args, **options):
        response = await super().get_response(*args, **options)
        await self._pause()
        return response

    async def stream_response(self, *args, **options):
        async for event in super().stream_response(*args, **options):
            delta = getattr(event, "delta", "")
            for begin in range(0, len(delta), 7):
                yield event.model_copy(update={"delta": delta[begin : begin + 7]})
            if not delta:
                yield event
            if event.type in self.pauses:
                await self._pause()


def thought(text):
    return ResponseReasoningItem(id="1", type="reasoning", summary=[Summary(text=text, type="summary_text")])


def call(name, /, **arguments):
    call.number += 1
    return function_call(name, arguments, call_id=f"call-{call.number}")


call.number = 0


class Tools:
    """An agent's own tools, and which calls of them were made in earnest."""

    def __init__(self, root):
        self.made = []

        @function_tool
        async def read_file(path: str, first: int | None = None) -> str:
            """Return a file."""
            self.made.append(("read_file", path))
            return (root / path).read_text()[first:]

        @function_tool
        async def outline(path: str, why: str = "") -> str:
            """Return what a file defines."""
            self.made.append(("outline", path))
            return outline_of((root / path).read_text())

        @function_tool
        async def search(text: str) -> str:
            """Find lines."""
            return "\n".join(f"{path}:1: {text}" for path in ("shop/prices.py",) if text in FILES[path])

        @function_tool(failure_error_function=None)
        async def write_file(path: str, text: str) -> str:
            """Write a file."""
            self.made.append(("write_file", path))
            (root / path).write_text(text)
            return f"wrote {path}"

        self.read_file, self.outline, self.all = read_file, outline, [read_file, outline, search, write_file]


@pytest.fixture
def root(tmp_path):
    return make_workspace(tmp_path)


def hooks_of(workspace, **options):
    return WorkspaceHooks(workspace, **{"reads": {"read_file": "path"}, "calls": ["outline"], **options})


async def run(agent, text, hooks=None, *, streamed=True):
    """Return what each item of a run says."""
    if not streamed:
        result = await Runner.run(agent, text, hooks=hooks, run_config=CONFIG)
    else:
        result = Runner.run_streamed(agent, text, hooks=hooks, run_config=CONFIG)
        async for event in result.stream_events():
            if hooks is not None:
                hooks.hear(event)
    return [said(item) for item in result.to_input_list()]


def said(item):
    return {name: value for name, value in item.items() if name not in ("id", "status")}


def outputs(items):
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


def agent_of(workspace, root, *steps, pause=None, **options):
    async def wait():
        await at_rest(workspace)

    tools, hooks = Tools(root), hooks_of(workspace, **{"streamed": True, **options})
    served = [hooks.served(tools.read_file), hooks.served(tools.outline), *tools.all[2:]]
    return Agent("coder", model=Scripted(steps, pause or wait), tools=served), hooks, tools


def test_a_file_that_streaming_words_name_is_served_in_place_of_the_tool(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            path = str(root / "shop/cart.py")
            steps = (
                [assistant_message("I look at `shop/cart.py`."), call("read_file", path=path)],
                [assistant_message("Ok")],
            )
            agent, hooks, tools = agent_of(workspace, root, *steps)
            items = await run(agent, "What is wrong?", hooks)
            return outputs(items), served(workspace), tools.made

    assert asyncio.run(scenario()) == ([FILES["shop/cart.py"]], (1, 0, 0), [])


def test_a_listed_call_runs_ahead_while_its_arguments_and_the_next_one_stream(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            calls = [call("outline", path="shop/cart.py", why="?"), call("read_file", path="shop/prices.py")]
            agent, hooks, tools = agent_of(workspace, root, calls, [assistant_message("Done.")])
            items = await run(agent, "Go on.", hooks)
            return outputs(items), served(workspace), tools.made

    assert asyncio.run(scenario()) == (["class Cart:", FILES["shop/prices.py"]], (2, 0, 0), [])


def test_what_the_user_names_is_ready_though_nothing_streams(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            steps = [call("read_file", path="docs/plan.md")], [assistant_message("Done.")]
            agent, hooks, tools = agent_of(workspace, root, *steps, streamed=False)
            items = await run(agent, "Go on with docs/plan.md", hooks, streamed=False)
            return outputs(items), served(workspace), tools.made

    assert asyncio.run(scenario()) == ([FILES["docs/plan.md"]], (1, 0, 0), [])


@pytest.mark.parametrize("thinks", [False, True])
def test_words_and_thoughts_are_heard_while_they_stream(root, thinks):
    async def scenario():
        async with open_workspace(root) as workspace:

            async def look():
                await at_rest(workspace)
                await workspace.read_file("shop/cart.py")
                model.pauses = ()

            said = thought("`shop/cart.py`?") if thinks else assistant_message("I shall look at `shop/cart.py`.")
            agent, hooks, _ = agent_of(workspace, root, [said], pause=look)
            model = agent.model
            model.pauses = ("response.output_text.delta", "response.reasoning_summary_text.delta")
            await run(agent, "Go on.", hooks)
            return served(workspace)

    assert asyncio.run(scenario()) == (1, 0, 0)


@pytest.mark.parametrize("streamed", [True, False])
def test_calls_outputs_and_the_last_word_are_heard_however_they_come(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            calls = [call("outline", path="shop/cart.py"), call("search", text="price")]
            last = [thought("Such as `shop/orders.py`"), assistant_message("That is not as in docs/plan.md")]
            agent, hooks, _ = agent_of(workspace, root, calls, last, streamed=streamed)
            await run(agent, "Go on.", hooks, streamed=streamed)
            await at_rest(workspace)
            before = served(workspace)
            for path in ("shop/cart.py", "shop/prices.py", "shop/orders.py", "docs/plan.md"):
                await workspace.read_file(path)
            return [after - earlier for earlier, after in zip(before, served(workspace), strict=True)]

    assert asyncio.run(scenario()) == [4, 0, 0]


SESSION = (
    [
        assistant_message("I read `docs/plan.md`."),
        call("read_file", path="docs/plan.md"),
        call("outline", path="shop/prices.py"),
    ],
    [call("read_file", path="missing.py"), call("read_file", path="../outside.txt"), call("read_file", path=".env")],
    [call("read_file", path="shop/cart.py", first=5), call("outline", path="missing.py"), call("outline", path=3)],
    [function_call("outline", "[1", call_id="broken"), call("write_file", path="docs/plan.md", text="edited\n")],
    [call("read_file", path="docs/plan.md"), call("outline", path="shop/cart.py")],
    [assistant_message("Done.")],
)


@pytest.mark.parametrize("streamed", [True, False])
def test_the_model_is_told_what_it_is_told_without_a_workspace(root, streamed):
    (root.parent / "outside.txt").write_text("outside\n")

    async def without():
        tools = Tools(root)
        agent = Agent("coder", model=ScriptedModel(SESSION), tools=tools.all)
        return await run(agent, "Go on.", streamed=streamed), tools.made

    async def within():
        async with open_workspace(root) as workspace:
            agent, hooks, tools = agent_of(workspace, root, *SESSION, streamed=streamed)
            return await run(agent, "Go on.", hooks, streamed=streamed), tools.made, sum(served(workspace))

    expected, made_without = asyncio.run(without())
    (root / "docs/plan.md").write_text(FILES["docs/plan.md"])
    items, made, answered = asyncio.run(within())
    assert items == expected
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


def test_nothing_stale_is_served_whoever_writes_the_file(root):
    async def scenario():
        async with open_workspace(root) as workspace:

            async def by_somebody_else():
                await at_rest(workspace)
                if (root / "shop/cart.py").read_text() == "by the agent\n":
                    (root / "shop/cart.py").write_text("by somebody\n")  # within the same second

            steps = (
                [assistant_message("I look at `shop/cart.py`."), call("read_file", path="shop/cart.py")],
                [call("write_file", path="shop/cart.py", text="by the agent\n")],
                [call("read_file", path="shop/cart.py")],
                [call("outline", path="shop/cart.py")],
                [assistant_message("Done.")],
            )
            agent, hooks, _ = agent_of(workspace, root, *steps, pause=by_somebody_else)
            return outputs(await run(agent, "Go on.", hooks))

    told = asyncio.run(scenario())
    assert told == [FILES["shop/cart.py"], "wrote shop/cart.py", "by somebody\n", ""]


def test_a_file_that_the_agent_wrote_is_ready_as_it_is_now(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            steps = (
                [call("write_file", path="shop/fresh.py", text="fresh = 1\n")],
                [assistant_message("Again."), call("read_file", path="shop/fresh.py")],
                [assistant_message("Done.")],
            )
            agent, hooks, tools = agent_of(workspace, root, *steps)
            return outputs(await run(agent, "Go on.", hooks))[-1], served(workspace), tools.made

    told, needs, made = asyncio.run(scenario())
    assert (told, needs) == ("fresh = 1\n", (1, 0, 0))
    assert made == [("write_file", "shop/fresh.py")]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_file_that_was_patched_is_ready_as_it_is_now(root, streamed):
    class Editor:
        def create_file(self, operation):
            (root / operation.path).write_text("fresh = 1\n")

    created = {"type": "create_file", "path": "shop/fresh.py", "diff": "+fresh = 1\n"}
    patch = {"type": "apply_patch_call", "call_id": "patch", "operation": created}

    async def scenario():
        async with open_workspace(root) as workspace:
            steps = (
                [patch],
                [assistant_message("So."), call("read_file", path="shop/fresh.py")],
                [assistant_message("Ok.")],
            )
            agent, hooks, tools = agent_of(workspace, root, *steps, streamed=streamed)
            agent.tools.append(ApplyPatchTool(editor=Editor()))
            items = await run(agent, "Go on.", hooks, streamed=streamed)
            return outputs(items), served(workspace), tools.made

    assert asyncio.run(scenario()) == (["fresh = 1\n"], (1, 0, 0), [])


def test_tools_of_the_workspaces_own_tell_the_model_what_went_wrong_as_it_is_asked_to(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            hooks = hooks_of(workspace, calls=["grep"], streamed=True)
            described = {"read_file": "Returns a file.", "grep": "Finds lines."}
            plain = hooks.tools(described)
            telling = hooks.tools(described, failure_error_function=lambda context, error: str(error))
            raising = hooks.tools(described, failure_error_function=None)
            calls = [call("grep", pattern="price", path="shop"), call("read_file", path=".env")]
            steps = calls, [assistant_message("Done.")]
            told = []
            for tools in (plain, telling):
                agent = Agent("coder", model=Scripted(steps, lambda: at_rest(workspace)), tools=tools)
                told.append(outputs(await run(agent, "Go on.", hooks)))
            with pytest.raises(Exception, match="secret") as raised:
                await run(
                    Agent("coder", model=Scripted(steps, lambda: at_rest(workspace)), tools=raising), "Go on.", hooks
                )
            assert isinstance(raised.value, RefusedPathError) or isinstance(raised.value.__cause__, RefusedPathError)
            return plain[1].params_json_schema, told, workspace.statistics().hits

    schema, ((found, refused), (_, explained)), hits = asyncio.run(scenario())
    assert schema["required"] == ["pattern"]
    assert schema["properties"]["limit"] == {"type": "integer", "default": 200, "minimum": 1, "maximum": 2_000}
    assert [match["path"] for match in json.loads(found)["matches"]] == ["shop/cart.py", "shop/prices.py"]
    assert refused == "An error occurred while running the tool. Please try again."
    assert "'.env'" in explained
    assert "secret" in explained
    assert hits >= 2


def test_what_the_user_says_next_drops_what_was_meant_before(root):
    async def scenario():
        async with open_workspace(root) as workspace:
            steps = [assistant_message("I could look at `docs/plan.md`.")], [call("read_file", path="shop/cart.py")]
            agent, hooks, _ = agent_of(workspace, root, *steps, [assistant_message("Done.")])
            items = await run(agent, "What now?", hooks)
            prepared = workspace.manager_statistics().ledger.open_preloads
            await run(agent, [*items, {"role": "user", "content": "No, the cart."}], hooks)
            return prepared, workspace.statistics().incorrect, served(workspace)

    assert asyncio.run(scenario()) == (1, 1, (1, 0, 0))


@pytest.mark.parametrize("streamed", [True, False])
def test_a_run_that_is_cancelled_leaves_nothing_behind(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            reached = asyncio.Event()

            async def hang():
                reached.set()
                await asyncio.Event().wait()

            steps = [assistant_message("I look at `shop/cart.py`."), call("read_file", path="shop/cart.py")]
            agent, hooks, tools = agent_of(workspace, root, steps, pause=hang, streamed=streamed)
            task = asyncio.create_task(run(agent, "Go on.", hooks, streamed=streamed))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await at_rest(workspace)
            assert (await workspace.read_file("shop/cart.py")).text == FILES["shop/cart.py"]
            return tools.made

    assert asyncio.run(scenario()) == []  # and `open_workspace` finds no task


@pytest.mark.parametrize("streamed", [True, False])
def test_a_run_that_fails_does_the_next_no_harm(root, streamed):
    async def scenario():
        async with open_workspace(root) as workspace:
            said = [assistant_message("I look at `shop/cart.py`."), call("read_file", path="shop/cart.py")]

            async def fail():
                raise ConnectionError("the line is dead")

            agent, hooks, tools = agent_of(
                workspace, root, said, said, [assistant_message("Done.")], pause=fail, streamed=streamed
            )
            with pytest.raises(ConnectionError):
                await run(agent, "Go on.", hooks, streamed=streamed)
            agent.model.pauses, agent.model._pause = PAUSES, lambda: at_rest(workspace)
            items = await run(agent, "Go on.", hooks, streamed=streamed)
            return outputs(items), sum(served(workspace)), tools.made

    assert asyncio.run(scenario()) == ([FILES["shop/cart.py"]], 1, [])


def test_a_workspace_that_is_not_running_is_named(root):
    hooks = WorkspaceHooks(Workspace(root, watch=False, graph=False))
    agent = Agent("coder", model=ScriptedModel([[assistant_message("Hello.")]]))
    with pytest.raises(ClosedError, match="async with"):
        asyncio.run(run(agent, "Go on.", hooks, streamed=False))


def test_what_cannot_be_served_is_refused(root):
    workspace = Workspace(root, watch=False, graph=False)
    hooks = WorkspaceHooks(workspace, calls=["grep"])

    @function_tool
    def find(pattern: str) -> str:
        """Find lines."""
        return pattern

    @function_tool(name_override="grep", needs_approval=True)
    def grep(pattern: str) -> str:
        """Find lines."""
        return pattern

    with pytest.raises(ConfigurationError, match="not 'find'"):
        hooks.served(find)
    with pytest.raises(ConfigurationError, match="not 'find'"):
        hooks.tools({"find": "Finds lines."})
    with pytest.raises(ConfigurationError, match="'grep' need approval"):
        hooks.served(grep)
    with pytest.raises(ConfigurationError, match="streamed must be true"):
        hooks.hear(object())
    with pytest.raises(ConfigurationError, match="on the operator's catalogue"):
        WorkspaceHooks(workspace, calls=["find"])
