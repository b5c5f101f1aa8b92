"""What a store holds, whenever that changes, and on average while its sessions are played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from preloader.events import Prediction
from preloader.ports import AdaptiveEviction, EvictionPolicy, Resident


class Residency:
    """Adds up what one store holds over the time in which its sessions are played.

    Attributes:
        byte_s: Bytes × seconds.
        seconds: How long sessions were played.
    """

    def __init__(self) -> None:
        self.byte_s = 0.0
        self.seconds = 0.0
        self._held_bytes = 0
        self._since_s: float | None = None

    def held(self, bytes_: int) -> None:
        """Note what is held from now on."""
        self._add()
        self._held_bytes = bytes_

    def begin(self) -> None:
        """Note that a session begins."""
        self._since_s = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Note that it is over."""
        self._add()
        self._since_s = None

    def _add(self) -> None:
        if self._since_s is not None:
            now_s = asyncio.get_running_loop().time()
            self.byte_s += self._held_bytes * (now_s - self._since_s)
            self.seconds += now_s - self._since_s
            self._since_s = now_s


class WatchedEviction:
    """Passes everything on to an eviction policy, and tells what the store holds whenever that changes.

    Args:
        inner: The policy.
        held: Is told the bytes.
    """

    def __init__(self, inner: EvictionPolicy, held: Callable[[int], None]) -> None:
        self.name = inner.name
        self._inner = inner
        self._adaptive = inner if isinstance(inner, AdaptiveEviction) else None
        self._held = held
        self._bytes: dict[str, int] = {}

    def resized(self, capacity_bytes: int) -> None:
        """See `AdaptiveEviction`."""
        if self._adaptive is not None:
            self._adaptive.resized(capacity_bytes)

    def missed(self, key: str) -> None:
        """See `AdaptiveEviction`."""
        if self._adaptive is not None:
            self._adaptive.missed(key)

    def evicted(self, key: str) -> None:
        """See `AdaptiveEviction`."""
        if self._adaptive is not None:
            self._adaptive.evicted(key)

    def admitted(self, resident: Resident) -> None:
        """See `EvictionPolicy`."""
        self._bytes[resident.key] = resident.bytes
        self._held(sum(self._bytes.values()))
        self._inner.admitted(resident)

    def used(self, key: str) -> None:
        """See `EvictionPolicy`."""
        self._inner.used(key)

    def removed(self, key: str) -> None:
        """See `EvictionPolicy`."""
        del self._bytes[key]
        self._held(sum(self._bytes.values()))
        self._inner.removed(key)

    def victims(
        self,
        bytes_needed: int,
        pinned: Collection[str],
        predictions: Mapping[str, Prediction],
        candidate: Resident | None = None,
    ) -> list[str] | None:
        """See `EvictionPolicy`."""
        return self._inner.victims(bytes_needed, pinned, predictions, candidate)
