"""OpenAI Agents SDK: run hooks by which a workspace serves an agent. Needs ``preloader[openai-agents]``.

```python
async with Workspace(root, tools=ToolCatalogue([builtin_tool("grep")])) as workspace:
    ahead = WorkspaceHooks(workspace, reads={"read_file": "path"}, calls=["grep"], streamed=True)
    searching = ahead.tools({"grep": "Finds lines of files."})
    agent = Agent("coder", model=model, tools=[ahead.served(read_file), write_file, *searching])
    result = Runner.run_streamed(agent, "Why is the total wrong?", hooks=ahead)
    async for event in result.stream_events():
        ahead.hear(event)
```
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from preloader.errors import ConfigurationError, PreloaderError, require
from preloader.integrations.session import AgentSession, Told, plainly
from preloader.workspace.arguments import Argument, json_schema
from preloader.workspace.mentions import Source
from preloader.workspace.workspace import Workspace

try:
    from agents import (
        Agent,
        ApplyPatchTool,
        FunctionTool,
        ItemHelpers,
        ModelResponse,
        RunContextWrapper,
        RunHooks,
        StreamEvent,
        Tool,
        ToolOutputText,
        TResponseInputItem,
        default_tool_error_function,
    )
    from agents.tool import ToolErrorFunction
    from agents.tool_context import ToolContext
except ModuleNotFoundError:
    require("agents", "openai-agents")
    raise


class WorkspaceHooks(RunHooks[Any]):
    """Tells a workspace what an agent says, calls and is answered, and makes tools whose calls it serves.

    The hooks are of one run at a time. They see a call and its output, and can replace neither: so the agent is given
    tools that ask the workspace, by `served` or `tools`.

    Args:
        workspace: It, running on the loop that runs the agent.
        reads: The tools that return a whole file, and which argument of each is the path.
        calls: The tools on the workspace's catalogue whose calls are served.
        edits: Tools that write files, and which argument is the path, beyond those of usual names (``write_file``).
        told: What a tool of these would tell the model of a result.
        streamed: Whether the run's events go to `hear`. Then what the model says is heard while it streams, else once
            it is whole.

    Raises:
        ConfigurationError: See `preloader.integrations.session.AgentSession`.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        reads: Mapping[str, str] | None = None,
        calls: Collection[str] = (),
        edits: Mapping[str, str] | None = None,
        told: Told = plainly,
        streamed: bool = False,
    ) -> None:
        self._session = AgentSession(workspace, reads=reads, calls=calls, edits=edits, told=told)
        self._streamed = streamed
        self._patches: list[dict[str, Any]] = []  # that the model asked for; a hook is not told which one was applied
        self._calling: dict[int, str] = {}  # calls whose arguments stream, by their place in the answer
        self._begun: set[int] = set()  # items of the answer that streamed, by their place

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """Begin a query with what the user says, if nobody has answered yet.

        Raises:
            ClosedError: The workspace is not running.
        """
        self._patches.clear()
        asked = _asked(input_items)
        if asked:
            self._session.asked(asked)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """Hear what the model said, unless that was heard while it streamed."""
        if not self._streamed:
            for place, item in enumerate(response.output):
                self._whole(place, item)

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object) -> None:
        """Hear what a call returned, and which files it wrote."""
        if isinstance(context, ToolContext):
            self._session.edited(tool.name, _table(context.tool_arguments) or {})
            self._session.heard(_text(result), "tool_output", stream=context.tool_call_id, last=True)
        elif isinstance(tool, ApplyPatchTool):
            for operation in self._patches:
                self._session.edited(tool.name, operation)

    def hear(self, event: StreamEvent) -> None:
        """Hear what streams: every event of `RunResultStreaming.stream_events`, as it comes. Returns at once.

        Raises:
            ConfigurationError: The hooks were not made with ``streamed=True``.
        """
        if not self._streamed:
            raise ConfigurationError("streamed must be true for hooks that hear events", field="streamed")
        if event.type != "raw_response_event":
            return
        data = event.data
        match data.type:
            case "response.created" | "response.completed":
                self._calling.clear()
                self._begun.clear()
            case "response.output_item.added" if data.item.type == "function_call":
                self._calling[data.output_index] = data.item.call_id
                self._session.heard("", "tool_call", stream=data.item.call_id, tool=data.item.name)
            case "response.function_call_arguments.delta" if data.output_index in self._calling:
                self._piece(data.output_index, data.delta, "tool_call", self._calling[data.output_index])
            case "response.output_text.delta":
                self._piece(data.output_index, data.delta, "assistant", f"{data.output_index}")
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self._piece(data.output_index, data.delta, "thinking", f"{data.output_index}")
            case "response.output_item.done":
                self._whole(data.output_index, data.item)

    def served(self, tool: FunctionTool) -> FunctionTool:
        """Return a tool like another, whose calls the workspace serves; what it refuses, or fails at, the other does.

        Raises:
            ConfigurationError: The tool is neither of ``reads`` nor of ``calls``, or its calls need approval.
        """
        if not self._session.answers(tool.name):
            raise ConfigurationError(f"a tool that is served must be one of reads or calls, not {tool.name!r}")
        if tool.needs_approval is not False:
            raise ConfigurationError(f"calls of {tool.name!r} need approval, and are not to be served ahead")

        async def invoke(context: ToolContext[Any], arguments: str) -> Any:
            told = _table(arguments)
            answer = None if told is None else await self._session.answer_or_none(tool.name, told)
            return await tool.on_invoke_tool(context, arguments) if answer is None else answer

        served = copy.copy(tool)
        served.on_invoke_tool = invoke
        return served

    def tools(
        self,
        described: Mapping[str, str],
        *,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
    ) -> list[FunctionTool]:
        """Return tools of the workspace's own: those of ``reads``, and of ``calls``, that nothing else implements.

        Args:
            described: Their names, and what the model is told that they do.
            failure_error_function: What the model is told of a call that is refused or fails; ``None`` fails the run,
                as it does for `agents.function_tool`.

        Raises:
            ConfigurationError: A tool is neither of ``reads`` nor of ``calls``.
        """
        return [self._own(name, description, failure_error_function) for name, description in described.items()]

    def _own(self, name: str, description: str, failed: ToolErrorFunction | None) -> FunctionTool:
        if not self._session.answers(name):
            raise ConfigurationError(f"a tool that is described must be one of reads or calls, not {name!r}")

        async def invoke(context: ToolContext[Any], arguments: str) -> Any:
            try:
                return await self._session.answer(name, _table(arguments) or {})
            except PreloaderError as error:
                if failed is None:
                    raise
                said = failed(context, error)
                return await said if inspect.isawaitable(said) else said

        return FunctionTool(name, description, self._schema(name), invoke, strict_json_schema=False)

    def _schema(self, name: str) -> dict[str, Any]:
        if name in self._session.reads:
            return json_schema({self._session.reads[name]: Argument(type="path", required=True)})
        return json_schema(self._session.workspace.providers.tools.catalogue.ahead(name).arguments)

    def _piece(self, place: int, text: str, source: Source, stream: str) -> None:
        self._begun.add(place)
        self._session.heard(text, source, stream=stream)

    def _whole(self, place: int, item: Any) -> None:
        """Feed an item of the answer that did not stream, and end one that did."""
        streamed = place in self._begun
        stream = f"{place}"
        match item.type:
            case "message":
                text = "" if streamed else ItemHelpers.extract_text(item) or ""
                self._session.heard(text, "assistant", stream=stream, last=True)
            case "reasoning":
                text = "" if streamed else "\n".join(part.text for part in (*item.summary, *(item.content or ())))
                self._session.heard(text, "thinking", stream=stream, last=True)
            case "function_call":
                text = "" if streamed else item.arguments
                self._session.heard(text, "tool_call", stream=item.call_id, tool=item.name, last=True)
            case "apply_patch_call":
                operation = item.operation.model_dump()
                self._patches.append(operation)
                text = msgspec.json.encode(operation).decode()
                self._session.heard(text, "tool_call", stream=item.call_id, tool="apply_patch", last=True)


def _table(arguments: str) -> dict[str, Any] | None:
    """Return a call's arguments; ``None`` where they are no table."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _text(result: object) -> str:
    """Return what the model is told of a tool's result, as far as it is text; images and files are not."""
    kind = result.get("type") if isinstance(result, dict) else getattr(result, "type", None)
    if kind in ("image", "file") or isinstance(result, list):
        return ""
    return result.text if isinstance(result, ToolOutputText) else str(result)


def _asked(items: Iterable[Any]) -> str:
    """Return what the user said last, if nobody has answered yet."""
    said: list[str] = []
    for item in reversed(list(items)):
        if item.get("role") != "user":
            break
        content = item.get("content", "")
        parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
        said += reversed(parts)
    return "\n".join(reversed(said))
