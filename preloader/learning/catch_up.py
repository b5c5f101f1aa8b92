"""Has a bundle learn what it was kept from: the sessions that a candidate was tested on, once it is promoted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from preloader.history import Session
from preloader.learning.fit import learn
from preloader.prediction import FittedOn, load_bundle, save_bundle
from preloader.prediction.bundle_files import CARD
from preloader.prediction.manifest import session_hash


def catch_up(path: Path, sessions: Sequence[Session], out: Path) -> None:
    """Let a bundle learn sessions as it would in service, and write what comes of it, which says so, as another.

    What learns online learns them: the online predictor and the mixture. Networks stay as they are.

    Args:
        path: The bundle, which has learned none of them.
        sessions: What it is to learn, oldest first, as its recipe sees them.
        out: Where the other is written.

    Raises:
        BundleError: It is damaged, or the other cannot be written.
    """
    bundle = load_bundle(path)
    card = path / CARD
    predictor = bundle.predictor()
    learn(predictor, sessions)
    forget = getattr(predictor, "forget_sessions", None)
    if forget is not None:
        forget()
    before = bundle.manifest.fitted_on
    save_bundle(
        out,
        predictor.snapshot(),
        fitted_on=None if before is None else with_sessions(before, sessions),
        command=bundle.manifest.command,
        card=f"{card.read_text()}\n{_told(len(sessions))}" if card.exists() else None,
        files=bundle.files,
        facts=bundle.manifest.facts,
    )


def with_sessions(before: FittedOn, sessions: Sequence[Session]) -> FittedOn:
    """Return what was learned from once sessions are learned, too; those that were before are counted once."""
    known = set(before.sessions)
    own = {session_hash(one.user, one.session): [event.time_s for event in one.events] for one in sessions}
    latest = [time_s for times in own.values() for time_s in times]
    return msgspec.structs.replace(
        before,
        sessions=sorted({*known, *own}),
        households=[],  # whoever called these sessions so
        events=before.events + sum(len(times) for name, times in own.items() if name not in known),
        last_s=max(latest if before.last_s is None else [before.last_s, *latest], default=None),
    )


def _told(count: int) -> str:
    return f"""\
## Learned since

The {count:,} newest sessions, on which it was compared with what was in service. Online predictor and mixture have
learned them, as they would have in service; networks have not, and no figure above was made with them learned.
"""
