"""What an online predictor may hold, and what evidence it uses."""

from __future__ import annotations

import msgspec

from preloader.checks import Rule, check, is_whole

NAME = "online"
MAX_WORD_BITS = 24

_COUNT: Rule = (lambda value: is_whole(value, 1), "a whole number of at least 1")
_RULES: dict[str, Rule] = {
    "horizon": (lambda value: is_whole(value, 1) and value <= 16, "a whole number from 1 to 16"),
    "max_contexts": (
        lambda value: is_whole(value, 64) and value < 1 << 24,
        "a whole number from 64 to 16 million",
    ),
    "max_keys": (lambda value: is_whole(value, 8) and value < 1 << 24, "a whole number from 8 to 16 million"),
    "max_predictions": _COUNT,
    "max_sessions": (lambda value: is_whole(value, 1) and value < 1 << 16, "a whole number from 1 to 65,535"),
    "max_kinds": _COUNT,
    "word_bits": (
        lambda value: is_whole(value, 8) and value <= MAX_WORD_BITS,
        f"a whole number from 8 to {MAX_WORD_BITS}",
    ),
}


class OnlineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of an `OnlinePredictor`, and which evidence it uses.

    Attributes:
        horizon: How many items ahead it looks.
        max_contexts: How many contexts a kind remembers; 126 bytes each with three steps, and 16 for its index.
        max_keys: How many keys a kind knows.
        max_predictions: How many predictions of a kind are made at most.
        max_sessions: How many sessions are followed at once.
        max_kinds: How many kinds are learned, where they are not named.
        word_bits: The logarithm of how many (word, key) pairs a kind tells apart; 25 bytes each with three steps.
        words: Whether texts are evidence.
        users: Whether users are told apart.
        times: Whether the time of day is evidence.
        label: What its name adds to ``online``, where a mixture has two.
    """

    horizon: int = 3
    max_contexts: int = 32_768
    max_keys: int = 16_384
    max_predictions: int = 64
    max_sessions: int = 256
    max_kinds: int = 16
    word_bits: int = 18
    words: bool = True
    users: bool = True
    times: bool = True
    label: str = ""

    def __post_init__(self) -> None:
        check(self, _RULES)

    @property
    def name(self) -> str:
        """The predictor's name: ``online``, and the label if it has one."""
        return f"{NAME}_{self.label}" if self.label else NAME
