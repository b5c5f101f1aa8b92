"""The memory-budgeted store and its eviction policies."""

from preloader.cache.eviction import LRUEviction, PredictiveEviction, make_eviction
from preloader.cache.store import Entry, Store

__all__ = ["Entry", "LRUEviction", "PredictiveEviction", "Store", "make_eviction"]
