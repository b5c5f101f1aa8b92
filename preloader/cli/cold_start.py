"""What a bundle was worth while an assistant was new: its first events, learned from nothing, with it and without."""

from __future__ import annotations

from collections.abc import Callable

from preloader.evaluation.cases import items_of
from preloader.evaluation.first_events import FIRST_EVENTS, Beginning, first_events, gains
from preloader.ports import Predictor
from preloader.prediction import Bundle, OnlinePredictor
from preloader.replay.study import Plan

_STARTS = 4


def cold_start(bundle: Bundle, plan: Plan) -> str:
    """Return a sentence: how much more of the next items is foretold with a bundle than by the online predictor alone.

    Args:
        bundle: It.
        plan: Whose sessions, of which nothing is known, a new assistant begins with, at a few places.
    """
    makers: dict[str, Callable[[str], Predictor]] = {
        "without": lambda kind: OnlinePredictor([kind]),
        "with": lambda kind: bundle.predictor(kinds=(kind,)),
    }
    begun = _beginnings(plan)
    found = gains({name: first_events(make, begun)[0] for name, make in makers.items()}, "without")
    before, after = found["without"].metrics, found["with"]
    low, high = after.log_loss[1:]
    return (
        f"To a new assistant, in its first {FIRST_EVENTS} events, the bundle is worth {after.log_loss[0]:+.2f} nats of "
        f"log loss per item ({low:+.2f} to {high:+.2f}; below 0 is better): next items foretold {before.top1:.1%} of "
        f"{before.n:,} without it, {after.metrics.top1:.1%} with it."
    )


def _beginnings(plan: Plan) -> list[Beginning]:
    """Return the sessions to be replayed, begun at a few places, evenly apart."""
    holding = [session for session in plan.test if items_of(session, plan.kind)]
    apart = max(len(holding) // _STARTS, 1)
    return [Beginning(plan.kind, holding[start : start + apart]) for start in range(0, len(holding), apart)][:_STARTS]
