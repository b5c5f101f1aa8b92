"""Follows a session behind the agent's back: analyses what was fed, and says what will probably be needed."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from preloader.errors import PreloaderError, UnknownResourceError
from preloader.ports import Executor
from preloader.telemetry import logger
from preloader.workspace.advice.adviser import Adviser
from preloader.workspace.decoding import Decoding
from preloader.workspace.expected_facts import after_call, after_edit
from preloader.workspace.expecting import ColdRules, Expected
from preloader.workspace.graph.code_graph import CodeGraph
from preloader.workspace.learn.calls import Proposal
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.items import Item
from preloader.workspace.learn.memory import SHELL
from preloader.workspace.learn.models import Models
from preloader.workspace.learn.predictor import StepPredictor
from preloader.workspace.learn.ranker import Ranked
from preloader.workspace.learn.safe_calls import SAFE_TOOLS
from preloader.workspace.mentions import Mention
from preloader.workspace.next_action import NextAction, action_of_call
from preloader.workspace.offers import Offers
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.resolve import Resolver
from preloader.workspace.stream import INLINE, StreamAnalyzer
from preloader.workspace.whole_items import Chunk, WholeItems

MOST_WAITING = 16_000_000
"""Characters that may wait to be analysed; what comes beyond is skipped, and counted. A chunk counts as 64 more."""

MOST_JOBS = 65_536
"""Steps that may wait to be done, chunks among them; more are skipped, and counted, but for what an edit leads to."""

_CHUNK = 64

_SLICE = 256  # characters analysed before others may use the loop: some tenths of a millisecond
_MENTIONS = 1  # looked up before others may
_RELATED, _RELATED_SHARE = 5, 0.5
_SYNTAX, _ARGUMENT, _WHOLE_CALL, _FAILURES = 0.4, 0.9, 0.97, 0.5
_TAIL = 1_000  # characters of an answer's end that may say what comes next
_LOOKED_AT = 20  # likely files that are looked through for new ones

_PROPOSED = SAFE_TOOLS | {SHELL}  # tools of which the models propose calls

T = TypeVar("T")

Job = Callable[[], Awaitable[None]]


class Follower:
    """Does one job after the other on the loop, in short slices, and what takes longer on the executor.

    Args:
        resolver: Finds the files that mentions mean.
        providers: Which keys there may be.
        expect: Takes what will probably be needed.
        holds: Says of a key whether it is ready or on its way.
        called: Takes the tool and the arguments of each call; nothing of them where a call is known by what it read.
        executor: Where blocking work runs.
        models: The learned models, if any.
        known: What earlier sessions taught them.
        graph: Says which files belong together, once it is built.
        adviser: Asks a language model, if any.

    Attributes:
        failures: How many jobs failed.
        skipped: How many chunks were not analysed.
    """

    def __init__(
        self,
        resolver: Resolver,
        providers: WorkspaceProviders,
        expect: Callable[[Expected], None],
        holds: Callable[[str], bool],
        called: Callable[[str, Mapping[str, Any]], None],
        executor: Executor,
        models: Models | None,
        known: Known | None,
        graph: CodeGraph | None,
        adviser: Adviser | None = None,
    ) -> None:
        self._resolver = resolver
        self._providers = providers
        self._expect = expect
        self._tell_call = called
        self._executor = executor
        root = providers.confined.root
        self._learned = StepPredictor(f"{root.parent.name}/{root.name}", models, known) if models else None
        self._lists_calls = any(tool.name in _PROPOSED for tool in providers.tools.catalogue)
        self._graph = graph
        self._adviser = adviser
        self._graph_is_built = False
        self._changed: set[str] = set()  # files of which the graph does not know yet
        self._decoding = Decoding(executor)
        self._analyzer = StreamAnalyzer(executor)
        self._items = WholeItems()
        self._rules = ColdRules()
        self._next_action = NextAction()
        self._offers = Offers(providers.file_key, holds, expect)
        self._tests: deque[str] = deque(maxlen=64)  # calls that run tests, whose output is not there yet
        self._told_call = False
        self._turn = threading.Lock()
        self._query = 0
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self.failures = self.skipped = 0

    def soon(self, job: Job, *, always: bool = False) -> None:
        """Do a job after those that were given before; unless ``always``, not where too many wait."""
        if len(self._jobs) >= MOST_JOBS and not always:
            self.skipped += 1
            logger.debug("a step of the workspace is skipped: %d wait", len(self._jobs))
            return
        self._jobs.append(job)
        self._idle.clear()
        self._wake.set()

    def take(self, chunk: Chunk, data: bytes = b"") -> None:
        """Analyse a chunk, unless too much waits for that already or the query ends before.

        Args:
            chunk: What comes.
            data: Its text, where that came as bytes.
        """
        size = len(chunk.text) + len(data) + _CHUNK
        if self._waiting + size > MOST_WAITING or len(self._jobs) >= MOST_JOBS:
            self.skipped += 1
            logger.debug("%d characters of %s are not analysed: too much waits", size, chunk.source)
            return
        self._waiting += size
        query = self._query
        self.soon(lambda: self._analyse(chunk, data, query))

    def used(self, path: str) -> None:
        """Note that the agent has a file now."""
        self._resolver.recency.touch(path)
        self.soon(lambda: self._after_use(path, self._query))

    def edited(self, path: str) -> None:
        """Note that the agent has changed a file, and that the index knows of it by now."""
        self._resolver.recency.touch(path)
        self.soon(lambda: self._after_edit(path))

    def changed(self, paths: Iterable[str]) -> None:
        """Take in that files came, went or were written."""
        if self._graph is not None:
            if self._graph_is_built and not self._changed:
                self.soon(self._update_graph, always=True)
            self._changed.update(paths)

    def forget(self) -> None:
        """The query is over: what was fed for it and is not analysed yet is of no interest."""
        self._query += 1
        self._decoding.forget()
        self._analyzer.forget()
        self._items = WholeItems()
        self._rules.forget()
        self._next_action = NextAction()
        if self._adviser is not None:
            self._adviser.forget()

    async def run(self) -> None:
        """Do the jobs until cancelled; one that fails is logged and counted, and harms no other."""
        try:
            while True:
                await self._wake.wait()
                while self._jobs:
                    await self._do(self._jobs.popleft())
                self._wake.clear()
                self._idle.set()
        finally:
            self._idle.set()  # nobody waits for what is not done any more

    async def next_action(self) -> dict[str, float]:
        """Return how likely each sort of action comes next: by the learned model, by rules where there is none."""
        if self._learned is None:
            return dict(self._next_action.predict())
        return {**await self._executor.run(self._alone, self._learned.actions)}

    async def settled(self) -> None:
        """Wait until there is no job."""
        await self._idle.wait()

    async def build_graph(self, paths: Iterable[str]) -> None:
        """Bring the code graph up to the files there are; where it cannot be had, go on without it."""
        assert self._graph is not None
        try:
            await self._graph.build(tuple(paths))
            self._graph_is_built = True
            if self._changed:  # meanwhile
                self.soon(self._update_graph, always=True)
        except PreloaderError as error:
            logger.warning("there is no code graph of %s: %s", self._providers.confined.root, error)

    async def end(self) -> None:
        """Teach the session to what is known of the repository; nothing runs any more."""
        if self._learned is not None:
            learned = self._learned
            await self._do(lambda: self._executor.run(self._alone, learned.end))

    async def _update_graph(self) -> None:
        """Take in all changes since the last update at once: they may come faster than a graph can follow."""
        assert self._graph is not None
        paths, self._changed = self._changed, set()
        await self._graph.update(sorted(paths))

    async def _do(self, job: Job) -> None:
        try:
            await job()
        except Exception as error:
            self.failures += 1
            logger.debug("a step of the workspace failed: %r", error, exc_info=True)
        await asyncio.sleep(0)

    async def _analyse(self, chunk: Chunk, data: bytes, query: int) -> None:
        self._waiting -= len(chunk.text) + len(data) + _CHUNK
        if query != self._query:
            return
        text = await self._decoding.text(data or chunk.text, chunk.source, chunk.stream, last=chunk.last)
        chunk = msgspec.structs.replace(chunk, text=text) if text is not chunk.text else chunk
        if chunk.source == "assistant":
            self._next_action.said(chunk.text[-_TAIL:])
        mentions = await self._mentions(chunk)
        for number, mention in enumerate(mentions, 1):
            if query != self._query:
                return
            self._mentioned(mention, self._items.tool(chunk))
            if number % _MENTIONS == 0:
                await asyncio.sleep(0)
        if mentions:
            self._offer_by_rules()
        for item in self._items.add(chunk):
            if self._adviser is not None:
                self._adviser.hear(item, ask=chunk.source != "tool_call")
            await self._whole(item, query)

    async def _mentions(self, chunk: Chunk) -> list[Mention]:
        text, source, stream = chunk.text, chunk.source, chunk.stream
        if len(text) > INLINE:
            return await self._analyzer.analyse(text, source, stream=stream, last=chunk.last)
        found: list[Mention] = []
        for begin in range(0, max(1, len(text)), _SLICE):
            if begin:
                await asyncio.sleep(0)
            part = text[begin : begin + _SLICE]
            found += self._analyzer.feed(part, source, stream=stream, last=chunk.last and begin + _SLICE >= len(text))
        return found

    def _mentioned(self, mention: Mention, tool: str) -> None:
        is_argument = mention.form == "argument" and mention.source == "tool_call"
        if is_argument and action_of_call(tool, {}) == "edit":  # it needs no file from here
            return
        if self._learned is not None and not is_argument:
            return
        found = self._resolver.resolve(mention)
        if is_argument and found.match in ("exact", "inner"):
            self._offers.announced(found.paths[0], _ARGUMENT)
        else:
            self._rules.mentioned(mention, found)

    def _offer_by_rules(self) -> None:
        if self._learned is None:
            self._offers.offer(self._rules.likely(_LOOKED_AT))

    async def _whole(self, item: Item, query: int) -> None:
        if item.type == "tool_call":
            self._called(item)
        elif item.type == "tool_result" and item.id in self._tests:
            self._tests.remove(item.id)
            self._providers.facts.feed_test_output(item.text)
            self._expect(Expected("fact:test failures", _FAILURES))
        if self._learned is not None:
            files, calls = await self._executor.run(self._alone, _next, self._learned, item, self._lists_calls)
            if query == self._query:
                self._proposed(files, calls)

    def _called(self, item: Item) -> None:
        """A call is known whole: it is about to be made, so that its result can be there already."""
        self._told_call = True
        self._tell_call(item.tool, item.arguments)
        self._step()
        action = action_of_call(item.tool, item.arguments)
        if action is not None:
            self._next_action.acted(action)
        if action == "test":
            self._tests.append(item.id)
        self._call(item.tool, item.arguments, _WHOLE_CALL, 1)
        for expected in after_call(item.tool, item.arguments):
            self._expect(expected)

    def _step(self) -> None:
        self._rules.step()
        self._offers.step()
        if self._adviser is not None:
            self._adviser.step()

    def _proposed(self, files: list[Ranked], calls: list[Proposal]) -> None:
        table = self._resolver.table
        self._offers.offer([ranked for ranked in files if ranked.path in table])
        for proposal in calls:
            self._call(proposal.tool, proposal.arguments, proposal.probability)

    async def _after_use(self, path: str, query: int) -> None:
        if not self._told_call:
            self._tell_call("", {})
            self._step()
        self._told_call = False
        if self._graph is not None and self._graph_is_built and self._learned is None:
            related = await self._graph.related(path, _RELATED)
            if query == self._query:
                for one in related:
                    self._rules.note(one.path, _RELATED_SHARE * one.score)
                self._offer_by_rules()

    async def _after_edit(self, path: str) -> None:
        if path in self._resolver.table:
            self._expect(Expected(f"fact:syntax {path}", _SYNTAX))
            for expected in after_edit(path, with_graph=self._graph_is_built):
                self._expect(expected)

    def _alone(self, function: Callable[..., T], *args: Any) -> T:
        """Call on a thread what is no two threads' business: a call that was cancelled may still run there."""
        with self._turn:
            return function(*args)

    def _call(self, tool: str, arguments: dict[str, object], probability: float, steps: int = 2) -> None:
        try:
            self._expect(Expected(self._providers.tools.key(tool, arguments), probability, steps))
        except UnknownResourceError as error:  # most tools are not listed
            logger.debug("%s", error)


def _next(learned: StepPredictor, item: Item, lists_calls: bool) -> tuple[list[Ranked], list[Proposal]]:
    """Return what the models expect after an item; not which calls where none of these is listed."""
    learned.feed(item)
    return learned.files(_LOOKED_AT), learned.calls() if lists_calls else []
