"""How often a model may be asked: a budget of calls and tokens, and a circuit breaker around failures."""

from __future__ import annotations

import math
from collections import deque

_MINUTE_S = 60.0
_BYTES_A_TOKEN = 3  # of UTF-8; English has about four, code about three


def tokens_in(text: str | bytes) -> int:
    """Return about how many tokens a text has."""
    return math.ceil(len(text.encode() if isinstance(text, str) else text) / _BYTES_A_TOKEN)


class AskingBudget:
    """Calls of any minute, and tokens of a session.

    Args:
        calls_per_minute: The most calls.
        tokens: The most tokens.

    Attributes:
        spent: How many tokens are spent, or set aside.
    """

    def __init__(self, calls_per_minute: int, tokens: int) -> None:
        self._calls_s: deque[float] = deque(maxlen=calls_per_minute)
        self._tokens = tokens
        self.spent = 0

    def allows(self, now_s: float) -> bool:
        """Return whether there may be a call now, if it is short enough."""
        is_full = len(self._calls_s) == self._calls_s.maxlen and now_s - self._calls_s[0] < _MINUTE_S
        return not is_full and self.spent < self._tokens

    def take(self, now_s: float, tokens: int) -> bool:
        """Take a call, and set tokens aside for it; ``False`` if there are not so many left."""
        if not self.allows(now_s) or self.spent + tokens > self._tokens:
            return False
        self._calls_s.append(now_s)
        self.spent += tokens
        return True

    def give_back(self, tokens: int) -> None:
        """Return what was set aside and not needed."""
        self.spent -= tokens


class CircuitBreaker:
    """Lets nothing through for a while after failures in a row; then one call, which decides (Nygard, *Release It!*).

    Args:
        failures: How many failures in a row open it.
        pause_s: How long it stays open then; twice as long each time the deciding call fails.
        most_pause_s: How long at most.
    """

    def __init__(self, failures: int = 3, pause_s: float = 30.0, most_pause_s: float = 600.0) -> None:
        self._most_failures = failures
        self._pause_s = pause_s
        self._most_pause_s = most_pause_s
        self._failures = 0
        self._open_until_s = -math.inf

    def allows(self, now_s: float) -> bool:
        """Return whether a call may go through."""
        return now_s >= self._open_until_s

    def succeeded(self) -> None:
        """A call succeeded: all is well."""
        self._failures = 0

    def failed(self, now_s: float) -> float:
        """A call failed; return for how many seconds there should be no other, 0 if that is not so."""
        self._failures += 1
        if self._failures < self._most_failures:
            return 0.0
        doublings = min(self._failures - self._most_failures, 16)
        pause_s: float = min(self._pause_s * 2.0**doublings, self._most_pause_s)
        self._open_until_s = now_s + pause_s
        return pause_s
