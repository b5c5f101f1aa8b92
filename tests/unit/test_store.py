"""The store: what is occupied and reserved never exceeds its capacity."""

import pytest

from preloader.cache import Entry, LRUEviction, Store
from preloader.ports import Loaded
from preloader.testing import FakeProvider

PROVIDER = FakeProvider({})


def entry(name, size):
    return Entry(f"component:{name}", Loaded(name, size), PROVIDER, 1.0, None)


def store_of(capacity, **sizes):
    store = Store(capacity, LRUEviction())
    for name, size in sizes.items():
        store.admit(entry(name, size))
    return store


def test_what_is_admitted_occupies_and_what_is_removed_does_not():
    store = store_of(100, a=30, b=40)
    assert (store.occupied_bytes, store.free_bytes, len(store)) == (70, 30, 2)
    assert "component:a" in store
    removed = store.get("component:a")
    store.remove(removed)
    assert (removed.stored, removed.admitted) == (False, True)
    assert (store.occupied_bytes, store.free_bytes, list(store.keys())) == (40, 60, ["component:b"])


def test_reserved_room_is_not_free_until_it_is_released():
    store = store_of(100, a=30)
    store.reserve("component:b", 50)
    assert store.free_bytes == 20
    with pytest.raises(ValueError, match="component:c occupies 30 bytes, only 20 are free"):
        store.admit(entry("c", 30))
    with pytest.raises(ValueError, match="cannot reserve 21 bytes for component:c: only 20 are free"):
        store.reserve("component:c", 21)
    with pytest.raises(ValueError, match="component:b has 50 bytes reserved already"):
        store.reserve("component:b", 1)
    store.release("component:b")
    store.release("component:b")
    assert store.free_bytes == 70


def test_one_key_is_resident_once():
    store = store_of(100, a=30)
    with pytest.raises(ValueError, match="component:a is resident already"):
        store.admit(entry("a", 10))


def test_a_key_without_bytes_still_counts():
    store = store_of(10, a=0, b=10)
    assert len(store) == 2
    assert [victim.key for victim in store.victims(1, {})] == ["component:b"]  # a would free nothing


def test_victims_make_up_for_what_is_missing_only_and_are_never_pinned():
    store = store_of(100, a=40, b=40)
    assert store.victims(20, {}) == []
    assert [victim.key for victim in store.victims(60, {})] == ["component:a"]
    store.get("component:a").pins += 1
    assert [victim.key for victim in store.victims(60, {})] == ["component:b"]
    assert store.victims(61, {}) is None
    assert len(store) == 2  # naming victims removes nothing


def test_a_use_keeps_an_entry_longer():
    store = store_of(100, a=50, b=50)
    store.used(store.get("component:a"))
    assert [victim.key for victim in store.victims(50, {})] == ["component:b"]
