"""The eviction policies, by name."""

from __future__ import annotations

from preloader.cache.arc import ARCEviction
from preloader.cache.gdsf import GDSFEviction
from preloader.cache.lfu import LFUEviction
from preloader.cache.lru import LRUEviction
from preloader.cache.predictive import PredictiveEviction
from preloader.errors import ConfigurationError
from preloader.ports import EvictionPolicy

__all__ = ["EVICTIONS", "LRUEviction", "PredictiveEviction", "make_eviction"]

EVICTIONS: dict[str, type[EvictionPolicy]] = {
    policy.name: policy for policy in (LRUEviction, PredictiveEviction, LFUEviction, GDSFEviction, ARCEviction)
}


def make_eviction(name: str) -> EvictionPolicy:
    """Return a new eviction policy by name.

    Raises:
        ConfigurationError: There is no policy of that name.
    """
    try:
        return EVICTIONS[name]()
    except KeyError:
        raise ConfigurationError(f"unknown eviction policy {name!r}: choose one of {', '.join(EVICTIONS)}") from None
