"""Asks a fast language model, behind the agent's back, what the agent will ask for next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from preloader.errors import LanguageModelAnswerError, LanguageModelTimeoutError
from preloader.ports import Executor
from preloader.telemetry import logger
from preloader.workspace.advice.answer import Admitted, NextStep, admitted, schema_tokens
from preloader.workspace.advice.discretion import Discretion
from preloader.workspace.advice.limits import AskingBudget, CircuitBreaker, tokens_in
from preloader.workspace.advice.question import SessionTail, described, question
from preloader.workspace.advice.record import OpenAdvice
from preloader.workspace.advice.settings import Advice, AdviceStatistics
from preloader.workspace.expecting import Expected
from preloader.workspace.learn.items import Item
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.resolve import Resolver

LEAST = 0.1
"""Below which corrected probability advice is not passed on; what comes of it is learned all the same."""

_ENDS_WITHIN_S = 5.0
_MOST_LATE = 10  # answers in a row that the agent's calls came before: the model is slower than the agent


class Adviser:
    """Has at most one question under way; an async context manager, on whose end it is cancelled.

    A moment is asked about when something was said or returned. While a question is under way later moments wait, as
    one: the latest. An answer holds until the agent's next call: that cancels the question, and so does a new query.

    Args:
        advice: Whom to ask, and how much.
        providers: What may be looked at, and which calls may run ahead.
        resolver: Has the files there are.
        expect: Takes what will probably be needed.
        executor: Where questions are written.
    """

    def __init__(
        self,
        advice: Advice,
        providers: WorkspaceProviders,
        resolver: Resolver,
        expect: Callable[[Expected], None],
        executor: Executor,
    ) -> None:
        self._advice = advice
        self._providers = providers
        self._resolver = resolver
        self._expect = expect
        self._executor = executor
        self._discretion = Discretion(providers.confined)
        self._tools = described(providers.tools.catalogue)
        self._fixed_tokens = schema_tokens() + advice.answer_tokens
        self._budget = AskingBudget(advice.calls_per_minute, advice.tokens_per_session)
        self._breaker = CircuitBreaker()
        self._patience = CircuitBreaker(_MOST_LATE)
        self._open_advice = OpenAdvice(advice.record)
        self._counts: Counter[str] = Counter()
        self._tail = SessionTail(self._discretion, advice.outputs)
        self._task: asyncio.Task[None] | None = None
        self._ended_by = "cancelled"
        self._waits = self._running = False

    async def __aenter__(self) -> Self:
        """Ask from now on."""
        self._running = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask no more; nothing is left running but a model that ignores for seconds that it is cancelled."""
        self._running = False
        self._drop("cancelled")
        if self._task is not None:
            _, left = await asyncio.wait({self._task}, timeout=_ENDS_WITHIN_S)
            if left:
                logger.warning("a question is left behind: its language model ignores that it was cancelled")

    def hear(self, item: Item, *, ask: bool = True) -> None:
        """Take the next item of the session, and ask unless it is a call.

        Args:
            item: It.
            ask: Whether the agent has not begun its next call.
        """
        self._tail.add(item)
        if ask and item.type != "tool_call":
            self._counts["replaced"] += self._waits
            self._waits = True
            self._begin()

    def step(self) -> None:
        """The agent made a call: what was asked before it comes too late."""
        self._counts["unused"] += self._open_advice.step()
        self._drop("late")

    def used(self, key: str) -> None:
        """The agent asked for a resource."""
        self._counts["used"] += self._open_advice.use(key)

    def forget(self) -> None:
        """The query is over: nothing of it is asked about, or shown, any more."""
        self._tail = SessionTail(self._discretion, self._advice.outputs)
        self._open_advice.forget()
        self._drop("cancelled")

    def statistics(self) -> AdviceStatistics:
        """Return what was counted so far."""
        return AdviceStatistics(**self._counts, tokens=self._budget.spent)

    def _drop(self, ended_by: str) -> None:
        self._waits = False
        if self._task is not None and not self._task.cancelling():
            self._ended_by = ended_by
            self._task.cancel()

    def _begin(self) -> None:
        if not self._waits or self._task is not None or not self._running:
            return
        self._waits = False
        now_s = asyncio.get_running_loop().time()
        if not (self._breaker.allows(now_s) and self._patience.allows(now_s)):
            self._counts["silenced"] += 1
        elif not self._budget.allows(now_s):
            self._counts["forbidden"] += 1
        else:
            self._task = asyncio.create_task(self._ask(), name="ask for advice")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("advice could not be asked for, or heeded: %r", error, exc_info=error)
            self._counts["failed"] += 1
        self._begin()

    async def _ask(self) -> None:
        asked = await self._executor.run(question, self._tail.items(), self._tools, self._advice.characters)
        asked_tokens = tokens_in(asked) + self._fixed_tokens
        if not self._budget.take(asyncio.get_running_loop().time(), asked_tokens):
            self._counts["forbidden"] += 1
            return
        self._counts["asked"] += 1
        try:
            answer = await self._advice.model.complete(asked, NextStep, self._advice.timeout_s)
            if self._task is not None and self._task.cancelling():
                raise asyncio.CancelledError  # which the model has swallowed
        except asyncio.CancelledError:
            self._counts[self._ended_by] += 1
            if self._ended_by == "late":
                self._patience.failed(asyncio.get_running_loop().time())
            raise
        except Exception as error:  # also of a model that breaks its promise
            self._failed(error)
        else:
            self._breaker.succeeded()
            self._patience.succeeded()
            self._counts["answered"] += 1
            self._budget.give_back(max(0, self._advice.answer_tokens - tokens_in(msgspec.json.encode(answer))))
            await self._heed(answer)

    def _failed(self, error: Exception) -> None:
        self._counts[_failure(error)] += 1
        pause_s = self._breaker.failed(asyncio.get_running_loop().time())
        logger.debug("a model gave no advice, and is not asked for %g s: %s", pause_s, error)

    async def _heed(self, answer: NextStep) -> None:
        for one in admitted(answer, self._resolver.table, self._providers):
            await asyncio.sleep(0)  # a dozen paths and calls to check would hold up the loop
            if not isinstance(one, Admitted):
                self._counts["refused"] += 1
                logger.debug("advice is not heeded: %s", one)
                continue
            self._counts["accepted"] += 1
            self._open_advice.add(one.key, one.sort, one.stated)
            probability = self._advice.record.corrected(one.sort, one.stated)
            if probability >= LEAST:
                self._expect(Expected(one.key, probability))


def _failure(error: Exception) -> str:
    if isinstance(error, LanguageModelTimeoutError):
        return "late"
    return "invalid" if isinstance(error, LanguageModelAnswerError) else "failed"
