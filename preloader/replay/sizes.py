"""What resources cost in a replay: drawn from a seed where a history does not say, declared where it does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence

from preloader.ports import Cost, Loaded, Provider

MB = 1_000_000
SMALLEST_MB, LARGEST_MB = 50.0, 500.0
SLOWEST_MB_S, FASTEST_MB_S = 120.0, 333.0
OVERHEAD_S = 0.15

CostOf = Callable[[str], Cost]


def drawn_cost(key: str, seed: int) -> Cost:
    """Return the synthetic cost of a resource, as ``docs/replay.md`` says.

    50 to 500 MB, log-uniform; 0.15 s and then 120 to 333 MB/s, uniform. Both come from a keyed hash of the resource's
    name, so they depend neither on the order of a history nor on what else is in it.

    Args:
        key: The resource.
        seed: The size seed, from 0 to 2⁶³ - 1: another one is another world.
    """
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), key=seed.to_bytes(8, "big")).digest()
    share, pace = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:16]))
    size_mb = SMALLEST_MB * (LARGEST_MB / SMALLEST_MB) ** share
    seconds = OVERHEAD_S + size_mb / (SLOWEST_MB_S + (FASTEST_MB_S - SLOWEST_MB_S) * pace)
    return Cost(seconds, round(size_mb * MB))


def footprint_bytes(key: str, provider: Provider) -> int:
    """Return what a resource occupies together with everything that it depends on."""
    return sum(provider.cost(part).bytes for part in (*provider.dependencies(key), key))


def mean_bytes(keys: Iterable[str], provider: Provider) -> float:
    """Return the mean size of ``keys``, dependencies included: the unit of a replay's budget.

    Raises:
        ValueError: There are no keys.
        UnknownResourceError: The provider does not know one of them.
    """
    sizes = [footprint_bytes(key, provider) for key in keys]
    if not sizes:
        raise ValueError("no resources: there is no mean size")
    return sum(sizes) / len(sizes)


class SimulatedProvider:
    """A provider whose loads only take time: the value is the key itself.

    Args:
        cost_of: What a key costs.
        dependencies: Returns what must be ready before a key, in loading order; nothing unless given.
    """

    immutable = True

    def __init__(self, cost_of: CostOf, dependencies: Callable[[str], Sequence[str]] | None = None) -> None:
        self._cost_of = cost_of
        self._dependencies_of = dependencies or (lambda key: ())
        self._costs: dict[str, Cost] = {}

    def cost(self, key: str) -> Cost:
        """Return the cost, which is exact here."""
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = self._cost_of(key)
        return cost

    def dependencies(self, key: str) -> Sequence[str]:
        """Return what must be ready before ``key``."""
        return self._dependencies_of(key)

    async def load(self, key: str) -> Loaded:
        """Let the key's seconds pass."""
        cost = self.cost(key)
        await asyncio.sleep(cost.seconds)
        return Loaded(key, cost.bytes)

    async def unload(self, key: str, value: object) -> None:
        """Nothing was made, so nothing is released."""

    async def is_fresh(self, key: str, value: object) -> bool:
        """Return True: what is simulated does not age."""
        return True
