"""What a mixture of experts may hold, which of its parts are on, and how quickly its weights forget."""

from __future__ import annotations

import msgspec

from preloader.checks import Rule, check, is_number, is_whole

_COUNT: Rule = (lambda value: is_whole(value, 1) and value < 1 << 20, "a whole number from 1 to a million")
_RULES: dict[str, Rule] = {
    "horizon": (lambda value: is_whole(value, 1) and value <= 16, "a whole number from 1 to 16"),
    "max_predictions": _COUNT,
    "max_kinds": _COUNT,
    "max_users": _COUNT,
    "max_sessions": _COUNT,
    "share": (lambda value: is_number(value) and 0.0 <= value < 1.0, "a share from 0 up to but below 1"),
}


class MixtureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a `MixturePredictor`, and which of its parts are on.

    Attributes:
        horizon: How many items ahead it looks.
        max_predictions: How many predictions of a kind are made at most.
        max_kinds: How many kinds are mixed, where they are not named.
        max_users: How many users have weights of their own, for each kind; 64 bytes × horizon × experts each.
        max_sessions: How many live sessions are learned from; 8 bytes × horizon² × experts × keys each.
        share: How much of all weight is spread evenly after every item: 0 for the best expert of all time, more for
            the best one lately.
        mix: Whether experts are mixed; if not, the one that did best so far speaks alone.
        pool: Whether their logarithmic pool is one of them.
        calibrate: Whether what comes out is calibrated.
    """

    horizon: int = 3
    max_predictions: int = 64
    max_kinds: int = 16
    max_users: int = 1_024
    max_sessions: int = 64
    share: float = 0.001
    mix: bool = True
    pool: bool = True
    calibrate: bool = True

    def __post_init__(self) -> None:
        check(self, _RULES)
