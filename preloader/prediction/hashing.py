"""Hashes that are the same in every process and on every machine, which Python's own hash of a string is not."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

NONE = 0
"""Stands for what is not there: the item before a session's first."""


@lru_cache(maxsize=16_384)
def text_hash(text: str, seed: int = 1) -> int:
    """Return a 32-bit hash of a text; lone surrogates, which file names may hold, are hashed as they are."""
    return crc32(text.encode("utf-8", "surrogatepass"), seed)


def constant(name: str) -> int:
    """Return an odd 64-bit number for a name: a multiplier for `contexts`."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") | 1
