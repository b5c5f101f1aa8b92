"""What the providers say of a key: who serves it, what it stands on, and what it costs to have it ready."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from preloader.cache import Store
from preloader.errors import ConfigurationError, UnknownResourceError
from preloader.events import kind_of
from preloader.ports import Cost, HasRequirements, Provider
from preloader.telemetry import logger


class Catalogue:
    """Asks the provider of each key's kind.

    Args:
        providers: By kind.
        store: What is resident costs nothing.
        workers: How many loads may run at once for one key and what it stands on.

    Attributes:
        counts: Failures of providers to tell what a key depends on.
    """

    def __init__(self, providers: Mapping[str, Provider], store: Store, workers: int) -> None:
        self.counts: Counter[str] = Counter()
        self._providers = providers
        self._requires = {kind: one.requires for kind, one in providers.items() if isinstance(one, HasRequirements)}
        self._store = store
        self._workers = workers

    def provider(self, key: str) -> Provider:
        """Return the provider of a key's kind.

        Raises:
            UnknownResourceError: There is none.
        """
        try:
            return self._providers[kind_of(key)]
        except KeyError:
            known = ", ".join(sorted(self._providers)) or "none"
            raise UnknownResourceError(f"no provider for {key!r}: the kinds with one are {known}") from None

    def dependencies(self, key: str) -> Sequence[str]:
        """Return what must be ready before ``key``; nothing where its provider cannot tell."""
        try:
            return self.provider(key).dependencies(key)
        except UnknownResourceError:
            return ()
        except Exception as error:  # eviction asks on behalf of other keys, which must not suffer
            self.counts["provider_errors"] += 1
            logger.debug("cannot tell what %s depends on: %r", key, error)
            return ()

    def requires(self, key: str) -> Sequence[str]:
        """Return what ``key`` requires directly; where its provider does not tell, all that it depends on."""
        requires = self._requires.get(kind_of(key))
        return self.provider(key).dependencies(key) if requires is None else requires(key)

    def seconds(self, key: str) -> float:
        """Return how long loading ``key`` alone is expected to take."""
        return self.provider(key).cost(key).seconds

    def cost(self, key: str) -> Cost:
        """Return the expected cost of a key with its dependencies, as far as they are not resident.

        They load in parallel: its seconds are those of the longest path, or of all divided among the workers.
        """
        provider = self.provider(key)
        needed = provider.dependencies(key)
        if not needed and key not in self._store:  # mostly
            return provider.cost(key)
        parts = [part for part in (*needed, key) if part not in self._store]
        costs = {part: self.provider(part).cost(part) for part in parts}
        ready_s: dict[str, float] = {}
        for part in parts if len(parts) > 1 else ():
            before_s = max((ready_s[one] for one in self.requires(part) if one in ready_s), default=0.0)
            ready_s[part] = before_s + costs[part].seconds
        total_s = sum(cost.seconds for cost in costs.values())
        return Cost(
            max(ready_s.get(key, total_s), total_s / self._workers),
            sum(cost.bytes for cost in costs.values()),
        )


def check_providers(providers: Mapping[str, Provider]) -> None:
    """Check that providers are given by kind.

    Raises:
        ConfigurationError: A kind is no valid name, or there is none at all.
    """
    if not providers:
        raise ConfigurationError("a manager needs at least one provider, as {'component': registry.provider()}")
    for kind in providers:
        if not re.fullmatch("[a-z][a-z0-9_]*", kind):
            raise ConfigurationError(f"{kind!r} is no resource kind: use lower-case letters, digits and '_'")
