"""Where hints come to the manager, from threads through the inbox and from other processes through channels."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from preloader.errors import UnknownResourceError
from preloader.events import kind_of
from preloader.hints import Hint, HintInbox
from preloader.speculation import Speculation
from preloader.telemetry import logger

if TYPE_CHECKING:
    from preloader.hint_channel import HintChannel

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class HintDesk:
    """Puts hints before the policy, which decides as it does on predictions; counts those that say nothing.

    Args:
        inbox: Where hints of this process arrive.
        speculation: What decides on them.
        kinds: The kinds that have a provider.
        horizon: How many steps predictions have.
    """

    def __init__(self, inbox: HintInbox, speculation: Speculation, kinds: Collection[str], horizon: int) -> None:
        self._inbox = inbox
        self._speculation = speculation
        self._kinds = kinds
        self._horizon = horizon
        self._is_open = False
        self._draining: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()

    def open(self) -> None:
        """Take hints from now on, on the running loop."""
        self._is_open = True
        self._inbox.open(asyncio.get_running_loop(), self._take)

    def close(self) -> None:
        """Take none from now on."""
        self._is_open = False
        self._inbox.close()
        for draining in self._draining:
            draining.cancel()

    @asynccontextmanager
    async def channel(self, keys: Sequence[str], capacity: int, spawn: Spawn) -> AsyncIterator[HintChannel]:
        """Open a channel for other processes, as long as the block lasts.

        Raises:
            UnknownResourceError: A key is of a kind that has no provider.
            ConfigurationError: See `HintChannel`.
        """
        from preloader.hint_channel import HintChannel  # shared memory is for those who have other processes

        for key in keys:
            if kind_of(key) not in self._kinds:
                raise UnknownResourceError(f"no provider serves {key!r}: there are {', '.join(sorted(self._kinds))}")
        channel = HintChannel(keys, capacity, self._inbox.clock)
        self._inbox.channels.add(channel)
        draining = spawn(self._drain(channel), "hint channel")
        self._draining.add(draining)
        try:
            yield channel
        finally:
            draining.cancel()
            self._draining.discard(draining)
            await asyncio.wait({draining})
            self._inbox.channels.discard(channel)
            channel.close()
            self.counts.update(channel.counts)

    def retract(self, keys: Collection[str], reason: str) -> None:
        """Withdraw what hints on these keys started; those under way are considered first, so that none comes after."""
        while hints := self._inbox.drain(self._horizon):
            self._consider(hints)
        for key in keys:
            preload = self._speculation.of(key)
            if preload is not None and preload.slot is None:
                self._speculation.withdraw(preload, reason)
        self._speculation.pump()

    def totals(self) -> Counter[str]:
        """Return what was counted, open channels included."""
        return sum((channel.counts for channel in self._inbox.channels), Counter(self.counts))

    async def _drain(self, channel: HintChannel) -> None:
        try:
            await channel.drain(self._horizon, self._consider)
        except Exception:
            channel.counts["hints_failed"] += 1
            logger.exception("the channel of hints %s is given up: open a new one", channel.path)

    def _take(self) -> None:
        """Consider the hints that have arrived since the last time."""
        self._consider(self._inbox.drain(self._horizon))

    def _consider(self, hints: list[Hint]) -> None:
        if not self._is_open:  # the wake-up was on its way when the manager stopped
            return
        now_s = asyncio.get_running_loop().time()
        for hint in hints:
            if kind_of(hint.prediction.key) not in self._kinds:
                self.counts["hints_unknown"] += 1
            elif hint.deadline_s is not None and hint.deadline_s <= now_s:
                self.counts["hints_expired"] += 1
            else:
                self._speculation.consider([hint.prediction], None, hint.deadline_s)
        self._speculation.pump()
