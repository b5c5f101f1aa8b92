"""A real LangChain agent whose model is scripted."""

import json

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import ToolException, tool

from preloader.integrations.langchain import WorkspaceMiddleware
from tests.integration.served_agents import FILES, at_rest, outline_of

PAUSE = object()
WAYS = pytest.mark.parametrize("streamed", [True, "by events"])
BETA = pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental")


class Scripted(BaseChatModel):
    """A model that says what is written, in small pieces where it streams, and does what a script has for a pause."""

    steps: list
    pause: object = None

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **options):
        return self.bind(tools=[one.name for one in tools], **options)

    def _generate(self, messages, stop=None, run_manager=None, **options):
        raise NotImplementedError

    async def _agenerate(self, messages, stop=None, run_manager=None, **options):
        said = [part for part in self.steps.pop(0) if part is not PAUSE]
        await self.pause()
        text = "".join(part for part in said if isinstance(part, str))
        calls = [part for part in said if isinstance(part, dict)]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, tool_calls=calls))])

    async def _astream(self, messages, stop=None, run_manager=None, **options):
        calls = 0
        for part in self.steps.pop(0):
            if part is PAUSE:
                await self.pause()
            elif isinstance(part, str):
                for begin in range(0, len(part), 7):
                    yield piece(part[begin : begin + 7])
            else:
                for chunk in chunks_of(part, calls):
                    yield chunk
                    await self.pause()
                calls += 1


def piece(content, **options):
    return ChatGenerationChunk(message=AIMessageChunk(content, **options))


def chunks_of(called, index):
    text = json.dumps(called["args"])
    yield piece("", tool_call_chunks=[{"name": called["name"], "args": "", "id": called["id"], "index": index}])
    for begin in range(0, len(text), 9):
        args = text[begin : begin + 9]
        yield piece("", tool_call_chunks=[{"name": None, "args": args, "id": None, "index": index}])


async def no_pause():
    pass


def call(name, /, **arguments):
    call.number += 1
    return {"name": name, "args": arguments, "id": f"call-{call.number}"}


call.number = 0


class Tools:
    """An agent's own tools, and which calls of them were made in earnest."""

    def __init__(self, root):
        self.made = []

        @tool
        async def read_file(path: str, first: int | None = None) -> str:
            """Return a file."""
            self.made.append(("read_file", path))
            if not (root / path).exists():
                raise ToolException(f"no {path}")
            return (root / path).read_text()[first:]

        @tool
        async def outline(path: str, why: str = "") -> str:
            """Return what a file defines."""
            self.made.append(("outline", path))
            if path.startswith("broken"):
                raise OSError("the disk is on fire")
            if not (root / path).exists():
                raise ToolException(f"no {path}")
            return outline_of((root / path).read_text())

        @tool
        async def search(text: str) -> str:
            """Find lines."""
            return "\n".join(f"{path}:1: {text}" for path in ("shop/prices.py",) if text in FILES[path])

        @tool
        async def write_file(path: str, text: str) -> str:
            """Write a file."""
            self.made.append(("write_file", path))
            (root / path).write_text(text)
            return f"wrote {path}"

        read_file.handle_tool_error = outline.handle_tool_error = True
        self.all = [read_file, outline, search, write_file]


def middleware(workspace, **options):
    return WorkspaceMiddleware(workspace, **{"reads": {"read_file": "path"}, "calls": ["outline"], **options})


async def run(agent, text, *, streamed=True, config=None):
    """Return what the agent's messages say after a run."""
    asked = {"messages": [HumanMessage(text)]}
    if not streamed:
        state = await agent.ainvoke(asked, config)
    elif streamed == "by events":
        events = await agent.astream_events(asked, config, version="v3")
        async with events:
            state = await events.output()
    else:
        async for mode, part in agent.astream(asked, config, stream_mode=["messages", "values"]):
            state = part if mode == "values" else state
    return [told(message) for message in state["messages"]]


def told(message):
    calls = getattr(message, "tool_calls", None)
    answered = (message.name, message.tool_call_id, message.status) if isinstance(message, ToolMessage) else None
    return message.type, message.text, calls, answered


def outputs(messages):
    return [text for kind, text, _, _ in messages if kind == "tool"]


def agent_of(workspace, root, *steps, pause=None, **options):
    async def wait():
        await at_rest(workspace)

    tools = Tools(root)
    model = Scripted(steps=list(steps), pause=pause or wait)
    return create_agent(model, tools.all, middleware=[middleware(workspace)], **options), tools
