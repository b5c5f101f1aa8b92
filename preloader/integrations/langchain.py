"""LangChain: a middleware by which a workspace serves an agent of `create_agent`. Needs ``preloader[langchain]``.

```python
async with Workspace(root, tools=ToolCatalogue([builtin_tool("grep")])) as workspace:
    ahead = WorkspaceMiddleware(workspace, reads={"read_file": "path"})
    agent = create_agent(model, [read_file, write_file], middleware=[ahead])
    await agent.ainvoke({"messages": [HumanMessage("Why is the total wrong?")]})
```
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from preloader.errors import require
from preloader.integrations.session import AgentSession, Told, plainly
from preloader.workspace.mentions import Source
from preloader.workspace.workspace import Workspace

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse, ToolCallRequest
    from langchain_core.callbacks import AsyncCallbackHandler
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
    from langchain_core.tracers.context import register_configure_hook
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ModuleNotFoundError:
    require("langchain", "langchain")
    raise


class WorkspaceMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Tells a workspace what an agent says, calls and is answered, and serves its calls from the workspace.

    The agent is to be awaited (``ainvoke``, ``astream``), on the loop that entered the workspace. What the model says
    is heard while it streams, if it does: where the caller streams messages, or the model was made to
    (``streaming=True``); else it is heard once it is whole. A call that the workspace refuses or fails to answer is
    made by the tool itself, as is every other.

    Args:
        workspace: It, running.
        reads: The tools that return a whole file, and which argument of each is the path.
        calls: The tools on the workspace's catalogue whose calls are served.
        edits: Tools that write files, and which argument is the path, beyond those of usual names (``write_file``).
        told: What a tool of these would tell the model of a result.

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
    ) -> None:
        super().__init__()
        self._session = AgentSession(workspace, reads=reads, calls=calls, edits=edits, told=told)

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Begin a query with what the user says.

        Raises:
            ClosedError: The workspace is not running.
        """
        asked = _asked(state["messages"])
        if asked:
            self._session.asked(asked)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Hear what the model says, and which calls it makes."""
        hearing = _Hearing(self._session)
        token = _hearing.set(hearing)
        try:
            response = await handler(request)
        finally:
            _hearing.reset(token)
        hearing.end(response.result)
        return response

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Serve a call, or have the tool make it; hear what it returns."""
        call = request.tool_call
        name, arguments = call["name"], call["args"]
        answer = await self._session.answer_or_none(name, arguments)
        result: ToolMessage | Command[Any]
        if answer is not None:
            result = ToolMessage(answer, name=name, tool_call_id=call["id"])
        else:
            try:
                result = await handler(request)
            finally:
                self._session.edited(name, arguments)
        if isinstance(result, ToolMessage):
            self._session.heard(str(result.text), "tool_output", stream=call["id"] or "", last=True)
        return result


class _Hearing(AsyncCallbackHandler):
    """Hears one answer of the model: in pieces while it streams, and at its end what did not."""

    run_inline = True  # within the model's own task, in order

    def __init__(self, session: AgentSession) -> None:
        self._session = session
        self._speaking: dict[tuple[Source, str], None] = {}  # whose words stream, and in which run of the model
        self._calling: dict[str, str] = {}  # the call whose arguments stream, by the run
        self._called: set[str] = set()
        self._has_spoken = False

    async def on_llm_new_token(
        self, token: object, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, run_id: UUID, **_: Any
    ) -> None:
        """Feed a piece."""
        if not isinstance(chunk, ChatGenerationChunk) or not isinstance(chunk.message, AIMessageChunk):
            return
        run = str(run_id)
        self._words(chunk.message, run)
        for piece in chunk.message.tool_call_chunks:
            self._call(run, piece["id"], piece["name"])
            self._argue(run, piece["args"])

    async def on_stream_event(self, event: Any, *, run_id: UUID, **_: Any) -> None:
        """Feed a piece where the caller streams by the protocol of ``astream_events(version="v3")``."""
        run = str(run_id)
        match event:
            case {"event": "content-block-start", "content": {"type": "tool_call_chunk", "id": call_id, "name": tool}}:
                self._call(run, call_id, tool)
            case {"event": "content-block-delta", "delta": {"type": "tool-call-delta", "args": arguments}}:
                self._argue(run, arguments)
            case {"event": "content-block-delta", "delta": {"type": "text-delta", "text": text}}:
                self._say(text, "assistant", run)
            case {"event": "content-block-delta", "delta": {"type": "reasoning-delta", "reasoning": text}}:
                self._say(text, "thinking", run)

    def end(self, messages: Iterable[BaseMessage]) -> None:
        """Feed what was not heard yet of a whole answer."""
        answers = [message for message in messages if isinstance(message, AIMessage)]
        made = [call for message in answers for call in message.tool_calls]
        if not self._has_spoken:
            for message in answers:
                self._words(message, message.id or "")
        self._end_words()
        for run, call_id in list(self._calling.items()):
            if any(call["id"] == call_id for call in made):  # else that run failed, and the model was asked again
                self._end_call(run)
        for call in made:
            if call["id"] not in self._called:
                arguments = json.dumps(call["args"])
                self._session.heard(arguments, "tool_call", stream=call["id"] or "", tool=call["name"], last=True)

    def _words(self, message: AIMessage, run: str) -> None:
        if isinstance(message.content, list):
            for block in message.content_blocks:
                if block["type"] == "reasoning":
                    self._say(block.get("reasoning", ""), "thinking", run)
        self._say(str(message.text), "assistant", run)

    def _say(self, text: str, source: Source, run: str) -> None:
        if text:
            self._has_spoken = True
            self._speaking[source, run] = None
            self._session.heard(text, source, stream=run)

    def _call(self, run: str, call: str | None, tool: str | None) -> None:
        """Begin a call, unless it is the one whose arguments stream already; its pieces may not say which it is."""
        if call and call != self._calling.get(run):
            self._end_words()
            self._end_call(run)
            self._calling[run] = call
            self._session.heard("", "tool_call", stream=call, tool=tool or "")

    def _argue(self, run: str, arguments: str | None) -> None:
        if arguments and run in self._calling:
            self._session.heard(arguments, "tool_call", stream=self._calling[run])

    def _end_words(self) -> None:
        for source, run in self._speaking:
            self._session.heard("", source, stream=run, last=True)
        self._speaking.clear()

    def _end_call(self, run: str) -> None:
        call = self._calling.pop(run, None)
        if call is not None:
            self._called.add(call)
            self._session.heard("", "tool_call", stream=call, last=True)


_hearing: ContextVar[_Hearing | None] = ContextVar("preloader_hearing", default=None)
register_configure_hook(_hearing, inheritable=True)


def _asked(messages: Iterable[Any]) -> str:
    """Return what the user said last, if nobody has answered yet."""
    said: list[str] = []
    for message in reversed(list(messages)):
        if not isinstance(message, HumanMessage):
            break
        said.append(str(message.text))
    return "\n".join(reversed(said))
