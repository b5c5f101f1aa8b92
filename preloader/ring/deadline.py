"""A record's deadline: 32 bits of milliseconds of the manager's clock, which wrap every 50 days; 0 for never."""

from __future__ import annotations

MAX_TTL_S = 2_000_000.0
"""23 days: deadlines compare only as far as half their range."""

_WRAP_MS = 1 << 32


def check_ttl(ttl_s: float | None) -> None:
    """Refuse a time to live that is out of range.

    Raises:
        ValueError: It is.
    """
    if ttl_s is not None and not 0.0 < ttl_s <= MAX_TTL_S:
        raise ValueError(f"ttl_s must lie above 0 and be at most {MAX_TTL_S:.0f}, or be None, not {ttl_s!r}")


def deadline_ms(now_ms: float, ttl_s: float | None) -> int:
    """Return the deadline of what is void after ``ttl_s``.

    Args:
        now_ms: The manager's clock.
        ttl_s: Time to live; ``None`` for ever.

    Raises:
        ValueError: The time to live is out of range.
    """
    check_ttl(ttl_s)
    return 0 if ttl_s is None else max(1, round(now_ms + 1e3 * ttl_s) % _WRAP_MS)


def left_ms(now_ms: float, deadline: int) -> float:
    """Return how far ahead a deadline that is not 0 lies; negative where it has passed."""
    half_ms = _WRAP_MS // 2
    return (deadline - now_ms + half_ms) % _WRAP_MS - half_ms
