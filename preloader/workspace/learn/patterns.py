"""How often patterns came true by which calls and facts are expected, such as this check after that sort of call."""

from __future__ import annotations

from preloader.logodds import LogOddsShifts

_ALIKE, _FADING, _PATTERNS = 1.0, 0.98, 4_096


def pattern_record() -> LogOddsShifts:
    """Return a record of nothing so far, which corrects the probability that is stated of a pattern by its outcomes.

    Ten wrong ones outweigh a stated .9, five .6; about the last fifty count.
    """
    return LogOddsShifts(alike=_ALIKE, fading=_FADING, keys=_PATTERNS)
