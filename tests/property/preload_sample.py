"""Preloads that have ended, for tests of what learns from them."""

from preloader.events import Preload, Tier


def ended(key, outcome, bytes_=0, tier=Tier.IMMEDIATE, p=0.9):
    return Preload(
        key=key,
        user="u",
        session="s",
        tier=tier,
        probability=p,
        steps=1,
        bytes=bytes_,
        queued_s=0.0,
        started_s=0.0,
        ready_s=1.0,
        ended_s=2.0,
        outcome=outcome,
        reason="test",
    )
