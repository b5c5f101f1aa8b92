"""The workspace of a coding agent: fed with what the agent says, it has ready what the agent asks for next.

All of it travels the manager's one flow: what streams becomes hints, what is read or called becomes needs and events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from preloader.checks import shown
from preloader.errors import ClosedError, ConfigurationError, UnknownResourceError
from preloader.events import Event
from preloader.manager import PreloadManager
from preloader.ports import Executor
from preloader.scheduling.execution import ThreadExecutor
from preloader.settings import Settings
from preloader.statistics import Statistics
from preloader.workspace.advice.adviser import Adviser
from preloader.workspace.advice.settings import Advice, AdviceStatistics
from preloader.workspace.catalogue import ToolCatalogue
from preloader.workspace.expected_facts import after_fact, outdated_by_edit
from preloader.workspace.expecting import Expected
from preloader.workspace.files import SourceFile
from preloader.workspace.follower import Follower
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.graph_facts import GRAPH_FACTS
from preloader.workspace.index import PathIndex
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.models import Models
from preloader.workspace.learn.patterns import pattern_record
from preloader.workspace.mentions import SOURCES, Source
from preloader.workspace.policy import SETTINGS, policy_of
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.trials import Trials
from preloader.workspace.whole_items import Chunk

_TTL_S = 86_400.0  # what is prepared is there when the user comes back; a query ends it, and memory bounds it
_MOST_HINTED = 4_096


class WorkspaceStatistics(msgspec.Struct, frozen=True):
    """What a workspace was good for, from its manager's statistics.

    Attributes:
        hits: Reads, facts and calls that were served at once.
        late_hits: Those that waited for the rest of a load that had begun.
        misses: Those that were loaded when asked for.
        correct: Preloads that were used.
        incorrect: Preloads that were loaded, wholly or in part, and not used.
        dropped: Preloads that were given up before they began.
        background_s: Seconds that preloads took.
        saved_s: Seconds that would have been waited for in addition.
        failures: Steps of the analysis that failed; each is logged.
        skipped: Chunks, and other steps, that came faster than they could be analysed.
        unmet: Calls and facts that were expected and did not come: cancelled, and their patterns believed less.
        advice: What a model was asked, and what came of it; ``None`` where none is.
    """

    hits: int
    late_hits: int
    misses: int
    correct: int
    incorrect: int
    dropped: int
    background_s: float
    saved_s: float
    failures: int
    skipped: int
    unmet: int
    advice: AdviceStatistics | None = None


class Workspace:
    """Prepares files, facts and tool results for one session of a coding agent; an async context manager, used once.

    All methods belong to the loop that entered it. `feed`, `on_edit` and `new_query` return at once; what they lead to
    happens behind them, in order.

    Args:
        root: The workspace's directory.
        manager: A running manager that serves ``providers``; the workspace makes and owns one unless given.
        providers: The workspace's providers where the manager is given: those that it was made with.
        tools: The calls that may run ahead, where ``providers`` are not given.
        models: The learned ranker of files and calls; rules go instead unless given.
        known: What earlier sessions of this repository taught; this one is added at the end.
        advice: A fast language model to ask what comes next; none is asked unless given (docs/workspace-llm.md).
        settings: Of the manager that the workspace makes.
        state_dir: Where the code graph, and the predictor of that manager, are kept between runs.
        user: Whose needs and events these are.
        session: Of which session.
        executor: Where blocking work runs; threads unless given. The caller closes its own.
        watch: Whether files are watched; not on a virtual clock.
        graph: Whether the code graph is built, behind everything else.
        wall_clock: Returns seconds since 1970, for events.

    Attributes:
        providers: Of the kinds ``file``, ``fact`` and ``tool``.
        index: The workspace's files.
        graph: Imports and definitions; ``None`` where it is not wanted.

    Raises:
        ConfigurationError: The root is no directory, or a manager is given without its providers, or with those of
            another root.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        manager: PreloadManager | None = None,
        providers: WorkspaceProviders | None = None,
        tools: ToolCatalogue | None = None,
        models: Models | None = None,
        known: Known | None = None,
        advice: Advice | None = None,
        settings: Settings | None = None,
        state_dir: Path | str | None = None,
        user: str = "agent",
        session: str = "session",
        executor: Executor | None = None,
        watch: bool = True,
        graph: bool = True,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if manager is not None and providers is None:
            raise ConfigurationError(
                "a manager given to a workspace needs the providers that it was made with: providers=…",
                field="providers",
            )
        self.providers = providers or WorkspaceProviders(root, tools)
        _check_alike(root, self.providers, manager)
        state_dir = None if state_dir is None else Path(state_dir)
        self._owns_manager, self._owns_executor = manager is None, executor is None
        self._executor = executor or ThreadExecutor()
        settings = settings or SETTINGS
        self._manager = manager or PreloadManager(
            self.providers.by_kind,
            policy=policy_of(settings),
            settings=settings,
            executor=self._executor,
            state_dir=state_dir,
        )
        base = self.providers.confined.root
        self.index = PathIndex(base, executor=self._executor, watch=watch, on_change=self._changed)
        self.graph = (
            CodeGraph(base, self._executor, state=state_dir, refuses=self.providers.confined.refuses) if graph else None
        )
        self.providers.facts.of_graph.graph = self.graph
        resolver, executor = self.index.resolver, self._executor
        self._adviser = Adviser(advice, self.providers, resolver, self._expect, executor) if advice else None
        self._follower = Follower(
            resolver,
            self.providers,
            self._expect,
            self._manager.holds,
            self._called,
            executor,
            models,
            known,
            self.graph,
            self._adviser,
        )
        record = known.patterns if known is not None else pattern_record()
        self._trials = Trials(record, self._manager.is_ready, self._cancel)
        self._slot = (user, session)
        self._wall_clock = wall_clock
        self._hinted: dict[str, None] = {}
        self._exits: AsyncExitStack | None = None
        self._running = False

    async def __aenter__(self) -> Self:
        """List the files, and start.

        Raises:
            ClosedError: It was entered before.
            LoadError: The files cannot be listed.
        """
        if self._exits is not None:
            raise ClosedError("a workspace runs once, and this one was entered before: make a new one")
        self._exits = AsyncExitStack()
        async with AsyncExitStack() as exits:  # undone in reverse order, here if this fails, else in __aexit__
            if self._owns_executor:
                exits.push_async_callback(self._executor.aclose)
            if self._owns_manager:
                await exits.enter_async_context(self._manager)
            exits.callback(self._retract, "the workspace was closed")
            await exits.enter_async_context(self.index)
            if self.graph is not None:
                await exits.enter_async_context(self.graph)
            exits.push_async_callback(self._follower.end)
            if self._adviser is not None:
                await exits.enter_async_context(self._adviser)
            tasks = await exits.enter_async_context(asyncio.TaskGroup())
            chores = [tasks.create_task(self._follower.run(), name="workspace")]
            if self.graph is not None:
                chores.append(tasks.create_task(self._follower.build_graph(self.index.table), name="code graph"))
            exits.callback(self._stop, chores)
            self._running = True
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: nothing is left running, and what was prepared in vain is entered as such."""
        assert self._exits is not None
        await self._exits.aclose()  # without the error: the task group would wrap it, and it is the caller's own

    @property
    def manager(self) -> PreloadManager:
        """What serves, and decides what is prepared."""
        return self._manager

    def feed(self, chunk: str | bytes, source: Source, *, stream: str = "", last: bool = False, tool: str = "") -> None:
        """Take what the agent's session says next.

        Args:
            chunk: The words, as text or as bytes of UTF-8; of a call, its arguments as JSON. Cut anywhere.
            source: ``assistant``, ``thinking``, ``user``, ``tool_call`` or ``tool_output``.
            stream: Tells what interleaves apart: a call's identifier, and the same of its output.
            last: Whether this ends the call, the output or the text.
            tool: Of a call: the tool that is called.

        Raises:
            ConfigurationError: There is no such source, or the chunk is neither text nor bytes.
            ClosedError: The workspace is not running.
        """
        self._check_running()
        if source not in SOURCES:
            raise ConfigurationError(f"source must be one of {', '.join(SOURCES)}, not {source!r}", field="source")
        if not isinstance(chunk, str | bytes | bytearray | memoryview):
            raise ConfigurationError(f"chunk must be a text or bytes, not {shown(chunk)}", field="chunk")
        words, data = (chunk, b"") if isinstance(chunk, str) else ("", bytes(chunk))
        self._follower.take(Chunk(words, source, stream, last, tool, self._wall_clock()), data)

    async def read_file(self, path: str) -> SourceFile:
        """Return a file as it is now; at once where it is ready and still fresh.

        Raises:
            RefusedPathError: It may not be looked at.
            UnknownResourceError: There is no such file.
            LoadError: It cannot be read.
            ClosedError: The workspace is not running.
        """
        key = self.providers.file_key(path)
        source: SourceFile = await self._need(key, "read")
        self._follower.used(source.path)
        return source

    async def facts(self, name: str) -> Any:
        """Return a fact, such as ``git status`` or ``test files src/app.py``; docs/workspace-providers.md has them all.

        Raises:
            UnknownResourceError: There is no such fact, or a path in it may not be looked at.
            LoadError: It cannot be found out.
            ClosedError: The workspace is not running.
        """
        self._check_running()
        if self.graph is not None and str(name).partition(" ")[0] in GRAPH_FACTS:
            await self.graph.built_once()
        value = (await self._need(f"fact:{name}", "fact")).value
        for expected in after_fact(name):
            self._expect(expected)
        return value

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the result of a call that the catalogue lists as safe, as it would be now.

        Raises:
            RefusedCallError: It is not listed, has side effects, or its arguments are not as listed.
            RefusedPathError: An argument is a path that may not be looked at.
            LoadError: The call failed.
            ClosedError: The workspace is not running.
        """
        return (await self._need(self.providers.tools.key(name, arguments), name)).value

    def on_edit(self, path: str) -> None:
        """Say that a file was written, moved or deleted, without waiting until that is noticed.

        Raises:
            RefusedPathError: It may not be looked at.
            ClosedError: The workspace is not running.
        """
        self._check_running()
        inside = str(self.providers.confined.check(path))
        self._follower.soon(lambda: self._take_in(inside), always=True)
        self._follower.edited(inside)
        self._observe("edit", f"file:{inside}")

    def new_query(self, text: str = "") -> None:
        """Begin another query: what was meant for the last one is cancelled, and what nobody used of it is waste.

        Args:
            text: What the user says.

        Raises:
            ClosedError: The workspace is not running.
        """
        self._check_running()
        self._follower.forget()
        self._trials.forget()
        self._retract("the query is over")
        if text:
            self.feed(text, "user", last=True)

    async def next_action(self) -> dict[str, float]:
        """Return how likely each sort of action comes next, after what was fed and analysed so far; they sum to 1.

        The sorts are ``read``, ``edit``, ``search``, ``test``, ``run`` and ``done``, which hands back to the user; the
        learned model knows ``other``, too.

        Raises:
            ClosedError: The workspace is not running.
        """
        self._check_running()
        return await self._follower.next_action()

    async def settled(self) -> None:
        """Wait until all that was fed so far is analysed, and hinted to the manager; it need not be loaded yet."""
        await self._follower.settled()

    def statistics(self) -> WorkspaceStatistics:
        """Return what it was good for so far; of a manager that serves others too, theirs are included."""
        ledger = self._manager.statistics().ledger
        needs, preloads = ledger.needs, ledger.preloads
        return WorkspaceStatistics(
            hits=needs["hit"],
            late_hits=needs["late_hit"],
            misses=needs["miss"],
            correct=preloads["used"],
            incorrect=preloads["wasted"],
            dropped=preloads["dropped"],
            background_s=ledger.background_s,
            saved_s=ledger.saved_s,
            failures=self._follower.failures,
            skipped=self._follower.skipped,
            unmet=self._trials.unmet,
            advice=self._adviser.statistics() if self._adviser else None,
        )

    def manager_statistics(self) -> Statistics:
        """Return all that the manager counts."""
        return self._manager.statistics()

    async def _need(self, key: str, action: str) -> Any:
        self._check_running()
        user, session = self._slot
        value = await self._manager.get(key, user=user, session=session)
        self._hinted.pop(key, None)
        self._trials.needed(key)
        if self._adviser is not None:
            self._adviser.used(key)
        self._observe(action, key)
        return value

    def _observe(self, action: str, key: str) -> None:
        """Have the manager learn from a need, once whoever needed it goes on."""
        user, session = self._slot
        event = Event(user=user, session=session, time_s=self._wall_clock(), action=action, resources=(key,))
        self._follower.soon(lambda: self._learn(event))

    async def _take_in(self, path: str) -> None:
        """Give up what a file was before an edit, which would be in the way of what it is now."""
        await self._manager.discard((f"file:{path}", f"fact:syntax {path}", *outdated_by_edit(path)))
        await self.index.changed((path,))

    async def _learn(self, event: Event) -> None:
        self._manager.observe(event)

    def _called(self, tool: str, arguments: Mapping[str, Any]) -> None:
        try:
            key = self.providers.tools.key(tool, arguments)
        except UnknownResourceError:  # most tools are not listed
            key = ""
        self._trials.called(tool, arguments, key)

    def _cancel(self, keys: Collection[str], reason: str) -> None:
        self._manager.retract(keys, reason)
        for key in keys:
            self._hinted.pop(key, None)

    def _expect(self, foreseen: Expected) -> None:
        expected = self._trials.weighed(foreseen)
        if expected is None:
            return
        if len(self._hinted) >= _MOST_HINTED:
            self._hinted.pop(next(iter(self._hinted)))
        if self._manager.hint(expected.key, expected.probability, expected.steps, ttl_s=_TTL_S):
            self._hinted[expected.key] = None

    def _changed(self, paths: frozenset[str]) -> None:
        self._follower.changed(paths)

    def _retract(self, reason: str) -> None:
        user, session = self._slot
        self._manager.retract(tuple(self._hinted), reason, user=user, session=session)
        self._hinted.clear()

    def _stop(self, chores: list[asyncio.Task[None]]) -> None:
        self._running = False
        for chore in chores:
            chore.cancel()

    def _check_running(self) -> None:
        if not self._running:
            raise ClosedError("the workspace is not running: use it inside 'async with Workspace(...) as workspace'")


def _check_alike(root: Path | str, providers: WorkspaceProviders, manager: PreloadManager | None) -> None:
    """Raise where another directory would be served than the one that was asked for."""
    base = providers.confined.root
    if Path(root).resolve() != base:
        raise ConfigurationError(f"root must be that of the providers, {str(base)!r}, not {str(root)!r}", field="root")
    if manager is not None and not manager.serves(providers.by_kind):
        raise ConfigurationError(
            f"the manager serves other providers than those given, of {str(base)!r}: "
            "make it with by_kind of the same, and another manager for another root",
            field="providers",
        )
