"""The one store: resident resources under a byte budget, with room reserved before anything is loaded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, KeysView, Mapping
from typing import Any, TypeVar

from preloader.cache.owners import Owners
from preloader.events import Prediction
from preloader.ports import AdaptiveEviction, EvictionPolicy, Loaded, Provider, Resident
from preloader.telemetry import OpenPreload, logger

T = TypeVar("T")


class Entry:
    """A resident resource.

    Attributes:
        key: Its resource key.
        value: What ``get`` serves.
        bytes: What it occupies of the budget.
        load_s: How long it took to load: what losing it would cost.
        priority: Its weight among others.
        expires_s: When it goes stale whatever its provider says, on the loop's clock; ``None``: never.
        preload: The preload that brought it, until a need used it or the preload was written off.
        speculative: Whether a preload brought it and no need has used it since.
        provider: What loaded it and will unload it.
        holds: The dependencies that it keeps pinned: the direct ones, where its provider tells them from the others.
        proved: Whether a need was served from it or from what stands on it: no preload is left beneath it then.
        pins: How many users and dependents hold it; it is not evicted while there are any.
        landing: How many of those waited for its load, and have not taken it over yet.
        owners: Who brought or used it.
        lasting: Whether it can never go stale, nor can what it holds.
        stored: Whether it is in the store.
        admitted: Whether it ever was.
    """

    __slots__ = (
        "_expiry",
        "admitted",
        "bytes",
        "expires_s",
        "holds",
        "key",
        "landing",
        "lasting",
        "load_s",
        "owners",
        "pins",
        "preload",
        "priority",
        "proved",
        "provider",
        "speculative",
        "stored",
        "value",
    )

    def __init__(
        self,
        key: str,
        loaded: Loaded,
        provider: Provider,
        load_s: float,
        preload: OpenPreload | None,
        *,
        priority: float = 1.0,
    ) -> None:
        self.key = key
        self.value: Any = loaded.value
        self.bytes = loaded.bytes
        self.provider = provider
        self.load_s = load_s
        self.priority = priority
        self.expires_s: float | None = None
        self.preload = preload
        self.speculative = preload is not None
        self.holds: tuple[Entry, ...] = ()
        self.lasting = provider.immutable
        self._expiry: asyncio.TimerHandle | None = None
        self.pins = 0
        self.landing = 0
        self.owners = Owners()
        self.proved = False
        self.stored = False
        self.admitted = False

    def expires_in(self, ttl_s: float, evict: Callable[[], None]) -> None:
        """Make it stale in ``ttl_s`` seconds; ``evict`` is called then, if it still is in the store."""
        loop = asyncio.get_running_loop()
        self.lasting = False
        self.expires_s = loop.time() + ttl_s
        self._expiry = loop.call_at(self.expires_s, evict)

    def gone(self) -> None:
        """Note that it left the store."""
        self.stored = False
        if self._expiry is not None:
            self._expiry.cancel()

    def hold(self, dependencies: Iterable[Entry]) -> None:
        """Keep dependencies, which were pinned for this entry."""
        self.holds = tuple(dependencies)
        self.lasting = self.lasting and all(held.lasting for held in self.holds)

    def own(self, user: str, session: str, *, served: bool) -> list[Entry]:
        """Note that a session brought it, or was ``served`` from it, and with it all that it stands on.

        Returns:
            The parts to which that was news, and if served, those that no need was served from before. Nearly always
            there are none, and what lies beneath others is not looked at: it knows whatever they know.
        """
        if not (self.owners.add(user, session) or (served and not self.proved)):
            return []
        parts = {self: None}
        for part in (queue := [self]):
            for held in part.holds:
                if held not in parts and (held.owners.add(user, session) or (served and not held.proved)):
                    parts[held] = None
                    queue.append(held)
        return queue


class Store:
    """Entries within ``capacity_bytes``: occupied and reserved bytes together never exceed it.

    While a budget that was lowered waits for pins they may, and then nothing new is let in.

    The store decides what fits, its policy what goes. It never unloads: whoever removes an entry releases the value.

    Args:
        capacity_bytes: The budget.
        eviction: The policy that names victims.

    Attributes:
        counts: How often the policy failed when it was told something.
    """

    def __init__(self, capacity_bytes: int, eviction: EvictionPolicy) -> None:
        self._capacity_bytes = capacity_bytes
        self._eviction = eviction
        self._adaptive = eviction if isinstance(eviction, AdaptiveEviction) else None
        self._entries: dict[str, Entry] = {}
        self._reserved: dict[str, int] = {}
        self._occupied_bytes = 0
        self._reserved_bytes = 0
        self.counts: Counter[str] = Counter()
        if self._adaptive is not None:
            self._tell(self._adaptive.resized, capacity_bytes)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def keys(self) -> KeysView[str]:
        """Return a live view of the resident keys."""
        return self._entries.keys()

    def entries(self) -> list[Entry]:
        """Return the resident entries."""
        return list(self._entries.values())

    def speculative(self) -> list[Entry]:
        """Return the resident entries that were loaded ahead of a need, and not used since."""
        return [entry for entry in self._entries.values() if entry.speculative]

    @property
    def capacity_bytes(self) -> int:
        """The budget."""
        return self._capacity_bytes

    @property
    def occupied_bytes(self) -> int:
        """Bytes of the resident entries."""
        return self._occupied_bytes

    @property
    def free_bytes(self) -> int:
        """Bytes that are neither occupied nor reserved; below 0 while a lowered budget waits for pins."""
        return self._capacity_bytes - self._occupied_bytes - self._reserved_bytes

    def get(self, key: str) -> Entry | None:
        """Return the entry of ``key``, without counting a use."""
        return self._entries.get(key)

    def used(self, entry: Entry) -> None:
        """Tell the policy that ``entry`` was used."""
        try:  # as `_tell` does, which would take a tenth of a hit's time here
            self._eviction.used(entry.key)
        except Exception:
            self._failed(entry.key)

    def missed(self, key: str) -> None:
        """Tell the policy that ``key`` was needed and is not resident."""
        if self._adaptive is not None:
            self._tell(self._adaptive.missed, key)

    def resize(self, capacity_bytes: int) -> None:
        """Change the budget; `excess` says what must go for it.

        Raises:
            ValueError: The budget is below 1.
        """
        if capacity_bytes < 1:
            raise ValueError(f"a budget must be at least 1 byte, not {capacity_bytes}")
        self._capacity_bytes = capacity_bytes
        if self._adaptive is not None:
            self._tell(self._adaptive.resized, capacity_bytes)

    def excess(self, predictions: Mapping[str, Prediction]) -> list[Entry]:
        """Return what must go so that the budget holds, as far as pins allow; nothing while it does.

        What pins keep over the budget is due when they are released, and until then nothing new fits.
        """
        if self.free_bytes >= 0:
            return []
        loose = sum(entry.bytes for entry in self._entries.values() if not entry.pins)
        missing = min(-self.free_bytes, loose)
        return (missing > 0 and self._chosen(missing, predictions, None)) or []

    def victims(
        self, bytes_: int, predictions: Mapping[str, Prediction], candidate: Resident | None = None
    ) -> list[Entry] | None:
        """Return what would have to go for ``bytes_`` more; ``None`` where that is impossible or not worth it."""
        missing = bytes_ - self.free_bytes
        return self._chosen(missing, predictions, candidate) if missing > 0 else []

    def _chosen(
        self, missing: int, predictions: Mapping[str, Prediction], candidate: Resident | None
    ) -> list[Entry] | None:
        pinned = {key for key, entry in self._entries.items() if entry.pins}
        keys = self._eviction.victims(missing, pinned, predictions, candidate)
        return None if keys is None else [self._entries[key] for key in keys]

    def reserve(self, key: str, bytes_: int) -> None:
        """Set room aside for a load that starts; the caller has made it free.

        Raises:
            ValueError: There is no such room, or ``key`` has some already.
        """
        if key in self._reserved:
            raise ValueError(f"{key} has {self._reserved[key]} bytes reserved already")
        if bytes_ > self.free_bytes:
            raise ValueError(f"cannot reserve {bytes_} bytes for {key}: only {self.free_bytes} are free")
        self._reserved[key] = bytes_
        self._reserved_bytes += bytes_

    def release(self, key: str) -> None:
        """Give back the room reserved for ``key``, if there is any."""
        self._reserved_bytes -= self._reserved.pop(key, 0)

    def admit(self, entry: Entry) -> None:
        """Store an entry in free room.

        Raises:
            ValueError: It does not fit, or its key is resident.
        """
        if entry.bytes > self.free_bytes:
            raise ValueError(f"{entry.key} occupies {entry.bytes} bytes, only {self.free_bytes} are free")
        if entry.key in self._entries:
            raise ValueError(f"{entry.key} is resident already")
        resident = Resident(entry.key, entry.bytes, entry.load_s, entry.priority, entry.speculative)
        self._tell(self._eviction.admitted, resident)
        self._entries[entry.key] = entry
        self._occupied_bytes += entry.bytes
        entry.stored = entry.admitted = True

    def evict(self, entry: Entry) -> None:
        """Take a victim out; its value is the caller's to release."""
        if self._adaptive is not None:
            self._tell(self._adaptive.evicted, entry.key)
        self.remove(entry)

    def remove(self, entry: Entry) -> None:
        """Take an entry out that was no victim, but stale or cleared; its value is the caller's to release."""
        del self._entries[entry.key]
        self._occupied_bytes -= entry.bytes
        entry.gone()
        self._tell(self._eviction.removed, entry.key)

    def _tell(self, note: Callable[[T], None], what: T) -> None:
        """Tell the policy something. If it fails, that is logged and counted: what is resident is the store's."""
        try:
            note(what)
        except Exception:
            self._failed(what)

    def _failed(self, what: object) -> None:
        self.counts["eviction_errors"] += 1
        logger.exception("the eviction policy failed to take note of %s", what)
