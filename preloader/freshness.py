"""Whether what is resident is still true: asked of its provider, of its age, and of all that it stands on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from preloader.cache import Entry, Store
from preloader.scheduling.flights import asked_about
from preloader.telemetry import logger

STALE = "stale before it was used"


class Freshness:
    """Hands out resident entries that are not stale, and evicts those that are.

    An entry is stale when its provider says so or cannot tell in time, when its time to live is over, or when something
    that it holds is stale: what was built on an old value is no better than that.

    Args:
        store: Where entries live.
        timeout_s: After how long the question is given up.
        evict: Takes a stale entry out of the store.
        unpin: Lets go of an entry.
    """

    def __init__(
        self,
        store: Store,
        timeout_s: float,
        evict: Callable[[Entry, str], None],
        unpin: Callable[[Entry], None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store
        self._timeout_s = timeout_s
        self._evict = evict
        self._unpin = unpin

    async def fresh(self, key: str) -> Entry | None:
        """Return the resident entry of ``key``, pinned once, if it is still true; evict it if not.

        Asking takes time, in which somebody else may have replaced the entry: then that one is asked about.
        """
        while (entry := self._store.get(key)) is not None:
            entry.pins += 1
            if await self.confirm(entry):
                return entry
        return None

    async def confirm(self, entry: Entry) -> bool:
        """Return whether an entry that the caller has pinned is still true; if not, evict it and let go of it."""
        try:
            stale = None if entry.lasting else await self._stale_part(entry)
        except BaseException:
            self._unpin(entry)
            raise
        if stale is None:
            return True
        for part in dict.fromkeys((stale, entry)):  # in the same order in every run
            self._evict(part, STALE)
        self._unpin(entry)
        return False

    async def _stale_part(self, entry: Entry) -> Entry | None:
        """Return what is stale of an entry: one that it holds, or itself."""
        parts = {entry: None}
        for part in (queue := [entry]):
            new = [held for held in part.holds if held not in parts and not (held.lasting and held.stored)]
            parts.update(dict.fromkeys(new))
            queue += new
        for held in reversed(queue[1:]):  # what they stand on first
            if (held.admitted and not held.stored) or not await self._is_fresh(held):
                return held
        return None if await self._is_fresh(entry) else entry

    async def _is_fresh(self, entry: Entry) -> bool:
        if entry.expires_s is not None and asyncio.get_running_loop().time() >= entry.expires_s:
            return False
        if entry.provider.immutable:
            return True
        before = asked_about.set(entry.key)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await entry.provider.is_fresh(entry.key, entry.value)
        except Exception as error:
            self.counts["freshness_errors"] += 1
            logger.debug("cannot tell whether %s is fresh, so it is not: %r", entry.key, error)
            return False
        finally:
            asked_about.reset(before)
